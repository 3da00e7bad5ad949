"""Make tinykit/data/sets/watch_imu.npz from the watch data inside the seglearn package.

    pip download --no-deps seglearn==1.2.5
    python datasets/watch_imu/make.py seglearn-1.2.5-py3-none-any.whl [--check]
    python datasets/watch_imu/make.py --baseline

With --check nothing is written; exit 1 if the shipped file holds anything else than what this
script makes. --baseline needs scikit-learn and prints the accuracies that the card states.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from tinykit.data.sets import watch_imu

TARGET = Path(__file__).parents[2] / "tinykit" / "data" / "sets" / "watch_imu.npz"
SOURCE = "seglearn/data/watch_dataset.npy"
# a pickle runs code, so only the one that was looked at is opened
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
#: 50 Hz to 10 Hz: means of five; 2 s a window
MEAN_OF, WINDOW = 5, 20
SEED, TEST_SUBJECTS, VALIDATION_SUBJECTS = 0, 2, 1


def make(wheel: Path) -> dict[str, np.ndarray]:
    """windows int16 (N, 20, 6) in steps; labels, users, split uint8: 0 train, 1 val, 2 test."""
    raw = zipfile.ZipFile(wheel).read(SOURCE)
    if hashlib.sha256(raw).hexdigest() != SHA256:
        raise SystemExit(f"{wheel}: {SOURCE} is not that of seglearn 1.2.5")
    source = np.load(io.BytesIO(raw), allow_pickle=True).item()
    assert tuple(source["y_labels"]) == watch_imu.CLASSES
    assert tuple(source["X_labels"]) == watch_imu.CHANNELS
    order = np.random.default_rng(SEED).permutation(np.unique(source["subject"]))
    test = order[:TEST_SUBJECTS]
    validation = order[TEST_SUBJECTS : TEST_SUBJECTS + VALIDATION_SUBJECTS]
    windows, labels, users = [], [], []
    for series, label, subject in zip(source["X"], source["y"], source["subject"], strict=True):
        count = len(series) // (MEAN_OF * WINDOW)
        whole = series[: count * MEAN_OF * WINDOW]
        means = whole.reshape(count, WINDOW, MEAN_OF, len(watch_imu.CHANNELS)).mean(axis=2)
        windows.append(np.round(means / watch_imu.STEP).astype(np.int16))
        labels += [label] * count
        users += [subject] * count
    split = np.isin(users, validation) + 2 * np.isin(users, test)
    return {
        "windows": np.concatenate(windows),
        "labels": np.array(labels, np.uint8),
        "users": np.array(users, np.uint8),
        "split": split.astype(np.uint8),
    }


def features(x: np.ndarray) -> np.ndarray:
    """Mean, deviation, least and greatest of each channel, (N, 24)."""
    x = x[:, :, 0]
    return np.concatenate([x.mean(axis=1), x.std(axis=1), x.min(axis=1), x.max(axis=1)], axis=1)


def baseline() -> dict[str, float]:
    """Accuracies of a logistic regression on `features`, by how it is tested."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = watch_imu.load()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    parts = (data.train, data.val, data.test)
    x = features(np.concatenate([p.x for p in parts]))
    y = np.concatenate([p.y for p in parts])
    users = np.concatenate([p.users for p in parts])
    unseen = cross_val_predict(model, x, y, groups=users, cv=LeaveOneGroupOut()) == y
    seen = cross_val_predict(model, x, y, cv=StratifiedKFold(10, shuffle=True, random_state=0)) == y
    by_person = [unseen[users == user].mean() for user in np.unique(users)]
    fitted = model.fit(features(data.train.x), data.train.y)
    return {
        "each person held out, mean over people": float(np.mean(by_person)),
        "least of a person": float(np.min(by_person)),
        "greatest of a person": float(np.max(by_person)),
        "people known, 10 folds of windows": float(seen.mean()),
        "shipped split": float(fitted.score(features(data.test.x), data.test.y)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true", help="compare with the shipped file only")
    parser.add_argument("--baseline", action="store_true", help="print the card's accuracies")
    asked = parser.parse_args()
    if asked.baseline:
        for name, value in baseline().items():
            print(f"{name}: {value:.1%}")
        return 0
    if asked.wheel is None:
        parser.error("name seglearn's wheel")
    arrays = make(asked.wheel)
    if asked.check:
        with np.load(TARGET) as shipped:
            same = set(shipped.files) == set(arrays) and all(
                np.array_equal(shipped[k], v) for k, v in arrays.items()
            )
        return 0 if same else 1
    np.savez_compressed(TARGET, **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
