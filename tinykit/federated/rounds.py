"""One round of a simulation: ask, train, check what comes back, aggregate, note what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tinykit.federated.engines.engine import Broadcast, Train, Work
from tinykit.federated.errors import ClientError, FederatedError
from tinykit.federated.history import Round
from tinykit.federated.local import Minibatches, minibatches
from tinykit.federated.randomness import Purpose, generator
from tinykit.federated.reject import reject_undeclared
from tinykit.federated.strategy import Replies
from tinykit.federated.system import RoundCost
from tinykit.federated.uplink import Sent

if TYPE_CHECKING:
    from tinykit.federated.simulation import Simulation


@dataclass
class Asked:
    """Who takes part in a round, and what has become of them so far.

    Parameters
    ----------
    devices : numbers of those that are asked
    faults : device → its fault
    failed : device → why it does not answer, or is refused
    steps : device → the steps that it has time for; empty where time is not limited
    cost : of the round on the fleet
    """

    devices: list[int]
    faults: dict[int, str | None]
    failed: dict[int, str] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    cost: RoundCost | None = None


def play(run: Simulation, train: Train, last: bool) -> Round:
    """The next round of `run`, whose state is changed; `last` rounds are always evaluated."""
    number = run.done
    asked = _ask(run, number)
    replies = _train(run, train, number, asked)
    sent: Sent | None = None
    refused: dict[int, str] = {}
    loss = drift = float("nan")
    # what the server then refuses has travelled all the same
    bytes_up = 0 if replies is None else len(replies) * run.bytes_up
    if replies is not None:
        replies = run.faults.spoil(replies, asked.faults, run.server["model"])
        sent, refused = _guarded(run, run.uplink.send(number, replies, run.server["model"]))
        asked.failed |= refused
    if sent is not None:
        got = sent.replies
        loss = float((got.loss * got.steps).sum() / got.steps.sum())
        drift = _drift(got, run.server["model"])
    sending = 0 if sent is None else len(sent.replies)
    if run.uplink.summed:
        sent = _take_mean(run, number, asked, sent, refused)
    elif sent is not None:
        _take(run, sent)
    keys_down, keys_up = run.uplink.key_bytes(len(asked.devices), sending)
    cost = asked.cost
    return Round(
        number=number + 1,
        asked=len(asked.devices),
        answered=0 if sent is None else len(sent.replies),
        failed=dict(sorted(asked.failed.items())),
        loss=loss,
        drift=drift,
        bytes_down=len(asked.devices) * run.bytes_down + keys_down,
        bytes_up=bytes_up + keys_up,
        seconds=None if cost is None else cost.round_seconds,
        joules=None if cost is None else cost.total_joules,
        epsilon=run.uplink.epsilon(number + 1),
        **run.evaluation(number, last),
    )


def _ask(run: Simulation, number: int) -> Asked:
    online = None if run.deployment is None else run.deployment.online(number, run.seed)
    devices = run.cohort.draw(run.federation, run.seed, number, online)
    faults = {d: run.faults.kind(run.seed, number, d) for d in devices}
    asked = Asked(devices, faults)
    asked.failed = {d: "it dropped out" for d, kind in faults.items() if kind == "dropout"}
    _send_out(run, asked)
    return asked


def _send_out(run: Simulation, asked: Asked) -> None:
    """What the round costs on the fleet, how far each device gets, and who is too late."""
    if run.deployment is None:
        return
    there = [d for d in asked.devices if d not in asked.failed]
    # without dropouts, whose keys others send shares of
    keys_down, keys_up = (
        amount // max(1, len(there)) for amount in run.uplink.key_bytes(len(there), len(there))
    )
    cost = run.deployment.cost(
        there, run.federation, run.local, run.bytes_down + keys_down, run.bytes_up + keys_up
    )
    asked.cost, asked.steps = cost, dict(zip(there, cost.done.tolist(), strict=True))
    for device, late in zip(there, cost.dropped.tolist(), strict=True):
        if late:
            asked.failed[device] = "it missed the deadline"
        elif not asked.steps[device]:
            asked.failed[device] = "it got no step done before the cut-off"


def _train(run: Simulation, train: Train, number: int, asked: Asked) -> Replies | None:
    works = [
        work_of(run, number, d, asked.steps.get(d)) for d in asked.devices if d not in asked.failed
    ]
    if not works:
        return None
    broadcast = Broadcast(
        number,
        {name: run.server[name] for name in ("model", *run.strategy.shared)},
        run.statistics,
        run.local.lr_in(number),
        run.seed,
    )
    try:
        replies, errors = train(broadcast, works)
    except ClientError as error:
        raise ClientError(f"round {number + 1}: {error}") from error
    if errors and run.on_error == "raise":
        first = min(errors)
        raise ClientError(
            f"device {first} failed in round {number + 1}: {errors[first]}. "
            "on_error='drop' goes on without such devices"
        )
    asked.failed |= errors
    return replies


def work_of(run: Simulation, number: int, device: int, most: int | None) -> Work:
    """What `device` is to do in round `number` (from 0), in no more than `most` steps."""
    part = run.federation.train[device]
    steps = run.local.steps_for(len(part))
    if most is not None:
        steps = min(steps, most)

    def drawn(purpose: Purpose) -> Minibatches:
        rng = generator(run.seed, purpose, number, device)
        return minibatches(part, steps, run.local.batch, rng)

    supported = run.strategy.customise.supported
    return Work(
        device,
        drawn(Purpose.QUERY),
        drawn(Purpose.SUPPORT) if supported else None,
        len(part),
        run.memory_of(device),
    )


def _guarded(run: Simulation, sent: Sent) -> tuple[Sent | None, dict[int, str]]:
    refused = run.guard.refused(sent.replies, run.server["model"], run.usual)
    devices = sent.replies.devices
    kept = [row for row, device in enumerate(devices) if device not in refused]
    if not kept:
        return None, refused
    return (sent.take(kept) if refused else sent), refused


def _take(run: Simulation, sent: Sent) -> None:
    replies = sent.replies
    _aggregate(run, replies)
    if len(run.statistics):
        run.statistics = run.strategy.average(replies.statistics, replies)
    run.memories.put(replies.devices, replies.memory)
    run.uplink.keep(sent)


def _take_mean(
    run: Simulation, number: int, asked: Asked, sent: Sent | None, refused: dict[int, str]
) -> Sent | None:
    """As `_take`, where the server has the sum only; returns what it took."""
    mean, taken = run.uplink.mean(number, asked.devices, sent, list(refused))
    if mean is not None:
        lr = run.local.lr_in(number)
        _aggregate(run, run.uplink.as_reply(mean, run.server, run.statistics, lr))
    if not taken:
        gone = () if sent is None else sent.replies.devices
        asked.failed |= dict.fromkeys(gone, "too few answered to take the masks out")
        return None
    if sent is not None:
        run.memories.put(sent.replies.devices, sent.replies.memory)
        run.uplink.keep(sent)
    return sent


def _aggregate(run: Simulation, replies: Replies) -> None:
    """The server's vectors after the round.

    Raises
    ------
    FederatedError
        The strategy's `aggregate` fails, returns other vectors than it declares, or overflows.
    """
    holding = int((run.federation.sizes > 0).sum())
    name, round = type(run.strategy).__name__, run.done + 1
    try:
        server = run.strategy.aggregate(run.server, replies, holding)
    except Exception as error:
        raise FederatedError(
            f"{name}.aggregate failed in round {round}: {type(error).__name__}: {error}"
        ) from error
    reject_undeclared(name, server, run.server)
    if not all(value.isfinite().all() for value in server.values()):
        raise FederatedError(
            f"the model grew past all bounds in round {round}, though no reply did: choose a "
            "smaller server_lr (or a larger alpha), or a Guard that refuses more"
        )
    run.server = server


def _drift(replies: Replies, start: Tensor) -> float:
    """Mean distance of the models from their mean, over the mean length of the updates."""
    updates = replies.model - start
    spread = torch.linalg.vector_norm(updates - updates.mean(0), dim=1).mean()
    length = torch.linalg.vector_norm(updates, dim=1).mean()
    return float(spread / length) if length > 0 else 0.0
