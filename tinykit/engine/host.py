"""Generated C, compiled for this machine and called in process."""

from __future__ import annotations

import _ctypes
import ctypes
import os
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinykit.engine.arrange import Program
from tinykit.engine.build import compile_host
from tinykit.engine.codegen import Sources, generate
from tinykit.engine.io import read_outputs, write_inputs
from tinykit.engine.options import Options
from tinykit.engine.plan import ALIGNMENT, MemoryPlan
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Graph

#: samples that are worth a thread
BATCH = 32

_BATCH = """
#include <stddef.h>
#include <stdint.h>
#include "model.h"

/* count inferences of a model with one input and one output */
void tk_predict(uint8_t *arena, const uint8_t *from, size_t from_at, size_t from_bytes,
                uint8_t *to, size_t to_at, size_t to_bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        __builtin_memcpy(arena + from_at, from + i * from_bytes, from_bytes);
        model_invoke(arena);
        __builtin_memcpy(to + i * to_bytes, arena + to_at, to_bytes);
    }
}
"""


class HostLibrary:
    """The C engine of one graph on this machine.

    Every call works in an arena of its own, so threads may share one library. The shared library
    is unloaded when the object goes away.

    Parameters
    ----------
    graph : what to compile
    compiler : "zig" or "cc"; by default zig where it is installed
    flags : further compiler flags (sanitizers, say)
    core : None for kernels that suit this machine; the name of a Cortex-M core for the very code
        that is generated for it, its instructions replaced by functions of the same meaning
    options : the engine's techniques to use; all by default

    Raises
    ------
    UnsupportedOpError, MissingToolError, BuildError
    """

    def __init__(
        self,
        graph: Graph | Program,
        compiler: str | None = None,
        flags: Sequence[str] = (),
        core: str | None = None,
        options: Options | None = None,
    ) -> None:
        self.sources: Sources = generate(graph, core=core, options=options)
        self.graph = self.sources.program.graph
        files = {**self.sources.files, "batch.c": _BATCH}
        self.path = compile_host(files, flags, compiler, wide=True)
        self._library = ctypes.CDLL(str(self.path))
        self._invoke = self._library.model_invoke
        self._invoke.argtypes, self._invoke.restype = [ctypes.c_void_p], None
        self._predict = self._library.tk_predict
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._predict.argtypes = [pointer, pointer, size, size, pointer, size, size, size]
        self._predict.restype = None
        weakref.finalize(self, _ctypes.dlclose, self._library._handle)

    @property
    def plan(self) -> MemoryPlan:
        return self.sources.plan

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """One inference on stored (quantized) values; the outputs, likewise stored."""
        arena = self._arena()

        def write(at: int, raw: bytes) -> None:
            arena[at : at + len(raw)] = np.frombuffer(raw, np.uint8)

        write_inputs(self.graph, self.plan, inputs, write)
        self._invoke(arena.ctypes.data)
        return read_outputs(self.graph, self.plan, lambda at, n: arena[at : at + n].tobytes())

    def predict(self, batch: np.ndarray, threads: int | None = None) -> np.ndarray:
        """Inferences on many samples in one call, for graphs with one input and one output.

        Parameters
        ----------
        batch : stored values, shape (samples, *input shape without its batch dimension of 1)
            or (samples, *input shape)
        threads : among which the samples are divided; by default as many as the machine has
            processors, fewer for small batches

        Returns
        -------
        stored outputs, shape (samples, *output shape without a leading dimension of 1)
        """
        source, result = self.graph.input, self.graph.output
        if result.is_const:
            raise GraphError("the graph's output is a constant; there is nothing to predict")
        batch = np.asarray(batch)
        count = len(batch)
        if batch.dtype != source.numpy_dtype or batch.size != count * source.size:
            raise GraphError(
                f"a batch for {source.name!r} has dtype {source.numpy_dtype} and shape "
                f"(samples, {', '.join(map(str, _without_one(source.shape)))}), "
                f"got {batch.dtype} {batch.shape}"
            )
        batch = np.ascontiguousarray(batch)
        out = np.empty((count, *_without_one(result.shape)), result.numpy_dtype)
        at = self.plan.offsets

        def work(first: int, end: int) -> None:
            arena = self._arena()
            self._predict(
                arena.ctypes.data, batch.ctypes.data + first * source.nbytes,
                at[self.graph.inputs[0]], source.nbytes, out.ctypes.data + first * result.nbytes,
                at[self.graph.outputs[0]], result.nbytes, end - first,
            )  # fmt: skip

        if threads is None:
            threads = min(os.cpu_count() or 1, count // BATCH)
        if threads <= 1:
            work(0, count)
            return out
        edges = [count * n // threads for n in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:  # a call into C lets the others run
            list(pool.map(work, edges[:-1], edges[1:]))
        return out

    def _arena(self) -> np.ndarray:
        raw = np.zeros(self.plan.arena_bytes + ALIGNMENT, np.uint8)
        shift = -raw.ctypes.data % ALIGNMENT
        return raw[shift : shift + self.plan.arena_bytes]


def _without_one(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if shape[:1] == (1,) else shape
