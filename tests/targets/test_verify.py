"""Verification: agreement where there is, and every kind of disagreement noticed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinykit as tk
from tests.targets.small import small_float, small_int8, with_unknown_op
from tinykit.engine import HostLibrary
from tinykit.graph import Graph, GraphBuilder, Quantization
from tinykit.graph.errors import MissingToolError, UnsupportedOpError
from tinykit.targets.checks import ATOL, RTOL, Check, compare
from tinykit.targets.stimuli import boundaries, stimuli
from tinykit.targets.tflm import TflmError
from tinykit.targets.verify import verify


def test_every_backend_agrees_with_tflite_micro() -> None:
    report = verify(small_int8(), samples=12)
    data = report.to_dict()
    assert report.ok, str(report)
    assert report.oracle == "TFLite Micro"
    assert data["samples"] == 12
    for name in ("reference", "host", "emulator"):
        assert data[f"{name}_mismatches"] == 0
        assert report[name].elements == 12 * 4
    json.dumps(data)
    assert str(report).splitlines()[-1] == "verified against TFLite Micro"


def test_floats_agree_within_the_stated_tolerance() -> None:
    report = verify(small_float(), samples=8, extras=False)
    assert report.ok, str(report)
    assert f"{RTOL:g}" in report.tolerance


def _tampered(graph: Graph) -> Graph:
    """`graph` with one weight's sign flipped."""
    tensors = list(graph.tensors)
    at = graph.ops[2].inputs[1]
    assert at is not None
    data = tensors[at].data.copy()
    data.flat[data.size // 2] *= -1
    tensors[at] = type(tensors[at])(
        tensors[at].name, tensors[at].shape, tensors[at].dtype, tensors[at].quant, data
    )
    return graph.replace(tensors=tuple(tensors))


def test_one_wrong_weight_is_noticed_and_placed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host library of a slightly different graph: the check that must fail does."""
    graph = small_int8()
    wrong = _tampered(graph)

    class Tampered(HostLibrary):
        def __init__(self, _: Graph) -> None:
            super().__init__(wrong)

    monkeypatch.setattr("tinykit.engine.HostLibrary", Tampered)
    report = verify(graph, samples=40, extras=False)
    assert not report.ok
    assert report["host"].mismatches > 0
    assert report["reference"].mismatches == report["emulator"].mismatches == 0
    first = report["host"].first
    inputs = [values for _, values in stimuli(graph, 40)]
    want, got = graph.run(*inputs[first.sample])[0], wrong.run(*inputs[first.sample])[0]
    assert (want[first.index], got[first.index]) == (first.expected, first.got)
    for earlier in inputs[: first.sample]:
        assert np.array_equal(graph.run(*earlier)[0], wrong.run(*earlier)[0])
    assert f"sample {first.sample}" in str(report)
    assert str(report).splitlines()[-1] == "NOT verified against TFLite Micro"


def test_a_file_is_checked_against_its_own_bytes(tmp_path: Path) -> None:
    """TFLite Micro gets the file, not what our writer makes of it."""
    path = tmp_path / "model.tflite"
    small_int8().save(str(path))
    assert verify(path, samples=7, extras=False).ok
    seen: list[bytes] = []

    def spy(blob: bytes, inputs: Sequence[Any]) -> Any:
        seen.append(blob)
        return real(blob, inputs)

    from tinykit.targets import tflm

    real = tflm.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflm, "run", spy)
        verify(path, samples=2, extras=False)
    assert seen == [path.read_bytes()]


def test_a_backend_that_cannot_run_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def __init__(self, _: Graph) -> None:
            raise tk.TinykitError("the compiler zig is missing: pip install ziglang")

    monkeypatch.setattr("tinykit.engine.HostLibrary", Missing)
    report = verify(small_int8(), samples=3, extras=False)
    assert report["host"].mismatches is None
    assert not report.ok
    assert "pip install ziglang" in str(report)


def test_without_tflite_micro_the_reference_is_the_oracle_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinykit.targets import tflm

    monkeypatch.setattr(tflm, "run", lambda *_: absent("TFLite Micro"))
    report = verify(small_int8(), samples=3, extras=False)
    assert "reference interpreter" in report.oracle
    assert report.to_dict()["reference_mismatches"] is None
    assert report["host"].mismatches == 0
    assert report.ok
    assert "verified against the reference interpreter" in str(report)


def test_an_op_outside_the_opset_is_named_with_its_position() -> None:
    with pytest.raises(UnsupportedOpError, match=r"frobnicate \(op number 1\)"):
        verify(with_unknown_op(small_int8(), 1), samples=2)


def test_a_model_that_tflite_micro_refuses_is_an_error() -> None:
    b = GraphBuilder("refused")
    x = b.input("x", (1, 4), "int8", Quantization.per_tensor(0.1))
    y = b.op("relu_n1_to_1", [x], (1, 4), "int8", Quantization.per_tensor(0.1))
    with pytest.raises(TflmError):
        verify(b.finish([y]), samples=2)


def test_a_model_too_big_for_qemu_can_still_be_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinykit.targets.verify.shutil.which", lambda _: "/usr/bin/true")
    monkeypatch.setattr("tinykit.engine.qemu.find_qemu", lambda: "/usr/bin/true")
    monkeypatch.setattr("tinykit.engine.qemu.MEMORY", 1 << 18)
    monkeypatch.setattr("tinykit.engine.build.find_gcc", lambda: absent("arm-none-eabi-gcc"))
    report = verify(small_int8(), samples=2)
    assert report["qemu"].mismatches is None
    assert "does not fit QEMU" in report["qemu"].why_not
    assert report.ok, str(report)


def absent(what: str) -> str:
    raise MissingToolError(f"{what} is missing")


def test_at_least_one_sample() -> None:
    with pytest.raises(tk.TinykitError, match="at least one"):
        verify(small_int8(), samples=0)
    with pytest.raises(tk.TinykitError, match="seed"):
        verify(small_int8(), samples=1, seed=-1)


def test_compare_counts_elements_and_remembers_the_first() -> None:
    graph = small_int8()
    check = Check("x", "x")
    want = np.int8([[1, 2, 3, 4]])
    compare(check, graph, 0, "a", [want], [want.copy()])
    assert (check.mismatches, check.elements, check.first) == (0, 4, None)
    compare(check, graph, 1, "b", [want], [np.int8([[1, -128, 3, 5]])])
    assert (check.mismatches, check.elements, check.max_difference) == (2, 8, 130)
    assert (check.first.sample, check.first.index, check.first.got) == (1, (0, 1), -128)


@pytest.mark.parametrize(
    ("want", "got", "wrong"),
    [
        (1.0, 1.0 + RTOL / 2, 0),
        (1.0, 1.0 + 3 * RTOL, 1),
        (0.0, ATOL / 2, 0),
        (np.nan, np.nan, 0),
        (1.0, np.nan, 1),
        (np.inf, np.inf, 0),
        (np.inf, 1.0, 1),
    ],
)
def test_float_tolerance(want: float, got: float, wrong: int) -> None:
    graph = small_float()
    check = Check("x", "x")
    compare(check, graph, 0, "a", [np.float32([want])], [np.float32([got])])
    assert check.mismatches == wrong


def test_compare_refuses_another_shape() -> None:
    with pytest.raises(tk.TinykitError, match="int16"):
        compare(Check("x", "x"), small_int8(), 0, "a", [np.int8([1])], [np.int16([1])])


def test_stimuli_are_boundaries_then_random_and_repeatable() -> None:
    graph = small_int8()
    first = list(stimuli(graph, 20, seed=1))
    again = list(stimuli(graph, 20, seed=1))
    other = list(stimuli(graph, 20, seed=2))
    edges = boundaries(graph.input)
    assert [name for name, _ in first[: len(edges)]] == list(edges)
    assert all(np.array_equal(a[1][0], b[1][0]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1][1][0], other[-1][1][0])
    assert all(v[0].dtype == np.int8 and v[0].shape == (1, 6, 6, 1) for _, v in first)
    assert (edges["all minimum"] == -128).all()
    assert (edges["all maximum"] == 127).all()
    assert (edges["all zero point"] == -128).all()
    assert set(np.unique(edges["alternating minimum, maximum"])) == {-128, 127}


def test_progress_counts_up_to_its_total() -> None:
    seen: list[tuple[int, int]] = []
    verify(
        small_int8(), 5, progress=lambda done, total, _: seen.append((done, total)), extras=False
    )
    assert seen[-1][0] == seen[-1][1] == 5 * 4
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)


def test_information_never_fails_verification() -> None:
    check = Check("litert", "LiteRT", required=False, mismatches=3)
    assert check.ok
    assert not Check("host", "C", mismatches=3).ok
    assert not Check("host", "C").ok


@pytest.mark.parametrize("file", ["kws_ref_model.tflite", "pretrainedResnet_quant.tflite"])
def test_models_that_others_made(shared_models: Path, file: str) -> None:
    report = verify(shared_models / file, samples=9, extras=False)
    assert report.ok, str(report)
