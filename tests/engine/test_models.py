"""The two MLPerf Tiny models: generated C is the reference on this machine and on every core."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.engine.nets import samples_of
from tinykit.engine import CORES, HostLibrary, emulate
from tinykit.graph import Graph

#: most instructions of an inference on a Cortex-M4. TFLite Micro's reference kernels take
#: 43.0 M and 107.4 M there, with CMSIS-NN 7.7 M and 29.9 M.
LIMITS = {"kws_ref_model": 20_000_000, "pretrainedResnet_quant": 60_000_000}


@pytest.fixture(scope="module", params=list(LIMITS))
def model(request: pytest.FixtureRequest, shared_models: Path) -> Graph:
    from tinykit.formats import tflite

    graph = tflite.read_file(str(shared_models / f"{request.param}.tflite"))
    return graph.replace(name=request.param)


def samples(graph: Graph) -> list[np.ndarray]:
    shape = graph.input.shape
    ends = [np.full(shape, value, np.int8) for value in (-128, 127)]
    return [*samples_of(graph, 2), *ends]


@pytest.mark.parametrize("core", list(CORES))
def test_emulated(model: Graph, core: str) -> None:
    some = samples(model)[: 4 if core == "cortex-m4" else 2]
    run = emulate(model, some, core)
    for sample, got in zip(some, run.outputs, strict=True):
        assert np.array_equal(model.run(sample)[0], got[0])
    assert run.instructions is not None
    assert run.per_op is not None
    assert sum(run.per_op) == run.instructions
    if core == "cortex-m4":
        assert run.instructions < LIMITS[model.name]


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is missing")
def test_built_with_gcc(model: Graph) -> None:
    run = emulate(model, samples(model), "cortex-m4", "gcc")
    for sample, got in zip(samples(model), run.outputs, strict=True):
        assert np.array_equal(model.run(sample)[0], got[0])


def test_on_this_machine(model: Graph) -> None:
    library = HostLibrary(model)
    batch = np.concatenate(samples_of(model, 20, seed=3))
    expected = np.concatenate([model.run(x[None])[0] for x in batch])
    assert np.array_equal(library.predict(batch), expected)
