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
from tinykit.federated.compression.base import Compression
from tinykit.federated.customise import Customise
from tinykit.federated.deployment import Deployment
from tinykit.federated.engines import Engine, Vectorised, choose
from tinykit.federated.engines.engine import Pool, Setting, Train
from tinykit.federated.errors import FederatedError
from tinykit.federated.evaluate import device_accuracies, shared_accuracy
from tinykit.federated.faults import Faults
from tinykit.federated.guard import Guard
from tinykit.federated.history import History, Round
from tinykit.federated.local import Local
from tinykit.federated.masking import Masking
from tinykit.federated.net import Loss, Net, cross_entropy
from tinykit.federated.privacy import Privacy
from tinykit.federated.reject import (
    reject_other_types,
    reject_unfit,
    torch_device,
)
from tinykit.federated.rounds import play
from tinykit.federated.store import Store
from tinykit.federated.strategies.fedavg import FedAvg
from tinykit.federated.strategy import Strategy
from tinykit.federated.uplink import Uplink, reject_combination
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
    seed : of everything random; the same seed gives the same bits on the same engine (vectorised:
        and with the same number of threads)
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
    compression : what devices send instead of their update, e.g. `TopK(0.01) + KBit(4)`
    privacy : DP-FedAvg; the cohort is then sampled by Poisson, and replies count alike
    masking : the server sees the sum of the updates only
    on_error : "raise" when a client function fails, or "drop" the device for that round
    device : where it computes, "cpu" or "cuda"; None: on a GPU where there is one

    Attributes
    ----------
    server : the strategy's vectors
    statistics : of batch norm, shared (S,)
    memories : what devices remember
    uplink : what happens to updates on their way, and what devices could not say yet
    history : what happened
    usual : largest norms of the updates of the last rounds, for the guard

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
        compression: Compression | None = None,
        privacy: Privacy | None = None,
        masking: Masking | None = None,
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
        self.faults, self.on_error = faults or Faults(), on_error
        # a GPU where there is one; only the vectorised engine gains from it
        gains = engine in (None, "vectorised") or isinstance(engine, Vectorised)
        on_gpu = torch.cuda.is_available() and gains
        where = torch_device(device or ("cuda" if on_gpu else "cpu"))
        net = Net(model, loss, where)
        pool = Pool.of(federation.pool.x, federation.pool.y, where)
        self.setting = Setting(net, self.strategy, self.local, pool)
        self.engine = choose(engine, net, self.cohort.expected)
        self.test = None if test is None else Pool.of(test.x, test.y, where)
        self.server = self.strategy.begin(net)
        self.statistics = net.statistics.clone()
        self.memories = Store()
        self.uplink = Uplink(
            net,
            self.strategy,
            compression,
            privacy,
            masking,
            seed=seed,
            share=self.cohort.probability(federation),
            devices=int((federation.sizes > 0).sum()),
        )
        # where only a sum is used, nobody may compare updates with each other
        self.guard = guard or Guard(outlier=None if self.uplink.summed else Guard.outlier)
        reject_combination(self.uplink, self.cohort, self.guard.outlier is not None)
        self.history = History()
        self.usual: deque[float] = deque()
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
        row = play(self, train, last)
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
        return self.uplink.bytes_each

    # -- looking at it ----------------------------------------------------------------------------

    def model(self, device: int | None = None) -> nn.Module:
        """The shared model as a module; with `device`, that device's own, not yet customised."""
        net = self.setting.net
        if device is None:
            return net.module_of(self.strategy.evaluated(self.server), self.statistics)
        return net.module_of(*self._personal(device))

    def module_of(self, w: Tensor) -> nn.Module:
        """The network with parameters `w` (P,): those of one reply, say, before the average."""
        return self.setting.net.module_of(w, self.statistics)

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

    def memory_of(self, device: int) -> dict[str, Tensor]:
        """What `device` remembers; what a new one starts with if it was never asked."""
        first = self.strategy.first_memory(self.server, self.statistics, self.setting.net)
        return self.memories.get(device, first)

    def _personal(self, device: int) -> tuple[Tensor, Tensor]:
        if not 0 <= device < len(self.federation):
            raise FederatedError(
                f"there is no device {device}; {self.federation.name} has {len(self.federation)}"
            )
        memory = self.memory_of(device)
        return self.strategy.personal(self.server, self.statistics, memory, self.setting.net)

    def evaluation(self, number: int, last: bool) -> dict[str, Any]:
        """What a `Round` says of accuracy after round `number` (from 0), where it is due."""
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
