"""The watch data: what its card says, measured again."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinykit as tk
from tinykit.data import sets
from tinykit.data.partitions import Users, partition

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "datasets" / "watch_imu" / "README.md").read_text()


def test_split_by_person_and_types() -> None:
    data = tk.data.load("watch_imu")
    assert (data.spec.shape, data.spec.num_classes) == ((20, 1, 6), 7)
    people = []
    for split, name in ((data.train, "train"), (data.val, "validation"), (data.test, "test")):
        assert split.x.dtype == np.float32
        assert split.y.dtype == split.users.dtype == np.int64
        assert np.all(np.bincount(split.y, minlength=7) > 0.07 * len(split))
        own = sorted(set(split.users.tolist()))
        people += own
        assert f"| {name} | {', '.join(map(str, own))} | {len(split):,} |" in CARD
    assert sorted(people) == list(range(1, 11))  # each in one split only
    # gravity is in it: at rest the acceleration is 1 g
    length = np.linalg.norm(data.train.x[..., :3], axis=-1)
    assert np.median(length) == pytest.approx(1, abs=0.1)


def test_shipped_file_is_the_cards() -> None:
    raw = Path(sets.__path__[0], "watch_imu.npz").read_bytes()
    assert hashlib.sha256(raw).hexdigest() in CARD
    assert f"{len(raw):,} bytes" in CARD
    assert len(raw) < 1_000_000


def test_baseline_is_the_cards() -> None:
    pytest.importorskip("sklearn")
    path = ROOT / "datasets" / "watch_imu" / "make.py"
    spec = importlib.util.spec_from_file_location("make_watch_imu", path)
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    got = make.baseline()
    unseen, seen = (
        got["each person held out, mean over people"],
        got["people known, 10 folds of windows"],
    )
    # to a few windows: solvers of other versions end elsewhere by that much
    assert unseen == pytest.approx(0.817, abs=0.005)
    assert got["least of a person"] == pytest.approx(0.667, abs=0.01)
    assert got["greatest of a person"] == pytest.approx(0.900, abs=0.01)
    assert seen == pytest.approx(0.873, abs=0.005)
    assert got["shipped split"] == pytest.approx(0.833, abs=0.005)
    assert seen > unseen + 0.03


def test_its_people_are_devices() -> None:
    data = tk.data.load("watch_imu")
    federation = partition(data, Users(), test=0.2)
    assert federation.groups == tuple(f"user {n}" for n in (1, 2, 4, 6, 8, 9, 10))
    assert federation.sizes.sum() + sum(map(len, federation.test)) == len(data.train)
