"""tk.evaluate: torch modules by torch, graphs by compiled C or, without a compiler, by numpy."""

import numpy as np
import pytest
from torch import nn

import tinykit as tk
from tinykit.data import Dataset
from tinykit.graph import MissingToolError, TinykitError
from tinykit.targets import accuracy


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def model(data: Dataset) -> nn.Module:
    model = tk.zoo.lenet(data.spec, width=0.5)
    tk.fit(model, data, epochs=3)
    return model


def test_module_and_float_graph_agree(model: nn.Module, data: Dataset) -> None:
    graph = tk.to_graph(model)
    for split in ("val", "test"):
        assert tk.evaluate(graph, data, split) == tk.evaluate(model, data, split)


def test_accuracy_is_counted(data: Dataset) -> None:
    class Always(nn.Module):
        def forward(self, x):  # type: ignore[no-untyped-def]
            scores = x.new_zeros(len(x), 10)
            scores[:, 3] = 1
            return scores

    assert tk.evaluate(Always(), data) == np.mean(data.test.y == 3)
    assert tk.evaluate(Always(), data, limit=100) == 0.1


def test_without_a_compiler_the_interpreter_gives_the_same(
    model: nn.Module, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = tk.to_graph(model, calibrate=data)
    x = data.test.x[:40]
    compiled = accuracy.outputs(graph, x)

    def missing(*_: object) -> None:
        raise MissingToolError("no compiler")

    monkeypatch.setattr("tinykit.engine.HostLibrary", missing)
    np.testing.assert_array_equal(accuracy.outputs(graph, x), compiled)
    assert compiled.dtype == np.int8


def test_data_that_does_not_fit(model: nn.Module, data: Dataset) -> None:
    graph = tk.to_graph(tk.zoo.mlp(tk.data.DataSpec("x", (4, 4, 1), tuple("ab"))))
    with pytest.raises(TinykitError, match=r"takes \(1, 4, 4, 1\), the data's examples are \(8, 8"):
        tk.evaluate(graph, data)
    with pytest.raises(TinykitError, match="no split 'valid'"):
        tk.evaluate(model, data, "valid")
