"""What one federated round costs: seconds and joules of all devices that take part.

Arguments, one number a device unless said otherwise: `overhead_s`, seconds to connect and start;
`train_s`, seconds of training asked for; `cutoff_s` (one number), seconds of training after which
a device stops and sends what it has; `model_bytes` (one number), what travels in each direction;
`mbps`, the link in Mbit/s, down and up; `idle_w`, what the device draws while it does not train;
`radio_w`, what the radio draws on top of it while data move; `compute_w`, what the whole device
draws while it trains. The result is [seconds of the round, joules of all devices].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray


def solve(
    overhead_s: Array,
    train_s: Array,
    cutoff_s: float,
    model_bytes: int,
    mbps: Array,
    idle_w: Array,
    radio_w: Array,
    compute_w: Array,
) -> Array:
    """Device by device and phase by phase; a test compares it with the kit's own fleet."""
    rows = list(zip(overhead_s, train_s, mbps, idle_w, radio_w, compute_w, strict=True))
    phases = [
        [
            (overhead, idle),
            (8 * model_bytes / (1e6 * rate), idle + radio),
            (min(train, cutoff_s), compute),
            (8 * model_bytes / (1e6 * rate), idle + radio),
        ]
        for overhead, train, rate, idle, radio, compute in rows
    ]
    ready = [sum(seconds for seconds, _ in of) for of in phases]
    joules = sum(seconds * watts for of in phases for seconds, watts in of)
    waiting = sum((max(ready) - t) * row[3] for t, row in zip(ready, rows, strict=True))
    return np.array([max(ready), joules + waiting])


def _variant(
    *,
    bits: float = 8 / 1e6,
    ways: int = 2,
    train: Callable[[Array, float], Array] = lambda t, cutoff: np.minimum(t, cutoff),
    stop: bool = False,
    over: Callable[[Array], float] = np.max,
    idle: str = "not training",
    total: Callable[[Array], float] = np.sum,
) -> Any:
    """Seconds and joules as somebody who makes the named mistake computes them."""

    def cost(
        overhead_s: Array,
        train_s: Array,
        cutoff_s: float,
        model_bytes: int,
        mbps: Array,
        idle_w: Array,
        radio_w: Array,
        compute_w: Array,
    ) -> Array:
        transfer = ways * bits * model_bytes / mbps
        trains = train(train_s, cutoff_s)
        busy = overhead_s + transfer + trains
        if stop:
            busy = np.minimum(busy, cutoff_s)
        seconds = over(busy)
        quiet = {
            "not training": seconds - trains,
            "always": np.full(len(busy), seconds),
            "busy": busy - trains,
            "waiting": seconds - trains - transfer,
            "never": np.zeros(len(busy)),
        }[idle]
        joules = compute_w * trains + idle_w * quiet + radio_w * transfer
        return np.array([seconds, total(joules)])

    return cost


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(11)
    made: list[tuple[Any, ...]] = []
    for devices, cutoff in ((2, 10.0), (4, 2.0), (9, 5.0)):
        made.append(
            (
                rng.uniform(0.5, 2, devices).round(1),
                rng.uniform(1, 12, devices).round(1),
                cutoff,
                250_000,
                rng.uniform(1, 20, devices).round(0),
                rng.uniform(0.05, 0.5, devices).round(2),
                rng.uniform(0.2, 1, devices).round(1),
                rng.uniform(1, 4, devices).round(1),
            )
        )
    return made


EXERCISE = Exercise(
    name="round_cost",
    task="Return [seconds, joules]: the round takes as long as its slowest device, and every "
    "device draws power all that time (1e-9 is close enough).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-9,
    stops=(
        ("truth value of an array", "np.minimum compares entry by entry; min() wants one answer."),
        (
            "setting an array element with a sequence",
            "One of the two results is an array, a number for each device: the round has one end, "
            "and the joules of all are their sum.",
        ),
    ),
    mistakes=(
        Mistake(
            _variant(over=np.mean),
            "The round ends for the average device. The server waits for all of them: it ends when "
            "the slowest is ready.",
        ),
        Mistake(
            _variant(over=np.sum),
            "The seconds of all devices were added up, as if they trained one after the other. "
            "They work at the same time; the slowest decides.",
        ),
        Mistake(
            _variant(idle="busy"),
            "A device that is ready still waits for the slowest, and draws idle_w while it does.",
        ),
        Mistake(
            _variant(idle="never"),
            "Nothing was charged for the time in which a device does not train: connecting, "
            "sending and waiting all draw idle_w.",
        ),
        Mistake(
            _variant(idle="always"),
            "idle_w was charged during training as well, but compute_w is what the whole device "
            "draws then.",
        ),
        Mistake(
            _variant(idle="waiting"),
            "While data move the device draws idle_w and the radio draws radio_w on top of it; "
            "idle_w was left out there.",
        ),
        Mistake(
            _variant(bits=1 / 1e6),
            "Links are given in Mbit/s and models in bytes: a byte is eight bits. The transfers "
            "are eight times too short.",
        ),
        Mistake(
            _variant(bits=8.0),
            "Links are given in Mbit/s, a million bits a second: divide by 1e6 · mbps.",
        ),
        Mistake(
            _variant(bits=8 / 2**20),
            "A megabit of a link is 10^6 bits, not 2^20.",
        ),
        Mistake(
            _variant(ways=1),
            "The model travels twice: down to the device, and back up.",
        ),
        Mistake(
            _variant(train=lambda t, cutoff: t),
            "The cut-off was not applied: a device trains for train_s or cutoff_s, whichever is "
            "less.",
        ),
        Mistake(
            _variant(train=lambda t, cutoff: np.full(len(t), cutoff)),
            "Every device trained for the whole cut-off, those included that are ready earlier.",
        ),
        Mistake(
            _variant(train=lambda t, cutoff: np.maximum(t, cutoff)),
            "np.maximum lets everybody train at least as long as the cut-off; it is an upper "
            "limit.",
        ),
        Mistake(
            _variant(train=lambda t, cutoff: t, stop=True),
            "The cut-off was taken off the whole round, upload included: then nothing would come "
            "back from a slow device. It limits the training; what was learnt is sent afterwards.",
        ),
        Mistake(
            _variant(train=lambda t, cutoff: np.where(t > cutoff, 0.0, t)),
            "A device that would need longer than the cut-off did not train at all. It trains "
            "until the cut-off and sends what it has.",
        ),
        Mistake(
            _variant(total=np.mean),
            "These are the joules of a mean device; those of all together are asked for.",
        ),
        Mistake(
            _variant(total=np.max),
            "These are the joules of one device; those of all together are asked for.",
        ),
    ),
)
