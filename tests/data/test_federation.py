"""What a federation refuses, and what it says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinykit.data import DataError, DataSpec, Federation, Split

POOL = Split(
    np.arange(6, dtype=np.float32).reshape(-1, 1, 1, 1), np.array([0, 1, 2, 0, 1, 2]), np.arange(6)
)
SPEC = DataSpec("six", (1, 1, 1), ("a", "b", "c"))


def at(*positions: int) -> np.ndarray:
    return np.array(positions, dtype=np.int64)


def made(**changes: Any) -> Federation:
    given = {"train": (at(0, 1), at(2)), "test": (at(3), at(4, 5)), **changes}
    return Federation("six", SPEC, POOL, **given)


def test_what_devices_hold() -> None:
    federation = made(groups=("left", "right"), label_maps=np.array([[0, 1, 2], [2, 0, 1]]))
    assert len(federation) == 2
    assert federation.sizes.tolist() == [2, 1]
    assert federation.counts().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert federation.counts(federation.test).tolist() == [[1, 0, 0], [0, 1, 1]]
    assert [h.tolist() for h in federation.holdings()] == [[0, 1, 3], [2, 4, 5]]
    own = federation.device(1, "test")
    assert own.x.ravel().tolist() == [4, 5]
    assert own.users is not None
    assert own.users.tolist() == [4, 5]
    assert made(test=()).holdings()[0].tolist() == [0, 1]
    assert "1 to 2 examples" in repr(federation)


def test_fingerprints_tell_federations_apart() -> None:
    other = Split(POOL.x + 1, POOL.y)
    texts = {
        made().fingerprint(),
        made(test=()).fingerprint(),
        made(train=(at(0), at(1, 2))).fingerprint(),
        Federation("six", SPEC, other, made().train, made().test).fingerprint(),
    }
    assert len(texts) == 4
    assert made().fingerprint() == made().fingerprint()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train": (), "test": ()}, "at least one device"),
        ({"test": (at(3),)}, "test is given for 1 of 2"),
        ({"groups": ("left",)}, "groups is given for 1 of 2"),
        ({"train": (at(0), np.array([1.0]))}, "device 1 needs a list of int64"),
        ({"train": (at(0, 6), at(1))}, "holds example 6, the pool has 6"),
        ({"train": (at(-1), at(1))}, "device 0 holds"),
        ({"test": (at(1), at(4))}, "device 0 would be tested with"),
        ({"label_maps": np.array([[0, 1, 2]])}, "all 3 labels for each of 2"),
        ({"label_maps": np.array([[0, 1, 2], [0, 1, 1]])}, "all 3 labels for each of 2"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(DataError, match=why):
        made(**changes)


@pytest.mark.parametrize("asked", [(2, "train"), (-1, "train"), (0, "val")])
def test_devices_that_are_not_there(asked: tuple[int, str]) -> None:
    with pytest.raises(DataError, match=r"no .* part of device .*; it has 2 devices"):
        made().device(*asked)
    with pytest.raises(DataError, match="without test parts"):
        made(test=()).device(0, "test")
