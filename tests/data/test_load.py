import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinykit as tk
from tinykit.data import sets
from tinykit.data.types import DataSpec, Split, stratified
from tinykit.graph import TinykitError

ROOT = Path(__file__).parents[2]


def test_digits_are_scikit_learns() -> None:
    source = pytest.importorskip("sklearn.datasets").load_digits()
    data = tk.data.load("digits")
    x = np.concatenate([data.train.x, data.val.x, data.test.x])
    y = np.concatenate([data.train.y, data.val.y, data.test.y])
    ours = sorted((int(label), image.tobytes()) for label, image in zip(y, x, strict=True))
    images = (source.images / 16).astype(np.float32)
    theirs = sorted(
        (int(label), image.tobytes()) for label, image in zip(source.target, images, strict=True)
    )
    assert ours == theirs


def test_digits_split_and_types() -> None:
    data = tk.data.load("digits")
    assert (len(data.train), len(data.val), len(data.test)) == (1257, 180, 360)
    assert data.spec == DataSpec("digits", (8, 8, 1), tuple("0123456789"))
    for split in (data.train, data.val, data.test):
        assert split.x.dtype == np.float32
        assert split.y.dtype == np.int64
        assert split.x.min() == 0
        assert split.x.max() == 1
        share = np.bincount(split.y) / len(split)
        assert np.all(np.abs(share - 0.1) < 0.01)


def test_shipped_file_is_what_its_script_makes_and_its_card_says() -> None:
    pytest.importorskip("sklearn")
    script = ROOT / "datasets" / "digits" / "make.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
    raw = Path(sets.__path__[0], "digits.npz").read_bytes()
    card = (ROOT / "datasets" / "digits" / "README.md").read_text()
    assert hashlib.sha256(raw).hexdigest() in card
    assert f"{len(raw):,} bytes" in card


def test_every_dataset_has_a_card() -> None:
    for name in tk.data.names():
        assert (ROOT / "datasets" / name / "README.md").is_file()


def test_a_new_module_is_a_new_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noughts.py").write_text(
        "import numpy as np\n"
        "from tinykit.data import Dataset, DataSpec, Split\n"
        "def load():\n"
        "    part = Split(np.zeros((2, 1, 1, 1), np.float32), np.zeros(2, np.int64))\n"
        "    return Dataset('noughts', DataSpec('noughts', (1, 1, 1), ('0',)), part, part, part)\n"
    )
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path)])
    assert "noughts" in tk.data.names()
    assert tk.data.load("noughts").name == "noughts"


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(TinykitError, match=r"no dataset 'mnits'.*digits"):
        tk.data.load("mnits")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    share=st.floats(0.01, 1),
    seed=st.integers(0, 5),
)
def test_stratified_keeps_shares(sizes: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = max(1, int(share * len(labels)))
    index = stratified(labels, count, np.random.default_rng(seed))
    assert len(index) == len(set(index.tolist())) == count
    got = np.bincount(labels[index], minlength=len(sizes))
    exact = np.array(sizes) * count / len(labels)
    assert np.all(np.abs(got - exact) < 1)


def test_take_and_subset() -> None:
    data = tk.data.load("digits").subset(100, 50)
    assert (len(data.train), len(data.val), len(data.test)) == (100, 50, 360)
    assert np.array_equal(np.bincount(data.val.y), np.full(10, 5))
    again = tk.data.load("digits").subset(100, 50)
    assert np.array_equal(data.train.x, again.train.x)


def test_splits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TinykitError, match="one label each"):
        Split(np.zeros((3, 1, 1, 1), np.float32), np.zeros(2, np.int64))
    with pytest.raises(TinykitError, match="no split 'tests'"):
        tk.data.load("digits").split("tests")
