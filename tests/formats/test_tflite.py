"""`.tflite` files: what is written is read again, and real runtimes agree on what it means."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.models import MODELS, floats, shapes_and_slices, small_cnn
from tests.formats.same import difference
from tests.strategies import DTYPE_NAMES, graphs
from tinykit.formats.tflite import options, read, read_file, write, write_file
from tinykit.formats.tflite.schema import BUILTINS, TENSOR_TYPES
from tinykit.formats.tflite.tensors import SMALLEST_SCALE
from tinykit.graph import (
    Graph,
    GraphBuilder,
    ModelFormatError,
    Quantization,
    TinykitError,
    UnsupportedOpError,
    int4,
    load,
)
from tinykit.graph.registry import OPSET
from tinykit.targets.tflm import TflmSession


@pytest.fixture(scope="module")
def tflm() -> Iterator[TflmSession]:
    with TflmSession() as session:
        yield session


def edited(data: bytes, change) -> bytes:  # type: ignore[no-untyped-def]
    """`data` with `change` made to TensorFlow's own object form of it."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


# -- the numbers of the format ------------------------------------------------------------------


def test_names_and_numbers_are_those_of_the_schema() -> None:
    def names(enum: type) -> dict[str, int]:
        return {k: v for k, v in vars(enum).items() if isinstance(v, int)}

    ours = {name.upper(): number for number, name in enumerate(BUILTINS)}
    assert ours.items() <= names(schema.BuiltinOperator).items()
    types = {name.upper(): number for number, name in enumerate(TENSOR_TYPES)}
    assert types.items() <= names(schema.TensorType).items()


def test_every_op_of_the_opset_has_its_option_table() -> None:
    assert set(OPSET) <= set(options.OPTIONS)
    for kind, spec in OPSET.items():
        fields = {f.name for f in options.OPTIONS[kind].fields}
        assert fields == set(spec.attrs), kind


@pytest.mark.parametrize("kind", sorted(k for k, o in options.OPTIONS.items() if o.union))
def test_option_tables_mean_what_tensorflow_s_reader_takes_them_for(kind: str) -> None:
    """Write an op with no attribute at its default; the reader made from the schema decodes it."""
    values = {"i32": 3, "f32": 0.5, "padding": "valid", "activation": "relu6", "ints": (2, 5)}
    table = options.OPTIONS[kind]
    attrs = {f.name: (not f.default) if f.form == "bool" else values[f.form] for f in table.fields}
    b = GraphBuilder()
    x = b.input("x", (2, 5), "float32")
    b.ops.append(_op(kind, x, b.tensor(b.tensors[x]), attrs))
    graph = object.__new__(Graph)  # no shape rule would pass these attributes
    for key, value in {
        "tensors": tuple(b.tensors), "ops": tuple(b.ops),
        "inputs": (x,), "outputs": (1,), "name": "one",
    }.items():  # fmt: skip
        object.__setattr__(graph, key, value)
    model = schema.ModelT.InitFromPackedBuf(write(graph), 0)
    op = model.subgraphs[0].operators[0]
    assert BUILTINS[model.operatorCodes[0].builtinCode] == kind
    found = op.builtinOptions
    assert type(found).__name__.removesuffix("OptionsT").lower() in _table_names(kind)
    expected = {
        "relu6": schema.ActivationFunctionType.RELU6,
        "valid": schema.Padding.VALID,
    }
    for f in table.fields:
        camel = "".join(w.capitalize() if i else w for i, w in enumerate(f.name.split("_")))
        camel = camel.replace("2d", "2D")
        got, want = getattr(found, camel), attrs[f.name]
        assert list(got) == [2, 5] if f.form == "ints" else got == expected.get(want, want), f.name


def _op(kind, x, y, attrs):  # type: ignore[no-untyped-def]
    from tinykit.graph import Op

    return Op(kind, (x,), (y,), attrs)


def _table_names(kind: str) -> set[str]:
    shared = {
        **dict.fromkeys(("mean", "sum", "reduce_max", "reduce_min", "reduce_prod"), "reducer"),
        **dict.fromkeys(("max_pool_2d", "average_pool_2d"), "pool2d"),
        **dict.fromkeys(("maximum", "minimum"), "maximumminimum"),
    }
    return {shared.get(kind, kind.replace("_", ""))}


# -- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", MODELS)
def test_round_trip_keeps_everything(make) -> None:  # type: ignore[no-untyped-def]
    graph = make()
    assert difference(graph, read(write(graph), fold=False)) is None


