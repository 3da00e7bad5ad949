"""The client function that students write: what is not pure is found, and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tinykit.course import check
from tinykit.federated import Device, Reply

KNOWN: dict[int, torch.Tensor] = {}


def _pure(device: Device) -> torch.Tensor:
    v = 0.5 * device.memory["velocity"] + device.sgd() - device.start
    norm = torch.linalg.vector_norm(v)
    return torch.where(norm > 0.75, v * (0.75 / norm), v)


def right_in_other_words(device: Device) -> Reply:
    v = _pure(device)
    return Reply(device.start + v, memory={"velocity": v})


def branches(device: Device) -> Reply:
    v = 0.5 * device.memory["velocity"] + device.sgd() - device.start
    norm = torch.linalg.vector_norm(v)
    if norm > 0.75:
        v = v * (0.75 / norm)
    return Reply(device.start + v, {"velocity": v})


def asks_for_a_number(device: Device) -> Reply:
    v = 0.5 * device.memory["velocity"] + device.sgd() - device.start
    v = v * min(1.0, 0.75 / v.norm().item())
    return Reply(device.start + v, {"velocity": v})


def remembers_in_a_global(device: Device) -> Reply:
    global LAST
    v = _pure(device) + 0.1 * LAST
    LAST = v.detach()
    return Reply(device.start + v, {"velocity": v})


LAST: Any = 0.0


def draws(device: Device) -> Reply:
    v = _pure(device)
    return Reply(device.start + v + 0.01 * torch.randn(len(v)), {"velocity": v})


def own_generator(device: Device) -> Reply:
    generator = torch.Generator()
    generator.seed()
    v = _pure(device)
    return Reply(device.start + v + 0.01 * torch.randn(len(v), generator=generator),
                 {"velocity": v})  # fmt: skip


def writes_into_the_start(device: Device) -> Reply:
    v = _pure(device)
    device.start += v
    return Reply(device.start, {"velocity": v})


def shortens_in_place(device: Device) -> Reply:
    v = _pure(device)
    new = torch.zeros(len(v))
    new += v
    return Reply(device.start + v, {"velocity": new})


def keeps_nothing(device: Device) -> Reply:
    return Reply(device.start + _pure(device))


def returns_nothing(device: Device) -> None:
    device.sgd()


def test_other_words_for_the_right_answer_pass() -> None:
    assert check("remembering_client", right_in_other_words).passed


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (branches, "torch.where"),
        (asks_for_a_number, "Stay with tensors"),
        (remembers_in_a_global, "Something outlives the run"),
        (draws, "minibatches are drawn for you"),
        (own_generator, "Something outlives the run"),
        (writes_into_the_start, "device.start + v"),
        (shortens_in_place, "Make a new one"),
        (keeps_nothing, "has to bring back"),
        (returns_nothing, "return Reply"),
    ],
)
def test_what_is_not_pure_is_explained(attempt: Callable[[Device], Reply], hint: str) -> None:
    report = check("remembering_client", attempt)
    assert not report.passed
    assert hint in report.explanation


def test_errors_of_the_student_name_their_line() -> None:
    def attempt(device: Device) -> Reply:
        return Reply(device.start + device.memory["speed"])

    assert 'device.memory["speed"]' in check("remembering_client", attempt).explanation
