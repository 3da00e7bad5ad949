"""Keras models through TensorFlow's converter: what it emits for ordinary layers, and failures.

The whole suite is converted by one child, once a session.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tinykit as tk
from tests.formats.keras_suite import IMAGE, SHAPES, builders, job
from tinykit.formats import keras
from tinykit.formats.keras import ConversionError, Converted, Job, convert, convert_all
from tinykit.formats.tflite import read, write
from tinykit.formats.tflite.versions import op_version
from tinykit.graph import Graph, MissingToolError, ModelFormatError
from tinykit.graph.ir import integer_range
from tinykit.targets.litert import run as litert
from tinykit.targets.tflm import TflmSession
from tinykit.targets.verify import _bytes_of

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="needs the tensorflow extra"
    ),
    pytest.mark.timeout(900),  # the first test waits for about 70 conversions
]

#: TFLite Micro has no kernel for something in these, so LiteRT is the judge
BEYOND_MICRO = {"time_distributed": "strided_slice in five dimensions"}
#: what is also converted in float32 and int16
OTHER_TYPES = ("depthwise", "flatten_dense", "squeeze_and_excite")
PAIRS = [(name, "int8") for name in builders()]
PAIRS += [(name, dtype) for name in OTHER_TYPES for dtype in ("float32", "int16")]


Found = dict[object, Converted | ConversionError]


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What became of all models here; one child makes all that do not need files of another."""
    folder = tmp_path_factory.mktemp("keras")
    jobs: dict[object, Job] = {pair: job(*pair) for pair in PAIRS} | _ways(folder)
    found: Found = dict(zip(jobs, convert_all(list(jobs.values())), strict=True))
    saved = {
        ".keras": Job(folder / "m.keras", None, "float32"),
        "SavedModel": Job(str(folder / "m"), None, "float32"),
    }
    return found | dict(zip(saved, convert_all(list(saved.values())), strict=True))


@pytest.fixture(scope="module")
def tflm() -> Iterator[TflmSession]:
    with TflmSession() as session:
        yield session


def _samples(graph: Graph, count: int = 4) -> list[list[np.ndarray]]:
    """Random stored values, and both ends of the range."""
    rng = np.random.default_rng(3)
    samples = []
    for n in range(count + 2):
        sample = []
        for t in (graph.tensors[i] for i in graph.inputs):
            if t.dtype == "float32":
                sample.append(rng.normal(size=t.shape).astype(np.float32))
                continue
            low, high = integer_range(t.dtype)
            ends = {count: low, count + 1: high}
            value = rng.integers(low, high + 1, t.shape) if n < count else np.full(t.shape, ends[n])
            sample.append(value.astype(t.numpy_dtype))
        samples.append(sample)
    return samples


@pytest.mark.parametrize(("name", "dtype"), PAIRS, ids=lambda v: v)
def test_converter_output_is_understood(
    name: str, dtype: str, everything: Found, tflm: TflmSession
) -> None:
    """Nothing unsupported is left, and the reference interpreter agrees with a real runtime."""
    result = everything[name, dtype]
    assert isinstance(result, Converted), result
    graph = result.graph
    assert not graph.unsupported
    assert all(t.shape[0] == 1 for t in map(graph.tensors.__getitem__, graph.inputs))
    assert not {"shape", "tile"} & {op.kind for op in graph.ops}
    samples = _samples(graph)
    ours = [graph.run(*sample) for sample in samples]
    # TFLite Micro takes the shapes of an open batch at their word and lacks some shape ops, so it
    # runs the graph as this kit writes it; LiteRT runs the converter's own file.
    theirs = (
        _litert(result.tflite, samples) if name in BEYOND_MICRO else _micro(graph, samples, tflm)
    )
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            if dtype == "float32":
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
            else:
                np.testing.assert_array_equal(a, b)


def _micro(graph: Graph, samples: list, tflm: TflmSession) -> list:
    return tflm.run(write(graph), samples).outputs


