"""Figures of federations: true to the counts, and the one that shows what is particular."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import tinykit as tk
from tinykit.data import DataSpec, Federation, Split
from tinykit.data.partitions import (
    IID,
    Dirichlet,
    DirichletByClass,
    FewClasses,
    LogNormal,
    Partition,
    PermutedLabels,
    Shards,
    Shift,
    Users,
    partition,
)

DIGITS = tk.data.load("digits")
WATCH = tk.data.load("watch_imu")


def valid(figure: go.Figure) -> go.Figure:
    """`figure`, validated by Plotly, with titles."""
    checked = go.Figure(figure.to_plotly_json())
    layout = checked.layout
    assert layout.title.text
    assert layout.title.subtitle.text
    assert layout.xaxis.title.text
    assert layout.yaxis.title.text
    return checked


def made(how: Partition, **asked: Any) -> Federation:
    data = WATCH if isinstance(how, Users) else DIGITS
    return partition(data, how, **{"devices": None if isinstance(how, Users) else 10, **asked})


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (IID(), "what 10 devices hold"),
        (Dirichlet(0.1), "what 10 devices hold"),
        (DirichletByClass(0.3), "what 10 devices hold"),
        (Shards(2), "what 10 devices hold"),
        (FewClasses(), "what 10 devices hold"),
        (Users(), "what 7 devices hold"),
        (LogNormal(1.0), "how much 10 devices hold"),
        (LogNormal(1.0, Dirichlet(0.1)), "what 10 devices hold"),
        (PermutedLabels(), "what each device calls"),
        (Shift(), "as 4 groups see them"),
        (Shift("noise", groups=None), "as 10 groups see them"),
    ],
    ids=str,
)
def test_every_partition_has_its_figure(how: Partition, words: str) -> None:
    for test in (0.0, 0.2):
        figure = valid(tk.plots.partition(made(how, test=test, seed=0)))
        assert words in figure.layout.title.text
        assert how.__class__.__name__ in figure.layout.title.text


def test_cells_are_the_counts() -> None:
    federation = made(Dirichlet(0.3), test=0.2)
    (cells,) = valid(tk.plots.device_classes(federation)).data
    whole = federation.counts() + federation.counts(federation.test)
    assert np.allclose(np.array(cells.z).T, whole / whole.sum(axis=1, keepdims=True))
    texts = [[int(t or 0) for t in row] for row in cells.text]
    assert np.array_equal(np.array(texts).T, whole)
    assert list(cells.x) == [str(n) for n in range(10)]


def test_many_devices_are_sorted_by_their_main_class() -> None:
    federation = made(Dirichlet(0.1), devices=100)
    (cells,) = valid(tk.plots.device_classes(federation)).data
    columns = np.array(cells.z).T
    assert columns.shape == (100, 10)
    assert np.all(np.diff(columns.argmax(axis=1)) >= 0)
    counts = federation.counts()
    share = counts / counts.sum(axis=1, keepdims=True)
    assert sorted(map(tuple, columns.tolist())) == sorted(map(tuple, share.tolist()))


def test_what_chance_would_give_is_said() -> None:
    """One class of two with 2 examples each: 2 of 2 alike in half the cases, so 75 %."""
    pool = Split(np.zeros((400, 1, 1, 1), np.float32), np.arange(400) % 2)
    pairs = tuple(np.arange(400).reshape(200, 2))
    federation = Federation("pairs", DataSpec("pairs", (1, 1, 1), ("a", "b")), pool, pairs)
    subtitle = valid(tk.plots.device_classes(federation)).layout.title.subtitle.text
    assert "main class is 50% of its examples" in subtitle
    assert any(f"by chance it would be {p}%" in subtitle for p in (74, 75, 76))


def test_users_name_their_devices() -> None:
    (cells,) = tk.plots.device_classes(made(Users())).data
    assert list(cells.x)[:3] == ["user 1", "user 2", "user 4"]


def test_sizes_are_the_sizes() -> None:
    federation = made(LogNormal(1.0), test=0.2)
    figure = valid(tk.plots.device_sizes(federation))
    learn, test = figure.data
    total = np.array(learn.y) + np.array(test.y)
    assert np.all(np.diff(total) <= 0)
    for name, own, out in zip(learn.x, learn.y, test.y, strict=True):
        assert own == len(federation.train[int(name)])
        assert out == len(federation.test[int(name)])
    assert figure.layout.shapes[0].y0 == pytest.approx(total.mean())
    largest = total[:2].sum() / total.sum()
    assert f"largest fifth of the devices hold {largest:.0%}" in figure.layout.title.subtitle.text
    (only,) = valid(tk.plots.device_sizes(made(LogNormal(1.0)))).data
    assert sum(only.y) == len(DIGITS.train)


def test_own_labels_stand_where_a_device_holds_the_class() -> None:
    federation = made(PermutedLabels(), devices=20, test=0.2, seed=3)
    (cells,) = valid(tk.plots.own_labels(federation, devices=8)).data
    original, seen = DIGITS.train.y, federation.pool.y
    for device in range(8):
        held = federation.holdings()[device]
        calls = {int(c): int(seen[held][original[held] == c][0]) for c in original[held]}
        text = {c: int(t) for c, t in enumerate(cells.text[device]) if t}
        assert text == calls
        assert sum(cells.z[device]) == pytest.approx(1)


def test_tiles_are_what_the_group_sees() -> None:
    federation = made(Shift("rotation"), devices=8)
    figure = valid(tk.plots.own_views(federation, classes=3))
    z = np.array(figure.data[0].z, dtype=float)
    assert z.shape == (4 * 9 - 1, 3 * 9 - 1)
    assert list(figure.layout.yaxis.ticktext)[1] == "turned by 90°"
    for group in range(4):
        mine = np.concatenate([federation.train[group], federation.train[group + 4]])
        for label in range(3):
            tile = z[9 * group : 9 * group + 8, 9 * label : 9 * label + 8]
            first = mine[DIGITS.train.y[mine] == label][0]
            turned = np.rot90(DIGITS.train.x[first, :, :, 0], group)
            assert np.allclose(tile, turned, atol=1e-4)


def test_groups_are_drawn_from_least_to_greatest() -> None:
    federation = made(Shift("brightness", groups=None), devices=30)
    figure = valid(tk.plots.own_views(federation))
    amounts = [float(t.split()[-1]) for t in figure.layout.yaxis.ticktext]
    assert len(amounts) == 6
    assert amounts == sorted(amounts)
    every = [float(t.split()[-1]) for t in federation.groups if t != "as it is"]
    assert amounts[-1] == max(every)


def test_series_are_lines() -> None:
    how = Shift("gain", Users(), groups=2)
    federation = partition(WATCH, how)
    figure = valid(tk.plots.partition(federation))
    assert [t.name for t in figure.data] == ["channel 0", "channel 1", "channel 2"]
    steps, cells = 20, 6 * 6
    assert all(len(t.x) == len(t.y) == cells * (steps + 1) for t in figure.data)
    assert figure.layout.yaxis.ticktext[-1].endswith("gain +100%")


def test_ten_thousand_devices_draw_at_once() -> None:
    rng = np.random.default_rng(0)
    pool = Split(np.zeros((100_000, 1, 1, 1), np.float32), rng.integers(0, 10, 100_000))
    federation = partition(pool, Dirichlet(0.1), devices=10_000)
    start = time.process_time()
    figures = [tk.plots.device_classes(federation), tk.plots.device_sizes(federation)]
    assert time.process_time() - start < 2
    assert all(len(figure.data[0].x) == 400 for figure in figures)
    assert all("400" in figure.layout.xaxis.title.text for figure in figures)


def test_devices_without_anything() -> None:
    federation = partition(
        DIGITS.train.take(40), DirichletByClass(0.05, minimum=0), devices=40, allow_empty=True
    )
    assert federation.sizes.min() == 0
    valid(tk.plots.device_classes(federation))
    valid(tk.plots.device_sizes(federation))
