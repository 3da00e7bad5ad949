"""The shared library: one at a time, in batches, from threads; and it goes away."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.engine.nets import floating, residual, samples_of
from tinykit.engine import HostLibrary
from tinykit.graph import GraphBuilder, GraphError


@pytest.fixture(scope="module")
def library() -> HostLibrary:
    return HostLibrary(residual())


def test_batches_are_the_single_runs(library: HostLibrary) -> None:
    samples = samples_of(residual(), 20)
    single = np.concatenate([residual().run(s)[0] for s in samples])
    batch = np.concatenate(samples)
    found = library.predict(batch)
    assert found.shape == (20, 5)
    assert found.dtype == np.int8
    assert np.array_equal(found, single)
    assert np.array_equal(library.predict(batch[:, None]), single)
    assert library.predict(batch[:0]).shape == (0, 5)
    assert np.array_equal(library.predict(batch[::-1]), single[::-1])  # not contiguous


def test_large_batches_go_through_several_threads(
    library: HostLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = np.concatenate(samples_of(residual(), 131))
    results = []
    for cpus in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda cpus=cpus: cpus)
        results.append(library.predict(batch))
    results.append(library.predict(batch, threads=7))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    assert np.array_equal(results[0][-1], residual().run(batch[-1:])[0][0])


def test_threads_share_a_library(library: HostLibrary) -> None:
    samples = samples_of(residual(), 64)
    expected = [library.run(s)[0].tolist() for s in samples]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda s: library.run(s)[0].tolist(), samples * 4))
    assert found == expected * 4


def test_wrong_inputs_are_named(library: HostLibrary) -> None:
    (sample,) = samples_of(residual(), 1)
    with pytest.raises(GraphError, match="takes int8"):
        library.run(sample.astype(np.float32))
    with pytest.raises(GraphError, match="takes int8"):
        library.run(sample[0])
    with pytest.raises(GraphError, match="2 inputs given"):
        library.run(sample, sample)
    with pytest.raises(GraphError, match="samples, 12, 10, 3"):
        library.predict(np.zeros((4, 12, 10, 2), np.int8))
    with pytest.raises(GraphError, match="samples, 12, 10, 3"):
        library.predict(np.zeros((4, 12, 10, 3), np.float32))


def test_a_constant_output_has_nothing_to_predict() -> None:
    b = GraphBuilder()
    b.input("x", (1, 2), "float32")
    library = HostLibrary(b.finish([b.const(np.float32([[7.0]]))]))
    with pytest.raises(GraphError, match="constant"):
        library.predict(np.zeros((3, 2), np.float32))
    assert library.run(np.zeros((1, 2), np.float32))[0].tolist() == [[7.0]]


def test_libraries_of_different_graphs_live_side_by_side(library: HostLibrary) -> None:
    other = HostLibrary(floating())
    (a,), (b,) = samples_of(residual(), 1), samples_of(floating(), 1)
    assert library.run(a)[0].shape == (1, 5)
    np.testing.assert_allclose(other.run(b)[0], floating().run(b)[0], rtol=1e-5)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mappings")
def test_unloaded_when_the_object_goes() -> None:
    b = GraphBuilder()
    x = b.input("only_here", (1, 3), "float32")
    library = HostLibrary(b.finish([b.op("relu", [x], (1, 3), "float32")]))
    library.run(np.zeros((1, 3), np.float32))
    path = library.path.name
    assert path in Path("/proc/self/maps").read_text()
    del library
    gc.collect()
    assert path not in Path("/proc/self/maps").read_text()