@given(st.sampled_from(DTYPE_NAMES).flatmap(lambda dtype: graphs(dtype=dtype, max_ops=4)))
def test_round_trip_of_random_graphs(graph: Graph) -> None:
    again = read(write(graph), fold=False)
    live = read(write(again), fold=False)
    assert [o.kind for o in again.ops] == [o.kind for o in graph.ops]
    assert difference(again, live) is None
    sample = [np.zeros(graph.tensors[i].shape, graph.tensors[i].numpy_dtype) for i in graph.inputs]
    for a, b in zip(graph.run(*sample), read(write(graph)).run(*sample), strict=True):
        np.testing.assert_array_equal(a, b)


def test_difference_can_tell() -> None:
    """The comparison that the tests above rest on sees a change of each kind."""
    graph = small_cnn()
    assert difference(graph, small_cnn()) is None
    assert "weights_1" in str(difference(graph, small_cnn(seed=1)))
    zeroed = tuple(
        replace(t, data=np.zeros_like(t.data)) if t.name == "dense" else t for t in graph.tensors
    )
    assert "different data" in str(difference(graph, graph.replace(tensors=zeroed)))
    op = graph.ops[-1]
    other = graph.replace(
        ops=(*graph.ops[:-1], _op(op.kind, *op.inputs, *op.outputs, {"beta": 2.0}))
    )
    assert "beta" in str(difference(graph, other))
    assert difference(graph, shapes_and_slices()) is not None


@pytest.mark.parametrize("name", ["kws_ref_model", "pretrainedResnet_quant"])
def test_models_that_others_made_survive(name: str, shared_models: Path, tflm: TflmSession) -> None:
    data = (shared_models / f"{name}.tflite").read_bytes()
    graph = read(data)
    assert not graph.unsupported
    assert difference(graph, read(write(graph))) is None
    rng = np.random.default_rng(0)
    samples = [[rng.integers(-128, 128, graph.input.shape).astype(np.int8)] for _ in range(10)]
    theirs, ours = tflm.run(data, samples), tflm.run(write(graph), samples)
    np.testing.assert_array_equal(theirs.outputs, ours.outputs)


def test_file_layout() -> None:
    """What runtimes rely on beyond the schema: identifier, version, alignment, empty buffer 0."""
    data = write(small_cnn())
    assert data[4:8] == b"TFL3"
    model = schema.Model.GetRootAs(data, 0)
    assert model.Version() == 3
    assert model.Buffers(0).DataLength() == 0
    start = np.frombuffer(data, np.uint8).ctypes.data
    for i in range(1, model.BuffersLength()):
        vector = model.Buffers(i).DataAsNumpy()
        assert (vector.ctypes.data - start) % 16 == 0
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        assert code.DeprecatedBuiltinCode() == code.BuiltinCode()  # all below 127 here


