"""Devices whose losses are quadratic: small problems whose answer is known exactly.

Device i has fᵢ(w) = ½ (w − cᵢ)ᵀ Hᵢ (w − cᵢ). As examples it is a regression without noise: P
examples (a, b) of weight a·w − b, with Hᵢ = mean of a aᵀ. So every strategy runs on it unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinykit.data.federation import Federation
from tinykit.data.types import DataSpec, Split
from tinykit.federated.device import Device
from tinykit.federated.engines.engine import Broadcast
from tinykit.federated.engines.single import SingleDevice
from tinykit.federated.errors import FederatedError
from tinykit.federated.local import Local
from tinykit.federated.rounds import work_of
from tinykit.federated.simulation import Simulation
from tinykit.federated.strategy import Strategy


class Residual(nn.Module):
    """a·w − b for examples (a, b): (N, 1, 1, P + 1) → (N, 1).

    Parameters
    ----------
    start : the first w, (P,)
    """

    def __init__(self, start: np.ndarray) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(np.asarray(start), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return flat[:, :-1] @ self.w[:, None] - flat[:, -1:]


def half_square(residual: Tensor, y: Tensor) -> Tensor:
    """½ r² of each example; there is nothing to label, `y` is not looked at."""
    return 0.5 * residual[:, 0] ** 2


def quadratic_federation(
    hessians: Sequence[np.ndarray], optima: Sequence[np.ndarray]
) -> Federation:
    """A device for each quadratic; it holds P examples.

    Parameters
    ----------
    hessians : Hᵢ, symmetric and positive definite, (P, P) each
    optima : cᵢ, where device i's own loss is 0, (P,) each

    Raises
    ------
    FederatedError
        Shapes that do not match, or a Hessian that is not positive definite.
    """
    if len(hessians) == 0 or len(hessians) != len(optima):
        raise FederatedError(
            f"{len(hessians)} Hessians and {len(optima)} optima: each device needs one of both"
        )
    rows = [_examples(np.asarray(h, float), np.asarray(c, float))
            for h, c in zip(hessians, optima, strict=True)]  # fmt: skip
    size = rows[0].shape[1] - 1
    if any(r.shape[1] != size + 1 for r in rows):
        raise FederatedError("all devices need the same number of parameters")
    x = np.concatenate(rows).astype(np.float32)[:, None, :, None]
    pool = Split(x, np.zeros(len(x), np.int64))
    parts = np.split(np.arange(len(x), dtype=np.int64), len(rows))
    spec = DataSpec("quadratics", (1, size + 1, 1), ("residual",))
    return Federation(f"{len(rows)} quadratics", spec, pool, tuple(parts))


def quadratic_simulation(
    hessians: Sequence[np.ndarray],
    optima: Sequence[np.ndarray],
    strategy: Strategy | None = None,
    *,
    start: np.ndarray,
    steps: int = 10,
    lr: float = 0.1,
    **settings: Any,
) -> Simulation:
    """A `Simulation` of these devices; a step sees the whole loss of its device, without noise.

    Parameters
    ----------
    hessians, optima : see `quadratic_federation`
    start : the first w, (P,)
    steps, lr : of local training
    settings : all else of `Simulation`, the cohort for example
    """
    federation = quadratic_federation(hessians, optima)
    local = Local(steps=steps, batch=len(np.asarray(start)), lr=lr)
    return Simulation(
        Residual(start), federation, strategy, local=local, loss=half_square, **settings
    )


def quadratic_device(
    hessian: np.ndarray,
    optimum: np.ndarray,
    *,
    start: np.ndarray,
    steps: int,
    lr: float,
    shared: Mapping[str, np.ndarray] | None = None,
    memory: Mapping[str, np.ndarray] | None = None,
) -> Device:
    """One such device as a client function sees it, to try a client function by hand.

    Parameters
    ----------
    start : the model that the server sent, (P,)
    shared, memory : what it sent besides, and what the device remembers, by the strategy's names
    """
    made = quadratic_simulation([hessian], [optimum], start=start, steps=steps, lr=lr)
    broadcast = Broadcast(0, made.server, made.statistics, lr, made.seed)
    device = SingleDevice(made.setting.net, made.setting, broadcast, work_of(made, 0, 0, None))
    device.shared, device.memory = (
        {name: torch.tensor(np.asarray(v), dtype=torch.float32) for name, v in (of or {}).items()}
        for of in (shared, memory)
    )
    return device


def _examples(hessian: np.ndarray, optimum: np.ndarray) -> np.ndarray:
    """Rows (a, b), (P, P + 1): the mean of a aᵀ is the Hessian."""
    size = len(optimum)
    if hessian.shape != (size, size) or not np.allclose(hessian, hessian.T):
        raise FederatedError(
            f"a Hessian of {size} parameters is a symmetric matrix ({size}, {size}), "
            f"got shape {hessian.shape}"
        )
    try:
        root = np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        raise FederatedError(f"{hessian.tolist()} is not positive definite") from None
    a = np.sqrt(size) * root.T
    return np.concatenate([a, (a @ optimum)[:, None]], axis=1)
