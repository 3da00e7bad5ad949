"""A federation simulated round by round: ask a cohort, train, check, aggregate, evaluate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tinykit.data.federation import Federation
from tinykit.data.types import Split
from tinykit.federated import checkpoint as _checkpoint
from tinykit.federated.checks import real, whole
from tinykit.federated.cohort import Cohort
from tinykit.federated.customise import Customise
from tinykit.federated.deployment import Deployment
from tinykit.federated.engines import Engine, choose
from tinykit.federated.engines.engine import Broadcast, Pool, Setting, Train, Work
from tinykit.federated.errors import ClientError, FederatedError
from tinykit.federated.evaluate import device_accuracies, shared_accuracy
from tinykit.federated.faults import Faults
from tinykit.federated.guard import Guard
from tinykit.federated.history import History, Round
from tinykit.federated.local import Local, minibatches
from tinykit.federated.net import Loss, Net, cross_entropy
from tinykit.federated.randomness import Purpose, generator
from tinykit.federated.reject import (
    reject_other_types,
    reject_undeclared,
    reject_unfit,
    torch_device,
)
from tinykit.federated.store import Store
from tinykit.federated.strategies.fedavg import FedAvg
from tinykit.federated.strategy import Replies, Strategy
from tinykit.federated.system import RoundCost
from tinykit.nn.progress import bar

#: called after each round with the simulation and the round; whatever it raises stops the run
OnRound = Callable[["Simulation", Round], None]


class Simulation:
    """Devices of `federation` train `model` together, by `strategy`.

    Parameters
    ----------
    model : takes NCHW, returns logits; the first shared model. It is copied
    federation : who holds which examples
    strategy : the algorithm; FedAvg if None
    local : what a device does in a round
    cohort : how many devices are asked a round: a number, or a share in (0, 1], or a `Cohort`
    seed : of everything random; the same seed gives the same bits on the same engine
    engine : "sequential", "vectorised", "flower", an `Engine`, or None: chosen by model and cohort
    test : central examples that the shared model is evaluated with
    evaluate_every : rounds between evaluations; the last round of a `run` is always evaluated
    evaluate_devices : how many devices' own models are evaluated then (the first so many that hold
        test examples); 0 for none, None for all of them
    personalise : how a device customises the model before it is evaluated; None: the strategy's
        way. `MAML(steps=5)` with FedAvg is fine-tuned FedAvg
    deployment : the fleet it runs on; None: devices take no time and are always there
    faults : devices that fail on purpose. Those that drop out cost nothing
    guard : which replies the server takes
    on_error : "raise" when a client function fails, or "drop" the device for that round
    device : where it computes, "cpu" or "cuda"; None: on a GPU where there is one

    Attributes
    ----------
    server : the strategy's vectors
    statistics : of batch norm, shared (S,)
    memories : what devices remember
    history : what happened

    Raises
    ------
    FederatedError
        Arguments that contradict one another; the text says which.
    """

    def __init__(
        self,
        model: nn.Module,
        federation: Federation,
        strategy: Strategy | None = None,
        *,
        local: Local | None = None,
        cohort: int | float | Cohort = 1.0,
        seed: int = 0,
        engine: str | Engine | None = None,
        test: Split | None = None,
        evaluate_every: int = 1,
        evaluate_devices: int | None = 0,
        personalise: Customise | None = None,
        deployment: Deployment | None = None,
        faults: Faults | None = None,
        guard: Guard | None = None,
        on_error: str = "raise",
        loss: Loss = cross_entropy,
        device: str | None = None,
    ) -> None:
        reject_other_types(
            federation=(federation, Federation),
            strategy=(strategy, Strategy),
            local=(local, Local),
            test=(test, Split),
            personalise=(personalise, Customise),
            deployment=(deployment, Deployment),
            faults=(faults, Faults),
            guard=(guard, Guard),
        )
        if on_error not in ("raise", "drop"):
            raise FederatedError(f"on_error is 'raise' or 'drop', got {on_error!r}")
        whole("evaluate_every", evaluate_every, least=1)
        if evaluate_devices is not None:
            whole("evaluate_devices (None: all)", evaluate_devices, least=0)
        if not federation.sizes.any():
            raise FederatedError(f"{federation.name}: no device holds an example to learn from")
        self.federation = federation
        self.strategy = strategy or FedAvg()
        self.local = local or Local()
        self.cohort = Cohort.of(cohort, federation)
        self.seed = whole("seed", seed, least=0)
        self.evaluate_every, self.evaluate_devices = evaluate_every, evaluate_devices
        self.personalise = personalise or self.strategy.customise
        self.deployment = None if deployment is None else deployment.check(federation)
        self.faults, self.guard, self.on_error = faults or Faults(), guard or Guard(), on_error
        # a GPU where there is one; only the vectorised engine gains from it
        on_gpu = torch.cuda.is_available() and engine in (None, "vectorised")
        where = torch_device(device or ("cuda" if on_gpu else "cpu"))
        net = Net(model, loss, where)
        pool = Pool.of(federation.pool.x, federation.pool.y, where)
        self.setting = Setting(net, self.strategy, self.local, pool)
        self.engine = choose(engine, net, self.cohort.expected)
        self.test = None if test is None else Pool.of(test.x, test.y, where)
        self.server = self.strategy.begin(net)
        self.statistics = net.statistics.clone()
        self.memories = Store()
        self.history = History()
        self._usual: deque[float] = deque()
        customises = (self.strategy.customise, self.personalise)
        reject_unfit(self.setting, federation.spec, self.test, customises)

    # -- running ----------------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """Rounds done so far."""
        return len(self.history)

    def run(
        self,
        rounds: int,
        *,
        until: float | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 1,
        on_round: OnRound | None = None,
        progress: bool | None = None,
    ) -> History:
        """Go on until `rounds` rounds are done in all.

        Parameters
        ----------
        until : stop as soon as the shared model has this accuracy on `test`
        checkpoint : a file to go on from if it is there, and to save to; a run that was killed and
            is started again with the same arguments ends with the same bits
        checkpoint_every : rounds between two savings
        on_round : called after each round
        progress : True or False; None shows a bar on terminals and in notebooks

        Raises
        ------
        FederatedError
            The checkpoint is damaged, or of other settings.
        ClientError
            A client function failed (unless ``on_error="drop"``).
        """
        whole("rounds", rounds, least=0)
        whole("checkpoint_every", checkpoint_every, least=1)
        if until is not None:
            real("until", until, least=0, most=1)
            if self.test is None:
                raise FederatedError("`until` is an accuracy on `test`: Simulation(test=data.test)")
        if checkpoint is not None and Path(checkpoint).exists():
            _checkpoint.resume(self, checkpoint)

        def job(train: Train) -> None:
            with bar(rounds, type(self.strategy).__name__, progress) as shown:
                shown.update(min(self.done, rounds))
                while self.done < rounds and not self._reached(until):
                    last = self.done + 1 == rounds
                    row = self._round(train, last)
                    reached = self._reached(until)
                    if checkpoint is not None and (
                        last or reached or self.done % checkpoint_every == 0
                    ):
                        _checkpoint.save(self, checkpoint)
                    shown.update()
                    if row.accuracy is not None:
                        shown.set_postfix_str(f"accuracy {row.accuracy:.2%}")
                    if on_round is not None:
                        on_round(self, row)

        if self.done < rounds:
            self.engine.session(self.setting, job)
        return self.history

    def _reached(self, until: float | None) -> bool:
        accuracy = self.history[-1].accuracy if self.done else None
        return until is not None and accuracy is not None and accuracy >= until

    def _round(self, train: Train, last: bool) -> Round:
        number = self.done
        online = None if self.deployment is None else self.deployment.online(number, self.seed)
        asked = self.cohort.draw(self.federation, self.seed, number, online)
        kinds = {d: self.faults.kind(self.seed, number, d) for d in asked}
        failed = {d: "it dropped out" for d, kind in kinds.items() if kind == "dropout"}
        cost, steps = self._cost([d for d in asked if d not in failed], failed)
        works = [self._work(number, d, steps.get(d)) for d in asked if d not in failed]
        broadcast = Broadcast(
            number,
            {name: self.server[name] for name in ("model", *self.strategy.shared)},
            self.statistics,
            self.local.lr_in(number),
            self.seed,
        )
        replies: Replies | None = None
        if works:
            try:
                replies, errors = train(broadcast, works)
            except ClientError as error:
                raise ClientError(f"round {number + 1}: {error}") from error
            if errors and self.on_error == "raise":
                first = min(errors)
                raise ClientError(
                    f"device {first} failed in round {number + 1}: {errors[first]}. "
                    "on_error='drop' goes on without such devices"
                )
            failed |= errors
        loss = drift = float("nan")
        bytes_up = 0
        if replies is not None:
            # what the server then refuses has travelled all the same
            bytes_up = len(replies) * self.bytes_up
            replies = self.faults.spoil(replies, kinds, self.server["model"])
            replies, refused = self._guarded(replies)
            failed |= refused
        if replies is not None:
            loss = float((replies.loss * replies.steps).sum() / replies.steps.sum())
            drift = _drift(replies, self.server["model"])
            self._take(replies)
        row = Round(
            number=number + 1,
            asked=len(asked),
            answered=0 if replies is None else len(replies),
            failed=dict(sorted(failed.items())),
            loss=loss,
            drift=drift,
            bytes_down=len(asked) * self.bytes_down,
            bytes_up=bytes_up,
            seconds=None if cost is None else cost.round_seconds,
            joules=None if cost is None else cost.total_joules,
            **self._evaluation(number, last),
        )
        self.history.rounds.append(row)
        return row

    @property
    def bytes_down(self) -> int:
        """What the server sends to a device in a round, counted."""
        net = self.setting.net
        return 4 * (self.strategy.travels(net) + net.size * len(self.strategy.shared))

    @property
    def bytes_up(self) -> int:
        """What a device sends back, counted."""
        net = self.setting.net
        return 4 * (self.strategy.travels(net) + net.size * len(self.strategy.sends))

    def _cost(
        self, devices: list[int], failed: dict[int, str]
    ) -> tuple[RoundCost | None, dict[int, int]]:
        """What the round costs, and the steps that each device does; adds to `failed`."""
        if self.deployment is None:
            return None, {}
        cost = self.deployment.cost(
            devices, self.federation, self.local, self.bytes_down, self.bytes_up
        )
        for device, late in zip(devices, cost.dropped.tolist(), strict=True):
            if late:
                failed[device] = "it missed the deadline"
        steps = dict(zip(devices, cost.done.tolist(), strict=True))
        for device, done in steps.items():
            if not done:
                failed.setdefault(device, "it got no step done before the cut-off")
        return cost, steps

    def _work(self, round: int, device: int, most: int | None) -> Work:
        part = self.federation.train[device]
        steps = self.local.steps_for(len(part))
        if most is not None:
            steps = min(steps, most)
        batch = self.local.batch

        def drawn(purpose: Purpose) -> Any:
            return minibatches(part, steps, batch, generator(self.seed, purpose, round, device))

        supported = self.strategy.customise.supported
        return Work(
            device,
            drawn(Purpose.QUERY),
            drawn(Purpose.SUPPORT) if supported else None,
            len(part),
            self.memories.get(device, self._first_memory()),
        )

    def _first_memory(self) -> dict[str, Tensor]:
        return self.strategy.first_memory(self.server, self.statistics, self.setting.net)

    def _guarded(self, replies: Replies) -> tuple[Replies | None, dict[int, str]]:
        refused = self.guard.refused(replies, self.server["model"], self._usual)
        kept = [row for row, device in enumerate(replies.devices) if device not in refused]
        if not kept:
            return None, refused
        return (replies.take(kept) if refused else replies), refused

    def _take(self, replies: Replies) -> None:
        holding = int((self.federation.sizes > 0).sum())
        name, round = type(self.strategy).__name__, self.done + 1
        try:
            server = self.strategy.aggregate(self.server, replies, holding)
        except Exception as error:
            raise FederatedError(
                f"{name}.aggregate failed in round {round}: {type(error).__name__}: {error}"
            ) from error
        reject_undeclared(name, server, self.server)
        if not all(value.isfinite().all() for value in server.values()):
            raise FederatedError(
                f"the model grew past all bounds in round {round}, though no reply did: choose a "
                "smaller server_lr (or a larger alpha), or a Guard that refuses more"
            )
        self.server = server
        if len(self.statistics):
            self.statistics = self.strategy.average(replies.statistics, replies)
        self.memories.put(replies.devices, replies.memory)

    # -- looking at it ----------------------------------------------------------------------------

    def model(self, device: int | None = None) -> nn.Module:
        """The shared model as a module; with `device`, that device's own, not yet customised."""
        net = self.setting.net
        if device is None:
            return net.module_of(self.strategy.evaluated(self.server), self.statistics)
        return net.module_of(*self._personal(device))

    def weights(self) -> Tensor:
        """The shared model's parameters, (P,)."""
        return self.strategy.evaluated(self.server)

    def fingerprint(self) -> str:
        """SHA-256 of all that the server knows and devices remember."""
        return _checkpoint.digest(self)

    def accuracy(self) -> float:
        """Of the shared model on `test`, in [0, 1].

        Raises
        ------
        FederatedError
            There is no `test`.
        """
        if self.test is None:
            raise FederatedError("the accuracy of the shared model needs Simulation(test=...)")
        model = self.strategy.evaluated(self.server)
        return shared_accuracy(self.setting.net, model, self.statistics, self.test.x, self.test.y)

    def device_accuracy(
        self, devices: list[int] | None = None, personalise: Customise | None = None
    ) -> dict[int, float]:
        """Device → accuracy of its own model on its own test examples, in [0, 1].

        Parameters
        ----------
        devices : all that hold test examples, unless given
        personalise : how they customise; as the simulation does, unless given

        Raises
        ------
        FederatedError
            The federation has no test parts, or one of `devices` has none.
        """
        test = self.federation.test
        if not test:
            raise FederatedError(
                f"{self.federation.name} has no test parts: make it with test=0.2, say"
            )
        if devices is None:
            devices = [d for d in range(len(test)) if len(test[d])]
        if empty := [d for d in devices if 0 <= d < len(test) and not len(test[d])]:
            raise FederatedError(f"devices {empty} hold no examples to be tested with")
        models = [self._personal(d) for d in devices]
        accuracies = device_accuracies(
            self.setting.net,
            personalise or self.personalise,
            self.setting.pool,
            models,
            [self.federation.train[d] for d in devices],
            [test[d] for d in devices],
        )
        return dict(zip(devices, accuracies, strict=True))

    def _personal(self, device: int) -> tuple[Tensor, Tensor]:
        if not 0 <= device < len(self.federation):
            raise FederatedError(
                f"there is no device {device}; {self.federation.name} has {len(self.federation)}"
            )
        memory = self.memories.get(device, self._first_memory())
        return self.strategy.personal(self.server, self.statistics, memory, self.setting.net)

    def _evaluation(self, number: int, last: bool) -> dict[str, Any]:
        if not last and (number + 1) % self.evaluate_every:
            return {}
        found: dict[str, Any] = {}
        if self.test is not None:
            found["accuracy"] = self.accuracy()
        if self.evaluate_devices != 0 and self.federation.test:
            holding = [d for d, part in enumerate(self.federation.test) if len(part)]
            found["device_accuracy"] = self.device_accuracy(holding[: self.evaluate_devices])
        return found


def simulate(
    model: nn.Module, federation: Federation, strategy: Strategy | None = None, rounds: int = 20,
    **settings: Any,
) -> Simulation:  # fmt: skip
    """A `Simulation` with these settings that has run for `rounds` rounds."""
    simulation = Simulation(model, federation, strategy, **settings)
    simulation.run(rounds)
    return simulation


def _drift(replies: Replies, start: Tensor) -> float:
    updates = replies.model - start
    spread = torch.linalg.vector_norm(updates - updates.mean(0), dim=1).mean()
    length = torch.linalg.vector_norm(updates, dim=1).mean()
    return float(spread / length) if length > 0 else 0.0