def test_op_versions_are_accepted_by_litert() -> None:
    """LiteRT refuses an op version that its resolver does not have."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    for make in MODELS:
        graph = make()
        if graph.unsupported:
            continue
        kinds = OpResolverType.BUILTIN_REF
        Interpreter(model_content=write(graph), experimental_op_resolver_type=kinds)


def test_codes_beyond_a_byte_use_the_placeholder() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    data = write(b.finish([b.op("relu_0_to_1", [x], (1, 4), "float32")]))
    code = schema.Model.GetRootAs(data, 0).OperatorCodes(0)
    assert (code.DeprecatedBuiltinCode(), code.BuiltinCode()) == (127, 152)
    assert read(data).ops[0].kind == "relu_0_to_1"


def test_equal_constants_are_stored_once() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 64), "float32")
    for _ in range(2):
        x = b.op("add", [x, b.const(np.ones((1, 64), np.float32))], (1, 64), "float32")
    model = schema.Model.GetRootAs(write(b.finish([x])), 0)
    assert model.BuffersLength() == 2


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=9))
def test_int4_packs_two_to_a_byte_first_in_the_low_half(values: list[int]) -> None:
    packed = int4.pack(np.array(values, np.int8))
    assert packed.size == (len(values) + 1) // 2
    halves = [h for byte in packed.tolist() for h in (byte & 15, byte >> 4)]
    assert [h - 16 if h > 7 else h for h in halves][: len(values)] == values
    assert int4.unpack(packed)[: len(values)].tolist() == values


def test_save_and_load_by_suffix(tmp_path: Path) -> None:
    graph = small_cnn()
    graph.save(str(tmp_path / "m.tflite"))
    assert difference(graph, load(tmp_path / "m.tflite")) is None
    assert [p.name for p in tmp_path.iterdir()] == ["m.tflite"]


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "m.tflite"
    target.write_bytes(b"old")
    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    unknown = b.finish([b.op("rfft2d", [x], (1, 4), "float32")])
    with pytest.raises(UnsupportedOpError, match=r"writer does not support rfft2d \(op number 0\)"):
        write_file(unknown, target)
    assert target.read_bytes() == b"old"
    with pytest.raises(TinykitError, match="cannot write"):
        write_file(small_cnn(), tmp_path / "nowhere" / "m.tflite")


# -- what others put into files -----------------------------------------------------------------


def test_unknown_and_custom_ops_stay_with_their_position() -> None:
    graph = read(write(floats()))
    assert [(i, op.kind) for i, op in graph.unsupported] == [(1, "elu"), (2, "custom:Whiten")]
    assert graph.ops[2].attrs["custom_options"] == b"\x01\x02\x03"
    assert graph.macs == 48
    with pytest.raises(UnsupportedOpError, match=r"elu \(op number 1\)"):
        graph.run(np.zeros((2, 6), np.float32))


def test_open_batch_becomes_one() -> None:
    def change(model) -> None:  # type: ignore[no-untyped-def]
        for tensor in model.subgraphs[0].tensors:
            if tensor.buffer == 0:
                tensor.shapeSignature = [-1, *tensor.shape[1:]]
                tensor.shape = [-1, *tensor.shape[1:]]

    graph = small_cnn()
    assert difference(graph, read(edited(write(graph), change))) is None


def test_constant_scale_zero_acts_like_tflite_s(tflm: TflmSession) -> None:
    """A filter channel of scale 0 gives the output's zero point, whatever its bias."""

    def change(model) -> None:  # type: ignore[no-untyped-def]
        op = model.subgraphs[0].operators[0]
        quant = model.subgraphs[0].tensors[op.inputs[1]].quantization
        quant.scale = np.array(quant.scale, np.float32)
        quant.scale[1] = 0

    data = edited(write(small_cnn()), change)
    graph = read(data)
    weights = graph.tensors[graph.ops[0].inputs[1]]
    assert weights.quant.scale[1] == SMALLEST_SCALE
    x = np.random.default_rng(0).integers(-128, 128, graph.input.shape).astype(np.int8)
    np.testing.assert_array_equal(tflm.run(data, [x]).outputs[0], graph.run(x)[0])


def test_float16_constants_are_widened() -> None:
    """TensorFlow stores them behind a dequantize op; neither runs on a microcontroller."""
    b = GraphBuilder()
    x = b.input("x", (1, 3), "float32")
    values = np.float32([[1.5, -2.25, 0.1]])
    half = b.const(values.astype(np.float16).view(np.int16), name="half")
    wide = b.op("dequantize", [half], (1, 3), "float32")
    data = write(b.finish([b.op("add", [x, wide], (1, 3), "float32")]))

    def change(model) -> None:  # type: ignore[no-untyped-def]
        tensor = next(t for t in model.subgraphs[0].tensors if t.name == b"half")
        tensor.type = schema.TensorType.FLOAT16

    graph = read(edited(data, change))
    assert [op.kind for op in graph.ops] == ["add"]
    np.testing.assert_array_equal(
        graph.tensors[graph.ops[0].inputs[1]].data, values.astype(np.float16).astype(np.float32)
    )