def _litert(data: bytes, samples: list) -> list:
    return litert(data, samples, resolver="builtin_ref").outputs


@pytest.mark.parametrize("name", ["conv_dilated", "conv_1d_dilated", "depthwise_dilated", "stack",
                                  "dense_on_sequence", "reshape", "upsample_bilinear"])  # fmt: skip
def test_rewrites_keep_the_meaning_of_the_converter_s_file(name: str, everything: Found) -> None:
    """LiteRT's reference kernels on the file itself: folding and rewriting changed nothing."""
    result = everything[name, "int8"]
    samples = _samples(result.graph)
    for sample, theirs in zip(samples, _litert(result.tflite, samples), strict=True):
        for a, b in zip(result.graph.run(*sample), theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_dilation_and_upsampling_are_single_ops(everything: Found) -> None:
    def kinds(name: str) -> list[str]:
        return [op.kind for op in everything[name, "int8"].graph.ops]

    assert kinds("depthwise_dilated") == ["depthwise_conv_2d"]
    assert kinds("upsample_nearest") == ["resize_nearest_neighbor", "conv_2d"]
    dilated = everything["conv_dilated_valid", "int8"].graph.ops[0]
    assert (dilated.attrs["dilation_h_factor"], dilated.attrs["dilation_w_factor"]) == (2, 3)


def test_op_versions_are_the_converter_s(everything: Found) -> None:
    """All but int16's, where the converter leaves versions from before it quantized."""
    compared = 0
    for name, dtype in (pair for pair in PAIRS if pair[1] != "int16"):
        data = everything[name, dtype].tflite
        try:
            graph = read(data, fold=False)
        except ModelFormatError:  # placeholders for open shapes contradict each other
            continue
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        for op, stored in zip(graph.ops, model.subgraphs[0].operators, strict=True):
            version = op_version(op.kind, graph.ins(op), graph.outs(op), op.attrs)
            assert version == model.operatorCodes[stored.opcodeIndex].version, (name, op.kind)
            compared += 1
    assert compared > 200


def test_litert_knows_the_versions_of_int16_ops(everything: Found) -> None:
    for name in OTHER_TYPES:
        graph = everything[name, "int16"].graph
        _litert(write(graph), _samples(graph, 1))


def test_verification_runs_what_tflite_micro_can_take(everything: Found, tmp_path: Path) -> None:
    """The file itself when its ops are the graph's, else the graph as the kit writes it."""
    for name, itself in (("conv_same_stride", True), ("conv_dilated", False), ("stack", False)):
        result = everything[name, "int8"]
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(result.tflite)
        used = _bytes_of(path, result.graph)
        assert used == (result.tflite if itself else write(result.graph)), name


def test_suite_inputs_match_its_models(everything: Found) -> None:
    for name in builders():
        graph = everything[name, "int8"].graph
        shapes = [graph.tensors[i].shape[1:] for i in graph.inputs]
        assert shapes == SHAPES.get(name, IMAGE), name


def test_outputs_come_in_the_model_s_order(everything: Found) -> None:
    """The converter's file has them in another order for this model."""
    graph = everything["two_outputs", "int8"].graph
    assert [graph.tensors[i].shape for i in graph.outputs] == [(1, 10, 8, 2), (1, 4)]


# -- ways to give a model, and what can go wrong ------------------------------------------------

TRAINING = """
import keras

def build(x, y):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, y, epochs=40, batch_size=8, verbose=0)
    print("loss", model.evaluate(x, y, verbose=0))
    return model

def not_a_model():
    return 3

def broken():
    return keras.layers.Nonsense(4)

def saved():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.save("{folder}/m.keras")
    model.export("{folder}/m", verbose=False)
    return model
"""


def _linear_data() -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    return {"x": x, "y": x @ np.float32([1, -2, 0.5, 3]).reshape(4, 1)}


def _builder(x, y):  # type: ignore[no-untyped-def]
    import keras

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(int(y.shape[1]), name="head")])


