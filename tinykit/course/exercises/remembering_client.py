"""A client function with a memory, which every engine can run.

Argument: a `Device` of a strategy with ``memory = ("velocity",)``. The device trains by
``device.sgd()``; v = 0.5·velocity + its update, shortened to norm 0.75 where it is longer. The
reply's model is start + v, and v is what the device remembers. (Made up for the exercise.)

A function is played three times, on two engines; what it may not do shows in the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake
from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    from torch import Tensor

    from tinykit.federated import Device, Reply
    from tinykit.federated.simulation import Simulation

LONGEST, KEPT = 0.75, 0.5
#: engines round differently
TOLERANCE = 1e-4

SAME_SEED = "two runs with the same seed ended in different weights"
OWN_LOT = "it draws random numbers that belong to nobody"
START = "it changes what the server sent"
DISAGREE = "the two engines ended in different weights"


class ImpureError(TinykitError):
    """A client function whose result depends on more than its device."""


def play(client: Callable[[Device], Reply], devices: int, cohort: int, seed: int) -> np.ndarray:
    """The shared model's weights after a few rounds; ImpureError where engines or runs differ."""
    from tinykit.federated import ClientError
    from tinykit.federated.randomness import ambient_states

    lots = ambient_states()
    start: list[bool] = []
    raised: list[Exception] = []

    def watched(device: Device) -> Reply:
        before = device.start.clone()
        try:
            reply = client(device)
        except Exception as error:
            raised.append(error)
            raise
        start.append(bool((device.start == before).all()))
        return reply

    try:
        first = _trained(watched, devices, cohort, seed, "sequential")
    except ClientError:
        if raised:
            raise raised[0] from None
        raise
    if not all(start):
        raise ImpureError(START)
    if ambient_states() != lots:
        raise ImpureError(OWN_LOT)
    again = _trained(client, devices, cohort, seed, "sequential")
    if not np.array_equal(first, again, equal_nan=True):
        raise ImpureError(SAME_SEED)
    together = _trained(client, devices, cohort, seed, "vectorised")
    if not np.allclose(first, together, atol=TOLERANCE, rtol=0, equal_nan=True):
        raise ImpureError(DISAGREE)
    return first


def _trained(client: Any, devices: int, cohort: int, seed: int, engine: str) -> np.ndarray:
    simulation = _simulation(client, devices, cohort, seed, engine)
    simulation.run(4, progress=False)
    return simulation.weights().double().numpy()


def _simulation(client: Any, devices: int, cohort: int, seed: int, engine: str) -> Simulation:
    from tinykit import data
    from tinykit.data.partitions import IID, partition
    from tinykit.federated import Local, Simulation
    from tinykit.nn import zoo

    digits = data.load("digits")
    return Simulation(
        zoo.mlp(digits.spec, hidden=(), seed=seed),
        partition(digits, IID(), devices=devices, samples=12, seed=seed),
        _strategy()(play=client),
        local=Local(steps=2, batch=6, lr=0.3),
        cohort=cohort,
        seed=seed,
        engine=engine,
        device="cpu",
    )


@cache
def _strategy() -> Any:
    from tinykit.federated import Strategy

    @dataclass(frozen=True, kw_only=True)
    class Remembering(Strategy):
        """Averages what `play` returns."""

        play: Callable[[Device], Reply]

        memory = ("velocity",)

        def client(self, device: Device) -> Reply:
            return self.play(device)

    return Remembering


def _shortened(v: Tensor) -> Tensor:
    return v * (LONGEST / v.norm().clamp(min=LONGEST))


def _variant(
    *,
    shorten: Callable[[Tensor], Tensor] = _shortened,
    kept: float = KEPT,
    whole: bool = False,
    model: Callable[[Tensor, Tensor], Tensor] = lambda start, v: start + v,
    remember: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda v, update, mixed: v,
) -> Callable[[Device], Reply]:
    """The client function, as somebody who makes the named mistake writes it."""

    def client(device: Device) -> Reply:
        from tinykit.federated import Reply

        trained = device.sgd()
        update = trained if whole else trained - device.start
        mixed = kept * device.memory["velocity"] + update
        v = shorten(mixed)
        return Reply(model(device.start, v), {"velocity": remember(v, update, mixed)})

    return client


def _all_alike(v: Tensor) -> Tensor:
    return v * (LONGEST / v.norm())


solve = _variant()

EXERCISE = Exercise(
    name="remembering_client",
    task="Return Reply(model, {'velocity': v}): v is 0.5 times the remembered velocity plus the "
    "update, shortened to norm 0.75 where it is longer; the model is device.start + v.",
    solve=solve,
    cases=((4, 2, 0), (3, 3, 1)),
    tolerance=TOLERANCE,
    play=play,
    stops=(
        (
            SAME_SEED,
            "Something outlives the run: a global, a list or a dict outside of the function, an "
            "attribute. What a device remembers is in device.memory, and comes back in "
            "Reply(…, memory).",
        ),
        (
            OWN_LOT,
            "Its result depends on who was asked before, and cannot be repeated. Nothing here has "
            "to be drawn; minibatches are drawn for you.",
        ),
        (
            START,
            "device.start += … writes into the model that other devices are sent, too. Make a new "
            "tensor: device.start + v.",
        ),
        (
            DISAGREE,
            "Run one after another, devices saw something of each other: a variable outside of the "
            "function, or a tensor that was written into.",
        ),
        (
            "data-dependent control flow",
            "All devices go through the function at once, and no `if` is true for some of them "
            "only. Compute both and choose: torch.where, or a norm that is clamped from below.",
        ),
        (
            ".item()",
            "All devices go through the function at once: there is not one number, but one for "
            "each. Stay with tensors.",
        ),
        (
            "returned a NoneType",
            "The function has to end in return Reply(…).",
        ),
        (
            "memory has []",
            "The reply has to bring back what the device remembers: Reply(model, {'velocity': v}).",
        ),
        (
            "but not all at once",
            "One device at a time it works; for all of them in one tensor it does not. Most often "
            "a tensor was written into (+=, *=, [..] = ..). Make a new one.",
        ),
    ),
    mistakes=(
        Mistake(
            _variant(kept=0.0),
            "The velocity is not in it: the device remembers, and does not use it.",
        ),
        Mistake(
            _variant(kept=1.0),
            "The old velocity counts whole; it counts half.",
        ),
        Mistake(
            _variant(whole=True),
            "device.sgd() returns parameters. The update is what they differ by from device.start.",
        ),
        Mistake(
            _variant(model=lambda start, v: v),
            "The reply's model is the update alone. The server averages models: device.start + v.",
        ),
        Mistake(
            _variant(shorten=lambda v: v),
            "Nothing was shortened: where v is longer than 0.75, scale it to 0.75. Cutting single "
            "entries shortens nothing here: none is so large, and it is the norm that counts.",
        ),
        Mistake(
            _variant(shorten=_all_alike),
            "Every v was given norm 0.75, short ones too. A norm that is clamped from below "
            "(clamp(min=0.75)) leaves these alone.",
        ),
        Mistake(
            _variant(remember=lambda v, update, mixed: update),
            "The device remembers its update. It is v that is remembered, so that older updates "
            "live on in it, too.",
        ),
        Mistake(
            _variant(remember=lambda v, update, mixed: mixed),
            "The device remembers v before it was shortened.",
        ),
    ),
)
