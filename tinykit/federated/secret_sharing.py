"""Key agreement and secret sharing, in a field that is small enough to look at.

The structure is that of the real thing (Diffie and Hellman, 1976; Shamir, 1979). The size is not:
discrete logarithms modulo a prime of 127 bits can be computed, so this protects nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from tinykit.federated.errors import FederatedError

#: a Mersenne prime: secrets and shares are numbers modulo it
PRIME = 2**127 - 1
#: its powers are public keys
BASE = 43


def secret(rng: np.random.Generator) -> int:
    """A number in [1, PRIME)."""
    return 1 + int.from_bytes(rng.bytes(16), "little") % (PRIME - 1)


def public_key(private: int) -> int:
    """What a device tells all the others."""
    return pow(BASE, private, PRIME)


def agreed_seed(private: int, public: int, round: int) -> bytes:
    """What only the two devices with these keys can compute: both get the same 32 bytes."""
    common = pow(public, private, PRIME)
    return hashlib.sha256(common.to_bytes(16, "little") + round.to_bytes(8, "little")).digest()


def share(
    value: int, people: Sequence[int], threshold: int, rng: np.random.Generator
) -> dict[int, int]:
    """Shares of `value`, one for each of `people` (numbers from 0): any `threshold` of them give it
    back, fewer say nothing of it.

    Raises
    ------
    FederatedError
        The threshold is below 1 or above the number of people.
    """
    if not 1 <= threshold <= len(people):
        raise FederatedError(f"{threshold} of {len(people)} people cannot be needed for a secret")
    coefficients = [value, *(secret(rng) for _ in range(threshold - 1))]
    return {person: _at(coefficients, person + 1) for person in people}


def recover(shares: Mapping[int, int]) -> int:
    """The secret of which these are shares, if there are enough: Lagrange's polynomial at 0."""
    total = 0
    for one, value in shares.items():
        above = below = 1
        for other in shares:
            if other != one:
                above = above * -(other + 1) % PRIME
                below = below * (one - other) % PRIME
        total += value * above * pow(below, -1, PRIME)
    return total % PRIME


def _at(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % PRIME
    return value
