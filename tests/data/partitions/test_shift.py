"""Shifts, against scipy and against what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import tinykit as tk
from tinykit.data import DataError, Split
from tinykit.data.partitions import Dirichlet, PermutedLabels, Shift, Users, partition
from tinykit.data.partitions.shifts import SHIFTS, blur, mounting

PICTURES = [name for name in SHIFTS if name not in ("gain", "mounting")]


@pytest.mark.parametrize("kind", PICTURES)
def test_groups_see_what_their_label_says(kind: str) -> None:
    data = tk.data.load("digits")
    over = Dirichlet(0.5)
    plain = partition(data, over, devices=9, samples=50, test=0.2, seed=2)
    shifted = partition(data, Shift(kind, over, groups=3), devices=9, samples=50, test=0.2, seed=2)
    assert len(set(shifted.groups)) == 3
    far = []
    for device in range(9):
        assert np.array_equal(shifted.train[device], plain.train[device])
        assert np.array_equal(shifted.test[device], plain.test[device])
        ours, theirs = shifted.device(device), plain.device(device)
        assert np.array_equal(ours.y, theirs.y)
        assert ours.x.dtype == np.float32
        assert ours.x.min() >= 0
        assert ours.x.max() <= 1
        far.append(float(np.abs(ours.x - theirs.x).mean()))
        assert shifted.groups[device] == shifted.groups[device % 3]
        assert (far[-1] == 0) == (shifted.groups[device] == "as it is") == (device % 3 == 0)
    if kind != "rotation":
        assert np.mean(far[2::3]) > np.mean(far[1::3])
    held = np.concatenate([*shifted.train, *shifted.test])
    rest = np.setdiff1d(np.arange(len(data.train)), held)
    assert np.array_equal(shifted.pool.x[rest], data.train.x[rest])


def test_rotation_is_scipys() -> None:
    data = tk.data.load("digits")
    shifted = partition(data, Shift("rotation"), devices=8)
    assert shifted.groups[:4] == ("as it is", "turned by 90°", "turned by 180°", "turned by 270°")
    for device in range(4):
        turned = ndimage.rotate(data.train.x[shifted.train[device]], 90 * device, axes=(1, 2))
        assert np.allclose(shifted.device(device).x, turned, atol=1e-6)


@pytest.mark.parametrize("pixels", [0.4, 1.0, 1.5])
def test_blur_is_scipys(pixels: float) -> None:
    x = tk.data.load("digits").test.x[:20]
    reach = int(np.ceil(3 * pixels))
    want = ndimage.gaussian_filter(x, (0, pixels, pixels, 0), mode="nearest", radius=reach)
    assert np.allclose(blur(x, pixels, np.random.default_rng(0)), want, atol=1e-5)


def motion() -> Split:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 16, 1, 6)).astype(np.float32)
    return Split(x, rng.integers(0, 3, 60), np.repeat(np.arange(6), 10))


def test_mounting_turns_each_sensor_about_z() -> None:
    x = motion().x
    turned = mounting(x, 90, np.random.default_rng(0))
    assert np.allclose(turned[..., [0, 1, 2]], np.stack([-x[..., 1], x[..., 0], x[..., 2]], -1))
    assert np.allclose(turned[..., [3, 4, 5]], np.stack([-x[..., 4], x[..., 3], x[..., 5]], -1))


def test_motion_sensors_are_not_clipped_and_keep_their_user() -> None:
    source = motion()
    shifted = partition(source, Shift("gain", Users(), groups=2))
    assert shifted.groups[:2] == ("user 0, as it is", "user 1, gain +100%")
    assert np.array_equal(shifted.device(1).x, 2 * source.x[10:20])


def test_each_device_may_draw_its_own() -> None:
    data = tk.data.load("digits")
    own = partition(data, Shift("brightness", groups=None), devices=40)
    assert len(set(own.groups)) > 20
    turns = partition(data, Shift("rotation", groups=None), devices=400)
    _, count = np.unique(turns.groups, return_counts=True)
    assert len(count) == 4
    assert count.min() > 70


def test_shifts_pile_up() -> None:
    data = tk.data.load("digits")
    how = Shift("rotation", Shift("contrast", PermutedLabels(), groups=2), groups=2)
    federation = partition(data, how, devices=4)
    assert federation.groups[1] == "contrast less by 75%, turned by 90°"
    assert federation.label_maps is not None


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Shift("smell"), "no shift 'smell'; there are: rotation"),
        (lambda: Shift(groups=1), "2 or more; got 1"),
        (lambda: Shift(groups=5), "4 steps"),
        (lambda: Shift(strength=-1), "strength .* above 0"),
        (lambda: partition(motion(), Shift(), devices=4), "square pictures"),
        (lambda: partition(tk.data.load("digits"), Shift("mounting"), devices=4), "in threes"),
        (
            lambda: partition(tk.data.load("digits"), Shift(strength=100), devices=4),
            "no step of 90°",
        ),
    ],
)
def test_shifts_that_cannot_be(make: object, why: str) -> None:
    assert callable(make)
    with pytest.raises(DataError, match=why):
        make()
