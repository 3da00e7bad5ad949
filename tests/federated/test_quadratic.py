"""Quadratic federations: their losses are the ones asked for, and their answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinykit import federated as fl

H = np.array([[[2.0, 0.3], [0.3, 0.4]], [[0.5, -0.2], [-0.2, 1.5]]])
C = np.array([[0.0, 1.0], [2.0, -1.0]])


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_device_has_the_gradient_of_its_quadratic(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, c, w = rng.normal(size=(size, size)), rng.normal(size=size), rng.normal(size=size)
    hessian = root @ root.T / size + 0.1 * np.eye(size)
    device = fl.quadratic_device(hessian, c, start=w, steps=1, lr=0.1)
    moved = device.sgd().numpy()
    assert moved == pytest.approx(w - 0.1 * hessian @ (w - c), abs=1e-4)


def test_one_local_step_finds_the_common_optimum() -> None:
    simulation = fl.quadratic_simulation(H, C, start=np.zeros(2), steps=1, lr=0.5)
    simulation.run(200, progress=False)
    optimum = np.linalg.solve(H.sum(0), np.einsum("dij,dj->i", H, C))
    assert simulation.weights().numpy() == pytest.approx(optimum, abs=1e-5)


def test_a_device_to_try_by_hand_has_what_it_is_given() -> None:
    device = fl.quadratic_device(
        H[0], C[0], start=np.ones(2), steps=3, lr=0.2,
        shared={"control": np.array([1.0, 2.0])}, memory={"control": np.array([3.0, 4.0])},
    )  # fmt: skip
    assert device.shared["control"].tolist() == [1, 2]
    assert device.memory["control"].tolist() == [3, 4]
    assert (device.steps, device.lr) == (3, 0.2)
    assert device.start.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("hessians", "optima", "part"),
    [
        ([], [], "each device needs one of both"),
        ([np.eye(2)], [np.zeros(2), np.ones(2)], "each device needs one of both"),
        ([-np.eye(2)], [np.zeros(2)], "not positive definite"),
        ([np.eye(3)], [np.zeros(2)], r"symmetric matrix \(2, 2\)"),
        ([np.array([[1.0, 0.5], [0.0, 1.0]])], [np.zeros(2)], "symmetric"),
        ([np.eye(2), np.eye(3)], [np.zeros(2), np.zeros(3)], "same number of parameters"),
    ],
)
def test_what_is_no_quadratic_is_refused(
    hessians: list[np.ndarray], optima: list[np.ndarray], part: str
) -> None:
    with pytest.raises(fl.FederatedError, match=part):
        fl.quadratic_federation(hessians, optima)


def test_a_simulation_makes_a_module_of_any_parameters() -> None:
    simulation = fl.quadratic_simulation(H, C, start=np.zeros(2), steps=1, lr=0.5)
    module = simulation.module_of(torch.tensor([3.0, 4.0]))
    assert [p.tolist() for p in module.parameters()] == [[3.0, 4.0]]
    assert simulation.weights().tolist() == [0, 0]
