"""Random numbers that depend on what they are for, and on nothing that happened before.

Every draw has a generator of its own, made from (seed, purpose, round, device): so a resumed run
goes on with the same numbers, and a device gets the same minibatches on every engine.
"""

from __future__ import annotations

import random
from enum import IntEnum
from typing import Any

import numpy as np


class Purpose(IntEnum):
    """What a draw is for. The numbers are part of what a seed means: they stay as they are."""

    COHORT = 1
    QUERY = 2
    SUPPORT = 3
    FAULTS = 4
    COMPRESSION = 5
    PRIVACY = 6
    MASKS = 7
    MODEL = 8


def generator(seed: int, purpose: Purpose, round: int, device: int = 0) -> np.random.Generator:
    """The generator of one draw."""
    return np.random.Generator(np.random.PCG64([seed, int(purpose), round, device]))


def ambient_states() -> tuple[Any, ...]:
    """The states of the generators that all code shares: Python's, numpy's and torch's.

    A client function that draws from one of them depends on what ran before it.
    """
    import torch

    numbers = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), str(numbers)