def test_weights_behind_the_flatbuffer_are_found() -> None:
    """Models over 2 GB keep weights after it, by offset and size."""
    graph = small_cnn()
    data = write(graph)
    moved: list[bytes] = []

    def change(model) -> None:  # type: ignore[no-untyped-def]
        for number, buffer in enumerate(model.buffers[1:], 1):
            moved.append(bytes(buffer.data))
            buffer.data, buffer.size = None, len(moved[-1])
            buffer.offset = 1_000_000 + number

    head = edited(data, change)
    for number in range(1, len(moved) + 1):
        place = struct.pack("<Q", 1_000_000 + number)
        assert head.count(place) == 1
        head = head.replace(place, struct.pack("<Q", 16_000 + 4096 * number))
    whole = bytearray(16_000 + 4096 * (len(moved) + 1))
    whole[: len(head)] = head
    for number, raw in enumerate(moved, 1):
        whole[16_000 + 4096 * number :][: len(raw)] = raw
        start = 16_000 + 4096 * number
        whole[start : start + len(raw)] = raw
    assert difference(graph, read(bytes(whole))) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "version", 2), r"schema version 2; only version 3"),
        (lambda m: setattr(m, "subgraphs", []), r"the model has no subgraph"),
        (lambda m: setattr(m.subgraphs[0], "outputs", []), r"subgraph 0: it has no outputs"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [99, 1, 2]),
         r"op 0 \(conv_2d\): its inputs name tensor 99; there are 14"),
        (lambda m: setattr(m.subgraphs[0].operators[1], "opcodeIndex", 40),
         r"op 1: operator code 40; there are 7"),
        (lambda m: setattr(m.subgraphs[0].tensors[1], "shape", [4, 3, 3, 3]),
         r"tensor 1 \('weights_1'\): buffer 1 holds 72 bytes, its shape \(4, 3, 3, 3\) of int8 "
         r"needs 108"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "isVariable", True),
         r"tensor 0 \('image'\): it is a variable"),
        (lambda m: setattr(m.subgraphs[0].tensors[1], "sparsity", schema.SparsityParametersT()),
         r"tensor 1 \('weights_1'\): its values are stored sparsely"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "type", schema.TensorType.COMPLEX64),
         r"tensor 0 \('image'\): type complex64 is not supported"),
        (lambda m: setattr(m.subgraphs[0].tensors[0].quantization, "scale", [float("nan")]),
         r"tensor 0 \('image'\): quantization scales must be finite and positive"),
        (lambda m: setattr(m.subgraphs[0].tensors[0].quantization, "zeroPoint", [300]),
         r"tensor 0 \('image'\), quantization: a zero point lies outside int8"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1, 1 << 15, 1 << 15, 2]),
         r"the activations take \d+ bytes together, more than 1 GiB|should have shapes"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1] * 9), r"9 dimensions"),
        (lambda m: m.subgraphs[0].operators.reverse(), r"before anything makes it"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(change, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelFormatError, match=message):
        read(edited(write(small_cnn()), change))


def test_control_flow_is_refused_by_name() -> None:
    def change(model) -> None:  # type: ignore[no-untyped-def]
        model.subgraphs.append(model.subgraphs[0])
        model.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE
        model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.WHILE

    with pytest.raises(ModelFormatError, match=r"op 0 \(while\): it runs another subgraph"):
        read(edited(write(small_cnn()), change))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x00" * 7, b"PK\x03\x04" * 99])
def test_not_a_model(data: bytes) -> None:
    with pytest.raises(ModelFormatError, match="not a TFLite model"):
        read(data)


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(write(small_cnn())[:500])
    with pytest.raises(ModelFormatError, match=r"^broken\.tflite: "):
        read_file(path)
    with pytest.raises(ModelFormatError, match=r"cannot be read"):
        read_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none.tflite")


def test_zero_scale_of_an_activation_is_refused() -> None:
    def change(model) -> None:  # type: ignore[no-untyped-def]
        model.subgraphs[0].tensors[0].quantization.scale = [0.0]

    with pytest.raises(ModelFormatError, match=r"tensor 0 \('image'\): .*positive"):
        read(edited(write(small_cnn()), change))


def test_zero_points_left_out_are_zero() -> None:
    def change(model) -> None:  # type: ignore[no-untyped-def]
        model.subgraphs[0].tensors[1].quantization.zeroPoint = None

    assert difference(small_cnn(), read(edited(write(small_cnn()), change))) is None


def test_old_uint8_models_are_read_but_not_run() -> None:
    """No backend here computes in uint8; what such a model costs can still be told."""

    def change(model) -> None:  # type: ignore[no-untyped-def]
        for tensor in model.subgraphs[0].tensors:
            if tensor.type == schema.TensorType.INT8:
                tensor.type = schema.TensorType.UINT8
                zero = tensor.quantization.zeroPoint
                tensor.quantization.zeroPoint = [int(z) + 128 for z in zero]

    graph = read(edited(write(small_cnn()), change))
    assert graph.macs == small_cnn().macs
    with pytest.raises(UnsupportedOpError, match=r"conv_2d \(op number 0\): uint8"):
        graph.run(np.zeros(graph.input.shape, np.uint8))


def test_unused_tensors_do_not_matter() -> None:
    """A dead tensor of a type that nobody here knows is no reason to refuse a model."""

    def change(model) -> None:  # type: ignore[no-untyped-def]
        dead = schema.TensorT()
        dead.name, dead.type, dead.shape, dead.buffer = "dead", schema.TensorType.STRING, [3], 0
        model.subgraphs[0].tensors.append(dead)

    assert difference(small_cnn(), read(edited(write(small_cnn()), change))) is None


def test_quantization_of_one_channel_along_an_axis() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 3, 3, 1), "int8", Quantization.per_tensor(0.1))
    quant = Quantization(np.float32([0.5]), np.int64([0]), 3)
    w = b.const(np.ones((1, 1, 1, 1), np.int8), quant)
    y = b.op("depthwise_conv_2d", [x, w, None], (1, 3, 3, 1), "int8", Quantization.per_tensor(1.0),
             depth_multiplier=1, padding="same")  # fmt: skip
    assert read(write(b.finish([y]))).tensors[1].quant.axis == 3