def _ways(folder: Path) -> dict[object, Job]:
    """Ways to give a model, and to fail."""
    text = TRAINING.replace("{folder}", str(folder))
    (folder / "model.py").write_text(text)
    data = _linear_data()
    return {
        "text": Job(text, data["x"], "int8", data),
        "again": Job(text, data["x"], "int8", data),
        "file": Job(folder / "model.py", None, "float32", data),
        "function": Job(_builder, data["x"], "int16", data),
        "not a model": Job(text, None, "float32", function="not_a_model"),
        "broken": Job(text, None, "float32", function="broken"),
        "no such function": Job(text, None, "float32", function="nothing"),
        "wrong shape": Job(text, np.zeros((3, 5), np.float32), "int8", data),
        "saved": Job(text, None, "float32", function="saved"),
    }


@pytest.mark.parametrize("way", ["text", "again", "file", "function", ".keras", "SavedModel"])
def test_ways_to_give_a_model(way: str, everything: Found) -> None:
    result = everything[way]
    assert isinstance(result, Converted), result
    assert [op.kind for op in result.graph.ops] == ["fully_connected"]
    assert result.graph.input.shape == (1, 4)
    assert result.tflite[4:8] == b"TFL3"


def test_training_in_the_child_reaches_the_graph(everything: Found) -> None:
    """The weights that the child learnt: the int8 graph solves the regression."""
    result, data = everything["text"], _linear_data()
    assert result.log.startswith("loss ")
    graph = result.graph
    stored = graph.input.stored(data["x"])
    outputs = np.concatenate([graph.run(row[None])[0] for row in stored])
    error = graph.output.real(outputs) - data["y"]
    assert np.abs(error).max() < 0.2
    assert np.abs(data["y"]).max() > 5


def test_same_seed_same_file(everything: Found) -> None:
    assert everything["text"].tflite == everything["again"].tflite


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("not a model", r"not_a_model\(\) should return a Keras model, it returned 3"),
        ("broken", r"source, line 15 \(return keras\.layers\.Nonsense\(4\)\): AttributeError"),
        ("no such function", r"the source defines no function nothing\(\)"),
        ("wrong shape", r"TensorFlow could not convert the model: \w+: "),
    ],
)
def test_failures_say_what_happened(way: str, message: str, everything: Found) -> None:
    result = everything[way]
    assert isinstance(result, ConversionError)
    with pytest.raises(ConversionError, match=message):
        raise result


def test_mistakes_that_need_no_child() -> None:
    with pytest.raises(ConversionError, match="int8 needs `representative` inputs"):
        tk.from_keras("def build():\n    ...")
    with pytest.raises(ConversionError, match="dtype 'int7'; known: float32, int8, int16"):
        tk.from_keras("def build():\n    ...", dtype="int7")
    with pytest.raises(ConversionError, match="no such file or folder"):
        tk.from_keras("nowhere.keras", dtype="float32")
    with pytest.raises(ConversionError, match=r"expected a \.keras, \.h5 or \.py file"):
        tk.from_keras(__file__ + "c" if Path(__file__ + "c").exists() else sys.executable,
                      dtype="float32")  # fmt: skip
    with pytest.raises(ConversionError, match="source cannot be found"):
        tk.from_keras(len, dtype="float32")


def test_missing_tensorflow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match=r"pip install 'tinyml-kit\[tensorflow\]'"):
        tk.from_keras("def build():\n    ...", dtype="float32")


def test_child_that_hangs_or_dies() -> None:
    with pytest.raises(ConversionError, match="did not finish within 1 s"):
        convert("import time\ntime.sleep(60)\n", dtype="float32", timeout=1)
    # Not sys.exit, which is an exception: the way a library aborts.
    source = "import os\nprint('out of memory', flush=True)\nos.abort()\n"
    with pytest.raises(ConversionError, match="ended with signal 6"):
        convert(source, dtype="float32")


def test_tensorflow_stays_out_of_this_process(everything: Found) -> None:
    assert "tensorflow" not in sys.modules
