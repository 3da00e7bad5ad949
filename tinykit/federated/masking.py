"""Secure aggregation as a teaching example: the server learns the sum, and of one device nothing.

After Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", CCS
2017. Every two devices agree on a seed; one adds the numbers that grow from it to its update, the
other subtracts them. Arithmetic is modulo 2^bits, where masks cancel exactly and a masked update is
uniformly random.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinykit.federated.errors import FederatedError
from tinykit.federated.randomness import Purpose, generator
from tinykit.federated.secret_sharing import (
    agreed_seed,
    public_key,
    recover,
    secret,
    share,
)

#: of a public key, or of a share
KEY_BYTES = 16


@dataclass(frozen=True)
class Masking:
    """What devices send is masked; the server sees the sum of the cohort.

    What is left out, and what that costs: keys are too short, and come from the simulation's seed;
    nobody signs them, so that a server could pose as devices; and there is no second mask of each
    device's own, so that a server which falsely calls a device dropped gets its update (the paper's
    section 6.2). Every pair has a mask, which costs n² work (Bell et al., CCS 2020, need n·log n).

    Parameters
    ----------
    bits : of a masked number, 8 to 32; the n devices of a round have to share the range, so that
        each has about 2^bits / n levels
    clip : entries of an update beyond ±clip are cut to it
    threshold : share of the devices asked, above 0 and up to 1, that must answer: so many can
        recover the keys of the others. With fewer (or with one, whose update the sum would be) the
        round is given up

    Raises
    ------
    FederatedError
        A value out of range.
    """

    bits: int = 32
    clip: float = 1.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.bits != int(self.bits) or not 8 <= self.bits <= 32:
            raise FederatedError(f"masked numbers have 8 to 32 bits, got {self.bits}")
        if not 0 < self.clip < float("inf"):
            raise FederatedError(f"clip is the largest entry of an update, above 0: {self.clip}")
        if not 0 < self.threshold <= 1:
            raise FederatedError(
                f"threshold is a share above 0 and up to 1 of those asked, got {self.threshold}"
            )

    def needed(self, asked: int) -> int:
        """How many of `asked` devices must answer; at least 2."""
        return max(2, math.ceil(self.threshold * asked))

    def levels(self, asked: int) -> int:
        """Largest whole number that an entry becomes, so that a sum of `asked` does not wrap.

        Raises
        ------
        FederatedError
            There are too few bits for so many devices.
        """
        levels = (2 ** (self.bits - 1) - 1) // max(1, asked)
        if levels < 1:
            raise FederatedError(
                f"{self.bits} bits do not hold the sum of {asked} devices: use more bits"
            )
        return levels

    def step(self, asked: int) -> float:
        """Largest error of an entry of one device's update by fixed point (if not cut)."""
        return self.clip / self.levels(asked)

    def key_bytes(self, asked: int, answered: int) -> tuple[int, int]:
        """Bytes that keys and shares add to a round, (down, up), all devices together (counted).

        Everyone sends a key and a share for each other device through the server; those that
        answered then send their shares of each that did not.
        """
        up = asked * KEY_BYTES + asked * (asked - 1) * KEY_BYTES
        down = 2 * asked * (asked - 1) * KEY_BYTES
        if self.needed(asked) <= answered:
            up += self.needed(asked) * (asked - answered) * KEY_BYTES
        return down, up

    def to_fixed(self, update: np.ndarray, asked: int) -> np.ndarray:
        """Whole numbers modulo 2^bits, uint32 (P,); rounded towards zero, so that no norm grows."""
        levels = self.levels(asked)
        cut = np.clip(update.astype(np.float64), -self.clip, self.clip)
        whole = np.trunc(cut / self.clip * levels).astype(np.int64)
        return (whole % 2**self.bits).astype(np.uint32)

    def from_fixed(self, total: np.ndarray, asked: int) -> np.ndarray:
        """The sum of updates that a sum of `to_fixed` stands for, float64 (P,)."""
        whole = total.astype(np.int64)
        signed = np.where(whole >= 2 ** (self.bits - 1), whole - 2**self.bits, whole)
        return signed * (self.clip / self.levels(asked))


class SecureSum:
    """One round of the protocol, in which all parties are played.

    Parameters
    ----------
    masking : its settings
    devices : numbers of those that were asked, two at least
    size : P
    seed, round : keys are drawn from them

    Attributes
    ----------
    public : device → key that all know
    shares : device → (other device → its share of that device's private key); each device keeps
        those of its own number

    Raises
    ------
    FederatedError
        Fewer than two devices, or too few bits for so many.
    """

    def __init__(
        self, masking: Masking, devices: Sequence[int], size: int, *, seed: int, round: int
    ) -> None:
        if len(devices) < 2:
            raise FederatedError("one device alone has nobody to agree on masks with")
        masking.levels(len(devices))
        self.masking, self.devices, self.size, self.round = masking, list(devices), size, round
        rngs = {d: generator(seed, Purpose.MASKS, round, d) for d in devices}
        self._private = {d: secret(rng) for d, rng in rngs.items()}
        self.public = {d: public_key(key) for d, key in self._private.items()}
        needed = masking.needed(len(devices))
        self.shares = {d: share(self._private[d], self.devices, needed, rngs[d]) for d in devices}

    def mask(self, device: int, update: np.ndarray) -> np.ndarray:
        """What `device` sends for its update (P,): uint32 (P,), below 2^bits."""
        total = self.masking.to_fixed(update, len(self.devices))
        for other in self.devices:
            if other != device:
                total = total + self._mask(self._private[device], device, other)
        return self._modulo(total)

    def sum(self, masked: Mapping[int, np.ndarray]) -> np.ndarray:
        """The sum of the updates of those devices that sent `masked`, float64 (P,).

        Their masks with devices that did not send are still in it: the server has the private keys
        of those recovered, and takes them out.

        Raises
        ------
        FederatedError
            Too few devices sent anything.
        """
        needed = self.masking.needed(len(self.devices))
        if len(masked) < needed:
            raise FederatedError(
                f"{len(masked)} of {len(self.devices)} devices answered, {needed} are needed to "
                "take the masks of the others out"
            )
        total = np.zeros(self.size, dtype=np.uint32)
        for row in masked.values():
            total = total + row
        helpers = sorted(masked)[:needed]
        for gone in self.devices:
            if gone not in masked:
                key = recover({helper: self.shares[gone][helper] for helper in helpers})
                for device in masked:
                    # what `gone` would have sent cancels what `device` did
                    total = total + self._mask(key, gone, device)
        return self.masking.from_fixed(self._modulo(total), len(self.devices))

    def _mask(self, private: int, device: int, other: int) -> np.ndarray:
        """What `device` adds for `other`: minus what `other` adds for it, modulo 2^32."""
        seed = agreed_seed(private, self.public[other], self.round)
        grown = np.frombuffer(hashlib.shake_128(seed).digest(4 * self.size), dtype="<u4")
        return grown if device < other else np.negative(grown)

    def _modulo(self, values: np.ndarray) -> np.ndarray:
        return values & np.uint32(2**self.masking.bits - 1)
