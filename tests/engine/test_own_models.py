"""The networks of MLPerf Tiny's shapes that ship in datasets/models are what their card says."""

import json

import numpy as np
import pytest

from tests.benchmarks._models import CHECKOUT, OWN, find_models, load
from tinykit.targets.tflm import TflmSession

FOLDER = CHECKOUT / "datasets" / "models"


@pytest.mark.parametrize(
    ("name", "kinds", "macs", "shape"),
    [
        ("wake-words shape", {"conv_2d": 14, "depthwise_conv_2d": 13}, 7_489_664, (1, 96, 96, 3)),
        ("anomaly shape", {"fully_connected": 10}, 264_192, (1, 640)),
    ],
)
def test_shape(name: str, kinds: dict[str, int], macs: int, shape: tuple[int, ...]) -> None:
    graph = load(name)
    assert graph is not None
    found = [op.kind for op in graph.ops]
    assert {kind: found.count(kind) for kind in kinds} == kinds
    assert (graph.macs, graph.input.shape) == (macs, shape)
    assert {t.dtype for _, t in graph.activations()} == {"int8"}


@pytest.mark.parametrize("name", OWN)
def test_recorded(name: str) -> None:
    """The record names the file's size and work, and its card both and the measured quality."""
    path = FOLDER / OWN[name]
    row = json.loads((FOLDER / "models.json").read_text("utf-8"))[path.stem]
    assert row["bytes"] == path.stat().st_size
    card = (FOLDER / "README.md").read_text("utf-8")
    quality = row.get("test_accuracy") or row.get("test_auc")
    said = f"{quality:.1%}".replace("%", " %") if "test_accuracy" in row else f"{quality:.3f}"
    for figure in (f"{row['bytes']:,}", f"{row['macs']:,}", said):
        assert figure in card


@pytest.mark.parametrize("name", OWN)
def test_reference_is_tflite_micro(name: str) -> None:
    graph, path = load(name), find_models(own=True)[name]
    assert graph is not None
    assert path is not None
    rng = np.random.default_rng(0)
    samples = [[rng.integers(-128, 128, graph.input.shape).astype(np.int8)] for _ in range(2)]
    with TflmSession() as tflm:
        expected = tflm.run(path.read_bytes(), samples).outputs
    for sample, want in zip(samples, expected, strict=True):
        assert np.array_equal(graph.run(*sample)[0], want[0])
