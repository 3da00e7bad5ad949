"""What a device does in SCAFFOLD (Karimireddy et al., ICML 2020, algorithm 1, option II).

The function takes a `tinykit.federated.Device` and returns a `tinykit.federated.Reply`. It is tried
on devices with a quadratic loss; compared are the model, the control variate that the device keeps,
and the change of it that the device sends, (3, P).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake
from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    from tinykit.federated.device import Device, Reply

Array = np.ndarray


def solve(device: Device) -> Reply:
    """The kit's own."""
    from tinykit.federated.strategies.scaffold import Scaffold

    return Scaffold().client(device)


def play(
    client: Callable[[Device], Reply],
    hessian: Array, optimum: Array, start: Array, own: Array, everyone: Array,
    steps: int, lr: float,
) -> Array:  # fmt: skip
    """The three vectors of the reply of a device."""
    from tinykit.federated import Reply, quadratic_device

    device = quadratic_device(
        hessian, optimum, start=start, steps=steps, lr=lr,
        shared={"control": everyone}, memory={"control": own},
    )  # fmt: skip
    reply = client(device)
    if not isinstance(reply, Reply):
        raise TinykitError(
            f"the function has to return fl.Reply(model, memory, sent), not {type(reply).__name__}"
        )
    for what in ("memory", "sent"):
        if set(getattr(reply, what)) != {"control"}:
            raise TinykitError(
                f"{what} of the reply has to be {{'control': a vector}}, it has "
                f"{sorted(getattr(reply, what)) or 'nothing'}"
            )
    rows = (reply.model, reply.memory["control"], reply.sent["control"])
    return np.stack([np.asarray(row, dtype=float) for row in rows])


def _variant(
    *,
    own_sign: float = -1.0,
    all_sign: float = 1.0,
    divide: str = "K·lr",
    keep: str = "own − c + moved",
    send: str = "change",
    flip: bool = False,
) -> Any:
    """A client, as somebody who makes the named mistake writes it."""

    def client(device: Device) -> Reply:
        from tinykit.federated import Reply

        own, everyone = device.memory["control"], device.shared["control"]
        model = device.sgd(lambda w, g: g + own_sign * own + all_sign * everyone)
        by = {
            "K·lr": device.steps * device.lr,
            "lr": device.lr,
            "K": device.steps,
            "1": 1.0,
            "×": 1 / (device.steps * device.lr),
            "K, ×lr": device.steps / device.lr,
        }
        moved = (model - device.start if flip else device.start - model) / by[divide]
        control = {
            "own − c + moved": own - everyone + moved,
            "own + moved": own + moved,
            "moved": moved,
            "own + c + moved": own + everyone + moved,
            "own": own,
        }[keep]
        sent = {"change": control - own, "control": control, "minus": own - control}[send]
        return Reply(model, {"control": control}, {"control": sent})

    return client


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(9)
    made: list[tuple[Any, ...]] = [
        (np.diag([2.0, 0.5]), np.array([1.0, -1.0]), np.zeros(2), np.zeros(2), np.zeros(2), 4, 0.1)
    ]
    for steps, lr in ((5, 0.1), (3, 0.2)):
        root = rng.normal(size=(3, 3))
        hessian = root @ root.T / 3 + 0.2 * np.eye(3)
        made.append((hessian, *rng.normal(size=(4, 3)), steps, lr))
    return made


EXERCISE = Exercise(
    name="scaffold_client",
    task="Return fl.Reply(model, {'control': new control variate}, {'control': its change}), where "
    "each local step goes against gradient − own + everyone's (1e-4 is close enough: devices "
    "compute in float32).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-4,
    play=play,
    stops=(
        (
            "KeyError: 'c'",
            "The vectors are called device.memory['control'] and device.shared['control'].",
        ),
        ("'dict' object", "memory and shared are dicts: device.memory['control'] is the vector."),
        (
            "unsupported operand type(s) for -: 'dict'",
            "memory and shared are dicts: device.memory['control'] is the vector.",
        ),
        ("positional argument", "device.sgd calls its function with two: (parameters, gradient)."),
    ),
    mistakes=(
        Mistake(
            _variant(own_sign=0.0, all_sign=0.0),
            "The local steps went against the plain gradient, as in FedAvg: the control variates "
            "are kept, but correct nothing. device.sgd takes a function that gives the direction.",
        ),
        Mistake(
            _variant(own_sign=1.0, all_sign=-1.0),
            "The signs of the correction are exchanged: it now adds drift. A device takes its own "
            "direction (its control variate) out of the gradient, and puts everyone's in.",
        ),
        Mistake(
            _variant(all_sign=0.0),
            "The device's own direction was taken out, but everyone's was not put in. Without it "
            "a device at the common optimum would still move.",
        ),
        Mistake(
            _variant(own_sign=0.0),
            "Everyone's direction was put in, but the device's own was not taken out: it goes "
            "its own way and everyone's on top.",
        ),
        Mistake(
            _variant(divide="lr"),
            "The way (w − model) was divided by lr, not by steps · lr: so it is the sum of the "
            "directions of all steps. A control variate is their mean, as large as one gradient.",
        ),
        Mistake(
            _variant(divide="K"),
            "The way was divided by the number of steps only: that is a mean step. A gradient is "
            "a step divided by lr.",
        ),
        Mistake(
            _variant(divide="1"),
            "The way (w − model) was used as it is. A control variate stands for a gradient: "
            "divide the way by the number of steps and by lr.",
        ),
        Mistake(
            _variant(divide="×"),
            "The way was multiplied by steps · lr; it has to be divided. Do you miss brackets? "
            "a / b * c is (a / b) · c.",
        ),
        Mistake(
            _variant(divide="K, ×lr"),
            "The way was divided by the steps and then multiplied by lr: brackets are missing. "
            "a / b * c is (a / b) · c.",
        ),
        Mistake(
            _variant(flip=True),
            "The way was taken backwards: steps go *against* a direction, so the mean direction is "
            "(start − model) / (steps · lr).",
        ),
        Mistake(
            _variant(keep="own + moved"),
            "Everyone's control variate was not subtracted. The steps went against "
            "g − own + everyone's; to get the mean of g alone, undo both.",
        ),
        Mistake(
            _variant(keep="moved"),
            "The new control variate is the mean direction of the steps, but these were corrected "
            "already: they went against g − own + everyone's. Undo that to get the mean of g.",
        ),
        Mistake(
            _variant(keep="own + c + moved"),
            "Everyone's control variate was added once more. The steps went against "
            "g − own + everyone's; to get the mean of g alone, subtract it.",
        ),
        Mistake(
            _variant(keep="own", send="change"),
            "The control variate stays what it was: it has to become the mean gradient of the "
            "steps just done.",
        ),
        Mistake(
            _variant(send="control"),
            "The device sent its control variate; the server adds what it is sent to its own "
            "average, so it needs the *change*, new minus old.",
        ),
        Mistake(
            _variant(send="minus"),
            "The change was sent with the wrong sign: it is new minus old.",
        ),
    ),
)
