"""TFLite Micro in its child process: outputs, arena, and what happens when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tinykit.formats import tflite
from tinykit.graph.builder import GraphBuilder
from tinykit.graph.errors import MissingToolError
from tinykit.graph.ir import Quantization
from tinykit.targets import _child, litert, tflm

Q = Quantization.per_tensor


def adder(shape: tuple[int, ...] = (1, 4)) -> bytes:
    """x + y in float32."""
    b = GraphBuilder("adder")
    x, y = b.input("x", shape, "float32"), b.input("y", shape, "float32")
    return tflite.write(b.finish([b.op("add", [x, y], shape, "float32")]))


def aborting() -> tuple[bytes, np.ndarray]:
    """A softmax whose probabilities all lie below 1/512: TFLite Micro's own check aborts on it."""
    b = GraphBuilder("aborts")
    x = b.input("x", (1, 1000), "int8", Q(1e-3))
    y = b.op("softmax", [x], (1, 1000), "int8", Q(1 / 256, -128))
    return tflite.write(b.finish([y])), np.zeros((1, 1000), np.int8)


ONE, TWO = np.float32([[1, 2, 3, 4]]), np.float32([[10, 20, 30, 40]])


def test_one_sample() -> None:
    run = tflm.run(adder(), [ONE, TWO])
    np.testing.assert_array_equal(run.outputs[0], ONE + TWO)
    assert run.arena_bytes == run.head_bytes + run.tail_bytes
    assert run.head_bytes >= 3 * 16


def test_samples_share_an_interpreter_and_do_not_disturb_each_other() -> None:
    samples = [[ONE, TWO], [TWO, TWO], [ONE, TWO]]
    outputs = tflm.run(adder(), samples).outputs
    assert [o[0].tolist() for o in outputs] == [(a + b).tolist() for a, b in samples]


def test_models_of_others_give_the_same_twice(shared_models: Path) -> None:
    for path in sorted(shared_models.glob("*.tflite")):
        model = path.read_bytes()
        source = tflite.read(model).input
        rng = np.random.default_rng(0)
        samples = [[rng.integers(-128, 128, source.shape).astype(np.int8)] for _ in range(5)]
        once, twice = tflm.run(model, samples), tflm.run(model, samples + samples)
        for a, b, c in zip(once.outputs, twice.outputs[:5], twice.outputs[5:], strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[0], c[0])


def test_scalar_inputs() -> None:
    b = GraphBuilder("scalar")
    x, y = b.input("x", (1, 3), "float32"), b.input("y", (), "float32")
    model = tflite.write(b.finish([b.op("mul", [x, y], (1, 3), "float32")]))
    run = tflm.run(model, [np.float32([[1, 2, 3]]), np.array(2, np.float32)])
    np.testing.assert_array_equal(run.outputs[0], [[2, 4, 6]])


def test_smallest_arena_is_the_smallest(shared_models: Path) -> None:
    model = (shared_models / "kws_ref_model.tflite").read_bytes()
    x = [np.zeros((1, 49, 10, 1), np.int8)]
    smallest = tflm.session().smallest_arena(model, x)
    assert smallest >= tflm.run(model, x).arena_bytes
    tflm.run(model, x, smallest)
    with pytest.raises(tflm.TflmError):
        tflm.run(model, x, smallest - 16)


def test_an_arena_that_is_too_small_is_told_in_its_own_words() -> None:
    with pytest.raises(tflm.TflmError, match="failed to allocate") as caught:
        tflm.run(adder(), [ONE, TWO], arena_bytes=512)
    assert "missing" in caught.value.said.lower() or "Failed" in caught.value.said


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([ONE], "sample 0 has 1 arrays, the model 2 inputs"),
        ([ONE, TWO.astype(np.int8)], "input 1 takes float32 .* got int8"),
        ([ONE, TWO[:, :2]], r"input 1 takes float32 \(1, 4\), got float32 \(1, 2\)"),
    ],
)
def test_wrong_inputs(inputs: list[np.ndarray], says: str) -> None:
    with pytest.raises(tflm.TflmError, match=says):
        tflm.run(adder(), inputs)


def test_an_op_that_it_lacks_is_named() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    model = tflite.write(b.finish([b.op("relu_n1_to_1", [x], (1, 4), "float32")]))
    with pytest.raises(tflm.TflmError, match="RELU_N1_TO_1"):
        tflm.run(model, [ONE])


def test_an_abort_is_told_and_survived() -> None:
    model, x = aborting()
    with tflm.TflmSession() as session:
        for _ in range(2):
            with pytest.raises(tflm.TflmError, match="SIGABRT"):
                session.run(model, [x])
            np.testing.assert_array_equal(session.run(adder(), [ONE, TWO]).outputs[0], ONE + TWO)


def test_garbage_is_an_error() -> None:
    for data in (b"", b"TFL3", adder()[:200], bytes(1000)):
        with pytest.raises(tflm.TflmError):
            tflm.run(data, [ONE])


