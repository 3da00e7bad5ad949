"""Local training on quadratic losses, followed step by step: where each algorithm goes, and ends.

Plain numpy, a few lines an algorithm, so that a knob answers at once and each local step can be
drawn; a test holds it against the strategies of `tinykit.federated`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinykit.graph.errors import TinykitError

#: name in the code → what people read
ALGORITHMS = {
    "fedavg": "FedAvg",
    "fedprox": "FedProx",
    "scaffold": "SCAFFOLD",
    "feddyn": "FedDyn",
}


@dataclass(frozen=True, eq=False)
class Bowls:
    """Losses fᵢ(w) = ½ (w − cᵢ)ᵀ Hᵢ (w − cᵢ), one a device.

    Parameters
    ----------
    hessians : (devices, P, P)
    optima : (devices, P)
    """

    hessians: np.ndarray
    optima: np.ndarray

    def __len__(self) -> int:
        return len(self.optima)

    def gradient(self, device: int, w: np.ndarray) -> np.ndarray:
        return np.asarray(self.hessians[device] @ (w - self.optima[device]))

    @property
    def optimum(self) -> np.ndarray:
        """Where the mean of the losses is least, (P,)."""
        return np.linalg.solve(
            self.hessians.sum(0), np.einsum("dij,dj->i", self.hessians, self.optima)
        )

    def fixed_point(self, steps: int, lr: float, mu: float = 0.0) -> np.ndarray:
        """The w that FedAvg (with μ: FedProx) maps to itself when all devices take part, (P,).

        `steps` local steps shrink a device's distance from where it is going, vᵢ, by
        (1 − lr·(Hᵢ + μ))^steps; with μ, vᵢ lies between its optimum and w.
        """
        size = self.optima.shape[1]
        left, right = np.zeros((size, size)), np.zeros(size)
        for hessian, own in zip(self.hessians, self.optima, strict=True):
            held = hessian + mu * np.eye(size)
            shrink = np.eye(size) - np.linalg.matrix_power(np.eye(size) - lr * held, steps)
            # the update is −shrink · held⁻¹ · H (w − c)
            pull = shrink @ np.linalg.solve(held, hessian)
            left, right = left + pull, right + pull @ own
        return np.linalg.solve(left, right)


@dataclass(frozen=True, eq=False)
class Path:
    """A run.

    Parameters
    ----------
    shared : the model that people use: the mean of the answers, (rounds + 1, P)
    local : for each round, device → where it was from the first step to the last, (steps + 1, P)
    """

    shared: np.ndarray
    local: tuple[dict[int, np.ndarray], ...]

    def distances(self, goal: np.ndarray) -> np.ndarray:
        """Of the shared model from `goal`, (rounds + 1,)."""
        return np.asarray(np.linalg.norm(self.shared - goal, axis=1))


def follow(
    bowls: Bowls,
    algorithm: str,
    cohorts: Sequence[Sequence[int]],
    *,
    start: np.ndarray,
    steps: int,
    lr: float,
    strength: float = 0.5,
) -> Path:
    """Run an algorithm.

    Parameters
    ----------
    algorithm : of `ALGORITHMS`
    cohorts : the devices of each round
    strength : μ of FedProx, α of FedDyn

    Raises
    ------
    TinykitError
        No such algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise TinykitError(f"no algorithm {algorithm!r}; there are {', '.join(ALGORITHMS)}")
    devices, size = bowls.optima.shape
    own, everyone = np.zeros((devices, size)), np.zeros(size)  # control variates, or duals
    sent = np.asarray(start, float)
    shared, local = [sent], []
    for cohort in cohorts:
        paths, changes = {}, np.zeros(size)
        for i in cohort:
            w, path = sent, [sent]
            for _ in range(steps):
                direction = bowls.gradient(i, w)
                if algorithm == "scaffold":
                    direction = direction - own[i] + everyone
                if algorithm == "feddyn":
                    direction = direction - own[i]
                if algorithm in ("fedprox", "feddyn"):
                    direction = direction + strength * (w - sent)
                w = w - lr * direction
                path.append(w)
            change = np.zeros(size)
            if algorithm == "scaffold":
                change = (sent - w) / (steps * lr) - everyone
            if algorithm == "feddyn":
                change = -strength * (w - sent)
            own[i] += change
            changes += change
            paths[i] = np.array(path)
        everyone = everyone + changes / devices
        mean = np.mean([path[-1] for path in paths.values()], axis=0)
        sent = mean - everyone / strength if algorithm == "feddyn" else mean
        shared.append(mean)
        local.append(paths)
    return Path(np.array(shared), tuple(local))
