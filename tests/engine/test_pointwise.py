"""C kernels of pointwise and reducing ops against the reference, on every input value."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pointwise_cases import CASES, Q, assert_same, reduction, softmax, unary
from tinykit.engine import HostLibrary, emulate
from tinykit.graph.ir import Graph, GraphBuilder, Op
from tinykit.graph.registry import reference

#: the C kernels' exp and tanh are polynomials, a few ulps from libm's; sums of floats add up in
#: order in C
RTOL = 2e-6
SUMS = 1e-3


def rtol_for(name: str) -> float:
    return SUMS if name.startswith(("mean-f", "sum-f")) else RTOL


@pytest.mark.parametrize("name", CASES)
def test_host_is_the_reference(name: str) -> None:
    graph, feeds = CASES[name]()
    got = HostLibrary(graph).run(*feeds)
    exact = all(graph.tensors[i].dtype != "float32" for i in graph.outputs)
    assert_same(graph.run(*feeds), got, 0.0 if exact else rtol_for(name))
