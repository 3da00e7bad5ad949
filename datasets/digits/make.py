"""Make tinykit/data/sets/digits.npz from scikit-learn's copy of the UCI digits.

    python datasets/digits/make.py [--check]

Needs scikit-learn (tested with 1.9.1). With --check nothing is written; exit 1 if the shipped file
holds anything else than what this script makes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from tinykit.data.types import stratified

TARGET = Path(__file__).parents[2] / "tinykit" / "data" / "sets" / "digits.npz"
SEED, TEST, VALIDATION = 0, 360, 180


def make() -> dict[str, np.ndarray]:
    """images uint8 (1797, 8, 8) of 0..16, labels uint8, split uint8: 0 train, 1 val, 2 test."""
    from sklearn.datasets import load_digits

    source = load_digits()
    labels = source.target.astype(np.uint8)
    split = np.zeros(len(labels), np.uint8)
    rng = np.random.default_rng(SEED)
    split[stratified(labels, TEST, rng)] = 2
    rest = np.flatnonzero(split == 0)
    split[rest[stratified(labels[rest], VALIDATION, rng)]] = 1
    return {"images": source.images.astype(np.uint8), "labels": labels, "split": split}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the shipped file only")
    check = parser.parse_args().check
    arrays = make()
    if check:
        with np.load(TARGET) as shipped:
            same = set(shipped.files) == set(arrays) and all(
                np.array_equal(shipped[k], v) for k, v in arrays.items()
            )
        return 0 if same else 1
    np.savez_compressed(TARGET, **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