@pytest.mark.parametrize("padding", [0, 1 << 22], ids=["small", "beyond the pipe"])
def test_a_hang_is_ended(padding: int) -> None:
    model = adder() + bytes(padding)
    with tflm.TflmSession() as session:
        session.run(adder(), [ONE, TWO])
        process = session._child._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        # Only now: on a busy machine the child may take longer than this to start.
        patience, session._child.timeout = session._child.timeout, 1.0
        start = time.monotonic()
        with pytest.raises(tflm.TflmError, match="did not answer within 1 s"):
            session.run(model, [ONE, TWO])
        assert time.monotonic() - start < 5
        session._child.timeout = patience
        assert process.poll() is not None
        np.testing.assert_array_equal(session.run(adder(), [ONE, TWO]).outputs[0], ONE + TWO)


def test_closing_leaves_no_process() -> None:
    session = tflm.TflmSession()
    session.run(adder(), [ONE, TWO])
    process = session._child._process
    assert process is not None
    session.close()
    assert process.returncode == 0
    session.close()
    session.run(adder(), [ONE, TWO])
    process = session._child._process
    del session
    assert process is not None
    assert process.returncode == 0


def test_threads_share_a_session() -> None:
    results: list[bool] = []

    def work(k: int) -> None:
        for _ in range(5):
            made = tflm.run(adder(), [ONE * k, TWO]).outputs[0]
            results.append(bool(np.array_equal(made, ONE * k + TWO)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 20


def test_a_fork_starts_its_own_child() -> None:
    """In a process of its own: forking a test runner that has threads would warn."""
    code = """
import os, sys
import numpy as np
sys.path.insert(0, os.getcwd())
from tests.targets.test_tflm import ONE, TWO, adder
from tinykit.targets import tflm
tflm.run(adder(), [ONE, TWO])
pid = os.fork()
good = np.array_equal(tflm.run(adder(), [ONE, TWO]).outputs[0], ONE + TWO)
if pid == 0:
    tflm.session().close()
    os._exit(0 if good else 1)
_, status = os.waitpid(pid, 0)
good = good and np.array_equal(tflm.run(adder(), [ONE, TWO]).outputs[0], ONE + TWO)
sys.exit(0 if good and status == 0 else 1)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


@pytest.mark.parametrize("worker", ["_tflm_worker", "_litert_worker"])
def test_workers_are_light(worker: str) -> None:
    code = f"import sys, tinykit.targets.{worker}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tflite_micro.py").write_text("raise ImportError('not for this machine')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        tflm.TflmSession() as session,
        pytest.raises(MissingToolError, match="pip install tflite-micro"),
    ):
        session.run(adder(), [ONE, TWO])


def test_the_log_does_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_child, "_LOG_LIMIT", 2000)
    with tflm.TflmSession() as session:
        for _ in range(10):
            run = session.run(adder(), [ONE, TWO])
            assert run.arena_bytes > 0
        log = session._child._log
        assert log is not None
        assert os.fstat(log.fileno()).st_size < 5000


# -- LiteRT, which lives in the same kind of child ------------------------------------------------


@pytest.mark.parametrize("resolver", litert.RESOLVERS)
def test_litert(resolver: str) -> None:
    run = litert.run(adder(), [[ONE, TWO], [TWO, TWO]], resolver)
    np.testing.assert_array_equal(run.outputs[0][0], ONE + TWO)
    np.testing.assert_array_equal(run.outputs[1][0], TWO + TWO)
    assert run.package in ("ai_edge_litert", "tflite_runtime", "tensorflow")


def test_litert_says_what_is_wrong() -> None:
    with pytest.raises(litert.LitertError, match="2 inputs"):
        litert.run(adder(), [ONE])
    with pytest.raises(litert.LitertError):
        litert.run(b"nothing", [ONE])
    with pytest.raises(ValueError, match="builtin_ref"):
        litert.run(adder(), [ONE, TWO], "fastest")


def test_litert_falls_back_to_a_predecessor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A package that imports and then cannot be constructed does not count (numpy 2 does that)."""
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("")
    (tmp_path / "ai_edge_litert" / "interpreter.py").write_text(
        "class OpResolverType: AUTO = 0\n"
        "def Interpreter(**_): raise SystemError('built for another numpy')\n"
    )
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").write_text("")
    (tmp_path / "tflite_runtime" / "interpreter.py").write_text(
        "import numpy as np\n"
        "class OpResolverType: AUTO = 0\n"
        "class Interpreter:\n"
        "    def __init__(self, **_): self.sum = 0\n"
        "    def allocate_tensors(self): pass\n"
        "    def get_input_details(self): return [{'index': 0}, {'index': 1}]\n"
        "    def get_output_details(self): return [{'index': 2}]\n"
        "    def set_tensor(self, index, value): self.sum = self.sum + value\n"
        "    def invoke(self): pass\n"
        "    def get_tensor(self, index): return self.sum\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with litert.LitertSession() as session:
        run = session.run(adder(), [ONE, TWO])
    assert run.package == "tflite_runtime"
    np.testing.assert_array_equal(run.outputs[0], ONE + TWO)
