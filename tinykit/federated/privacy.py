"""Differential privacy for devices: DP-FedAvg, and what it guarantees after so many rounds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.errors import FederatedError
from tinykit.federated.randomness import Purpose, generator
from tinykit.graph.errors import MissingToolError

Accountant = Literal["rdp", "prv"]

#: Rényi orders that are tried; opacus's own end at 63, where much noise would have larger ones,
#: and have a hundred broken ones, which take long and gain little
ORDERS = (
    *(1 + x / 10 for x in range(1, 30)),
    *(4 + x / 2 for x in range(14)),
    *range(11, 64),
    *(64, 80, 96, 128, 192, 256, 384, 512, 768, 1024),
)
#: below this noise the PRV accountant takes minutes and overflows
LEAST_PRV = 0.3
#: float32 rounds a product up as well as down; a clipped row must not be longer than it may be
SAFE = 1 - 1e-6


@dataclass(frozen=True)
class Privacy:
    """DP-FedAvg with fixed denominator (McMahan et al., "Learning differentially private recurrent
    language models", ICLR 2018, algorithm 1).

    Each update is clipped to norm C on its device. The server adds noise of standard deviation z·C
    to every entry of their sum, and divides by qm, the expected number of devices in a cohort, not
    by that of those which came: whether somebody came must not show. What is protected is a whole
    device: the trained model tells, up to (ε, δ), as much with all its examples as without it.

    The guarantee covers the models after each round and nothing else: the losses, drifts and
    failures in a history are what only a simulation sees. It takes a server that adds the noise as
    it should, randomness that nobody else knows (here a seed), and real numbers where computers
    round (Mironov, CCS 2012).

    Parameters
    ----------
    clip : C, largest L2 norm of an update
    noise : z, standard deviation of the noise over C; 0 only clips, ε is infinite
    delta : δ; None: m^−1.1 for m devices, as in the paper
    accountant : "rdp" (Rényi orders; Mironov et al., 2019) takes milliseconds; "prv" (Gopi et al.,
        NeurIPS 2021) gives an ε that is smaller, usually by 10 %, and takes some tenths of a second

    Raises
    ------
    FederatedError
        A value out of range.
    MissingToolError
        opacus is not installed.
    """

    clip: float
    noise: float
    delta: float | None = None
    accountant: Accountant = "rdp"

    def __post_init__(self) -> None:
        if not 0 < self.clip < float("inf"):
            raise FederatedError(f"clip is the largest norm of an update, above 0: {self.clip}")
        if not 0 <= self.noise < float("inf"):
            raise FederatedError(f"noise is a multiple of clip, from 0 on, got {self.noise}")
        if self.delta is not None and not 0 < self.delta < 1:
            raise FederatedError(f"delta is a probability above 0 and below 1, got {self.delta}")
        if self.accountant not in ("rdp", "prv"):
            raise FederatedError(f"accountants are 'rdp' and 'prv', got {self.accountant!r}")
        if self.noise:
            _opacus()

    def delta_for(self, devices: int) -> float:
        """δ for a federation of `devices` that may be asked.

        Raises
        ------
        FederatedError
            δ is no smaller than 1/devices: publishing a device's data whole would be allowed.
        """
        delta = devices**-1.1 if self.delta is None else self.delta
        if delta * devices >= 1:
            raise FederatedError(
                f"delta = {delta:g} would allow one of {devices} devices to be given away whole: "
                f"it must be below 1/{devices}; (ε, δ) says little of so few devices"
                if devices > 1
                else "one device has nobody to hide among"
            )
        return delta

    def epsilon(self, rounds: int, share: float, delta: float) -> float:
        """ε after `rounds` rounds in each of which a device takes part with probability `share`,
        an upper bound."""
        return epsilon(self.noise, rounds, share, delta, self.accountant)

    def clipped(self, updates: Tensor) -> Tensor:
        """Rows of (n, P), each of norm at most C."""
        return clip_rows(updates, self.clip)

    def noise_in(self, round: int, size: int, seed: int) -> np.ndarray:
        """What is added to the sum of clipped updates in `round`, float64 (size,)."""
        rng = generator(seed, Purpose.PRIVACY, round)
        return self.noise * self.clip * rng.standard_normal(size)


def clip_rows(rows: Tensor, most: float) -> Tensor:
    """`rows` (n, P), those longer than `most` shortened to it."""
    norms = torch.linalg.vector_norm(rows.double(), dim=1, keepdim=True)
    shorter = (rows * (most * SAFE / norms)).to(rows.dtype)
    return torch.where(norms > most * SAFE, shorter, rows)


def epsilon(
    noise: float, rounds: int, share: float, delta: float, accountant: Accountant = "rdp"
) -> float:
    """ε of the Poisson-subsampled Gaussian mechanism, by opacus: an upper bound.

    Parameters
    ----------
    noise : standard deviation over sensitivity
    rounds : compositions
    share : probability with which a device takes part in a round, (0, 1]

    Raises
    ------
    FederatedError
        A value out of range.
    MissingToolError
        opacus is not installed.
    """
    if rounds < 0 or not 0 < share <= 1 or not 0 < delta < 1 or not noise >= 0:
        raise FederatedError(
            "ε is defined for rounds >= 0, share in (0, 1], delta in (0, 1) and noise >= 0, got "
            f"{rounds}, {share}, {delta} and {noise}"
        )
    if rounds == 0:
        return 0.0
    if noise == 0:
        return float("inf")
    if accountant == "rdp":
        per_round = rounds * np.array(_rdp_of_a_round(noise, share))
        with warnings.catch_warnings():
            # that the best order is an end of the list makes the bound looser, not wrong
            warnings.simplefilter("ignore")
            found, _ = _opacus().analysis.rdp.get_privacy_spent(
                orders=list(ORDERS), rdp=per_round, delta=delta
            )
    else:
        if noise < LEAST_PRV:
            raise FederatedError(
                f"the PRV accountant takes minutes below noise {LEAST_PRV}, got {noise}: "
                "accountant='rdp' says how large ε is there"
            )
        prv = _opacus().PRVAccountant()
        prv.history = [(noise, share, rounds)]
        # logarithms of zero at the ends of its grid are meant; the orders that it warns about only
        # say how wide the grid is
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = prv.get_epsilon(delta)
    return max(0.0, float(found))


def noise_for(
    target: float, rounds: int, share: float, delta: float, accountant: Accountant = "rdp"
) -> float:
    """The least noise (within 0.1 %) whose ε after `rounds` rounds is at most `target`.

    Raises
    ------
    FederatedError
        No noise is enough (or nobody could compute how much is).
    """
    if not target > 0:
        raise FederatedError(f"ε must be above 0, got {target}")
    low, high = LEAST_PRV, 1.0
    while epsilon(high, rounds, share, delta, accountant) > target:
        low, high = high, 2 * high
        if high > 1e5:
            raise FederatedError(f"no noise gives ε = {target} after {rounds} rounds")
    if epsilon(low, rounds, share, delta, accountant) <= target:
        return low
    while high > 1.001 * low:
        middle = (low * high) ** 0.5
        if epsilon(middle, rounds, share, delta, accountant) > target:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=256)
def _rdp_of_a_round(noise: float, share: float) -> tuple[float, ...]:
    """Rényi divergences of one round at `ORDERS`; they add up over rounds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = _opacus().analysis.rdp.compute_rdp(
            q=share, noise_multiplier=noise, steps=1, orders=list(ORDERS)
        )
    return tuple(float(value) for value in each)


def _opacus() -> Any:
    try:
        import opacus.accountants as accountants
        import opacus.accountants.analysis.rdp  # noqa: F401
    except ImportError as error:
        raise MissingToolError(
            f"differential privacy is accounted for by opacus, which is missing or does not load "
            f'({error}): pip install "tinyml-kit[privacy]"'
        ) from None
    return accountants
