"""Self-checks: they pass what is right and explain what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinykit.course.exercises
from tinykit.compress.pruning.criteria import Context, Lamp
from tinykit.course import CheckFailed, Exercise, Mistake, check
from tinykit.course.exercise import load_exercise
from tinykit.graph.errors import TinykitError

NAMES = sorted(
    path.stem
    for path in Path(tinykit.course.exercises.__path__[0]).glob("*.py")
    if path.stem != "__init__"
)
DOUBLE = Exercise(
    "double",
    "Return twice the input.",
    lambda x: 2 * x,
    [(np.arange(3),), (np.arange(4) + 5,)],
    [Mistake(lambda x: x * x, "You squared it.")],
)


@pytest.mark.parametrize("name", NAMES)
def test_right_answer_passes_and_each_mistake_is_told_apart(name: str) -> None:
    exercise = load_exercise(name)
    assert exercise.check(exercise.solve).passed
    for mistake in exercise.mistakes:
        report = exercise.check(mistake.function)
        assert not report.passed
        assert report.explanation == mistake.explanation


@pytest.mark.parametrize("name", NAMES)
def test_stub_is_met_kindly(name: str) -> None:
    def stub(*_: Any) -> None:
        raise NotImplementedError("not written yet")

    report = check(name, stub)
    assert not report.passed
    assert "not written yet" in report.verdict


def test_int8_layer_accepts_either_float_width() -> None:
    """Doing the rescaling in float32 gives the same int8 values on these cases."""

    def layer(x, w, bias, x_scale, x_zero, w_scale, y_scale, y_zero):  # type: ignore[no-untyped-def]
        total = (x.astype(np.int32) - x_zero) @ w.T.astype(np.int32) + bias
        factor = np.float32(x_scale) * w_scale.astype(np.float32) / np.float32(y_scale)
        y = np.floor(total.astype(np.float32) * factor + np.float32(0.5)) + y_zero
        return np.clip(y, -128, 127).astype(np.int8)

    assert check("int8_layer", layer).passed


@pytest.mark.parametrize(
    ("attempt", "part"),
    [
        (lambda x: x * x, "You squared it."),
        (
            lambda x: 3 * x,
            "Case 1 of 2, double([0, 1, 2]): 2 of 3 values differ; the largest difference is at",
        ),
        (lambda x: (2 * x)[:2], "shape (3,) is needed, yours is (2,)"),
        (lambda x: 2.0 * x, "dtype int64 is needed, not float64"),
        (lambda x: 2 * x + np.nan, "3 of 3 values differ"),
        (lambda x: "six", "numbers are needed, your function returned 'six'"),
        (lambda x: None, "numbers are needed, your function returned None"),
        (lambda x: x[7], "IndexError: index 7 is out of bounds"),
        (5, "a function is needed, this is int"),
        (lambda: 1, "TypeError"),
    ],
)
def test_what_is_wrong_is_said(attempt: Any, part: str) -> None:
    report = DOUBLE.check(attempt)
    assert not report.passed
    assert part in str(report)


def test_error_names_the_line_of_the_student() -> None:
    def attempt(x: np.ndarray) -> np.ndarray:
        y = x + 1
        return y @ np.ones((7, 7))

    report = DOUBLE.check(attempt)
    assert "return y @ np.ones((7, 7))" in report.explanation


def test_writing_into_an_argument_changes_nothing() -> None:
    def attempt(x: np.ndarray) -> np.ndarray:
        x *= 2
        return x

    assert DOUBLE.check(attempt).passed
    assert DOUBLE.cases[0][0].tolist() == [0, 1, 2]


def test_require_raises_with_the_explanation() -> None:
    assert DOUBLE.check(lambda x: x + x).require().passed
    with pytest.raises(CheckFailed, match="You squared it"):
        DOUBLE.check(lambda x: x * x).require()


def test_report_is_escaped_html() -> None:
    text = DOUBLE.check(lambda x: "<b>")._repr_html_()
    assert "&lt;b&gt;" in text
    assert "✗" in text


def test_unknown_exercise_is_named() -> None:
    with pytest.raises(TinykitError, match="no exercise 'nothing'"):
        check("nothing", len)


@pytest.mark.parametrize(
    ("attempt", "part"),
    [
        # what numpy does with the first thing that comes to mind
        (lambda a, b: 256 * b + a, "does not fit into int8"),
        (
            lambda a, b: np.array([int(256 * int(n) + int(m)) for n, m in zip(b, a)], np.uint32),  # noqa: B905
            "never negative",
        ),
        (lambda a, b: np.zeros(a.size // 2, np.uint32), "is right, yours is 0x00000000"),
    ],
)
def test_words_of_two_channels_are_explained(attempt: Any, part: str) -> None:
    report = check("pack_pairs", attempt)
    assert not report.passed
    assert part in report.explanation


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (30, 7)])
def test_lamp_scores_are_those_that_the_kit_prunes_by(shape: tuple[int, ...]) -> None:
    w = np.random.default_rng(1).normal(size=shape)
    model = torch.nn.Linear(1, 1)
    context = Context(model, None, 0)
    values = {"w": torch.from_numpy(w)}
    scores = Lamp().score(lambda _: values["w"].reshape(-1, 1), context)
    assert np.allclose(load_exercise("lamp_scores").solve(w).ravel(), scores.numpy(), atol=1e-12)


def test_the_ternary_step_is_the_kits_own() -> None:
    import torch

    from tinykit.compress.csteps import ScaledTernary

    exercise = load_exercise("ternary_step")
    for (w,) in exercise.cases:
        found = ScaledTernary()(torch.from_numpy(w).float()).decompress().numpy()
        assert exercise.solve(w) == pytest.approx(found, abs=1e-5)


def test_prototypes_are_the_kits_own() -> None:
    from tinykit.federated.customise import Examples, Prototypes

    exercise = load_exercise("prototype_logits")
    for features, own, labels, classes in exercise.cases:
        known = Examples(torch.empty(0), torch.from_numpy(labels))
        logits, _ = Prototypes(classes).distances(
            torch.from_numpy(features), torch.from_numpy(own), known
        )
        assert exercise.solve(features, own, labels, classes) == pytest.approx(logits.numpy())


def test_not_a_number_is_a_mistake_like_any_other() -> None:
    exercise = load_exercise("prototype_logits")

    def means(features, own, labels, classes):  # type: ignore[no-untyped-def]
        with np.errstate(invalid="ignore"):
            member = labels == np.arange(classes)[:, None]
            centres = member @ own / member.sum(1)[:, None]
        return -((features[:, None] - centres) ** 2).sum(-1)

    assert "0/0" in exercise.check(means).explanation


def test_the_cost_of_a_round_is_that_of_the_kits_fleet() -> None:
    """A class for each device, and steps so fine that whole ones are no limit."""
    from tinykit.federated.system import Fleet, Work, parse

    def number(value: float) -> dict[str, Any]:
        return {"value": float(value), "origin": "assumed", "source": "an exercise"}

    steps = 10**7
    exercise = load_exercise("round_cost")
    for overhead, train, cutoff, size, mbps, idle, radio, compute in exercise.cases:
        links: dict[str, Any] = {}
        devices: dict[str, Any] = {}
        for n in range(len(train)):
            links[f"l{n}"] = {
                "title": "link",
                "down_mbps": number(mbps[n]),
                "up_mbps": number(mbps[n]),
                "receive_w": number(radio[n]),
                "send_w": number(radio[n]),
            }
            devices[f"d{n}"] = {
                "title": "device",
                "kind": "board",
                "training_macs_per_s": number(1.0),
                "memory_bytes": number(1.0),
                "overhead_s": number(overhead[n]),
                "idle_w": number(idle[n]),
                "compute_w": number(compute[n]),
                "available": number(1.0),
                "links": [f"l{n}"],
            }
        rates = {f"d{n}": steps / seconds for n, seconds in enumerate(train)}
        fleet = Fleet(
            list(devices),
            Work.from_rates(rates, "an exercise"),
            catalog=parse({"links": links, "devices": devices}),
        )
        cost = fleet.cost(range(len(train)), steps, 1, size, size, cutoff_s=cutoff)
        got = exercise.solve(overhead, train, cutoff, size, mbps, idle, radio, compute)
        assert got == pytest.approx([cost.round_seconds, cost.total_joules], rel=1e-5)
