"""The `tinykit` command as a user meets it: output, exit status, one line for each mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.browser.driver import unused_port
from tests.targets.small import small_int8, with_unknown_op
from tinykit import cli


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.tflite"
    small_int8().save(str(path))
    return path


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinykit.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, **options)


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == cli.MISTAKE, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tinykit: ")
    for part in parts:
        assert part in lines[0]


def test_profile_as_json(model: Path) -> None:
    done = run("profile", model, "--target", "stm32f446", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["model"] == "small"
    assert data["target"] == "stm32f446"
    assert data["provenance"]["instructions"] == "counted"
    assert len(data["layers"]) == len(small_int8().ops)


def test_profile_as_a_table(model: Path) -> None:
    done = run("profile", model, "--target", "samd21")
    assert done.returncode == 0, done.stderr
    assert "modelled" in done.stdout
    assert "Arduino Zero" in done.stdout


def test_profile_of_a_model_with_an_unknown_op(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = with_unknown_op(small_int8(), 1)
    monkeypatch.setattr("tinykit.targets.source.as_graph", lambda _: graph)
    assert cli.main(["profile", "any.tflite", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["complete"] is False
    assert data["layers"][1]["instructions"] is None
    assert "frobnicate" in data["layers"][1]["note"]
    assert data["layers"][0]["instructions"] > 0


def test_verify_as_json(model: Path) -> None:
    done = run("verify", model, "--samples", 5, "--json", "--quick")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    promised = {"reference_mismatches": 0, "host_mismatches": 0, "emulator_mismatches": 0}
    assert data.items() >= {"samples": 5, **promised}.items()


def test_verify_ends_with_1_when_something_differs(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tinykit.engine import HostLibrary

    class Wrong(HostLibrary):
        def run(self, *inputs: Any) -> list[Any]:
            return [out ^ 1 for out in super().run(*inputs)]

    monkeypatch.setattr("tinykit.engine.HostLibrary", Wrong)
    assert cli.main(["verify", str(model), "--samples", "3", "--json", "--quick"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["host_mismatches"] == 3 * 4
    assert data["reference_mismatches"] == data["emulator_mismatches"] == 0


def test_boards_and_one_board_with_its_sources() -> None:
    listed = run("boards")
    assert listed.returncode == 0
    assert "NUCLEO-F446RE" in listed.stdout
    data = json.loads(run("boards", "--json").stdout)
    assert len(data) >= 12
    assert all(row["sources"]["flash_bytes"] for row in data)
    row = json.loads(run("boards", "stm32f746", "--json").stdout)
    assert row == next(r for r in data if r["name"] == "stm32f746")
    one = run("boards", "stm32f746").stdout
    assert "not looked up again" in one
    assert "Zephyr" in one


def test_info(model: Path) -> None:
    text = run("info", model).stdout
    assert "depthwise_conv_2d" in text
    assert "int8 [1, 6, 6, 1]" in text
    assert "numpy" in run("info").stdout


def test_compile_writes_c_that_compiles(model: Path, tmp_path: Path) -> None:
    done = run("compile", model, "--out", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    assert "small for stm32f446, cortex-m4" in done.stdout
    assert "computed whole" in done.stdout
    assert {"README.md", "CMakeLists.txt", "main.c"} < {p.name for p in (tmp_path / "c").iterdir()}
    sources = sorted((tmp_path / "c").glob("*.c"))
    assert sources
    zig = [sys.executable, "-m", "ziglang", "cc", "-std=c99", "-c", "-I", str(tmp_path / "c")]
    for source in sources:
        subprocess.run([*zig, str(source), "-o", str(source) + ".o"], check=True, timeout=240)


def test_compile_within_a_limit(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(root / "datasets" / "models" / "wake_words.tflite")
    words = ["compile", model, "--target", "cortex-m4", "-o", str(tmp_path / "c")]
    assert cli.main([*words, "--sram-limit", "40K", "--prefix", "wake"]) == 0
    told = capsys.readouterr().out
    assert "limit 40,960" in told
    assert "strips" in told
    assert "MACs (counted)" in told
    assert (tmp_path / "c" / "wake.c").is_file()


def test_compile_says_what_is_wrong(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    words = ["compile", model, "-o", out]
    tight = run(*words, "--sram-limit", "64")
    assert_one_line(tight, "small does not fit", "needs most", "smallest arena that works is")
    assert_one_line(run(*words, "--sram-limit", "lots"), "'lots' is no size", "32K")
    assert_one_line(run(*words, "--target", "stm32f4461"), "closest: stm32f446", "cortex-m4")
    assert_one_line(run("compile", "absent.tflite", "-o", out), "absent.tflite: No such file")
    assert not out.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    full = ["compile", model, "-o", tmp_path / "full"]
    assert_one_line(run(*full), "full is not empty", "--force")
    assert run(*full, "--force").returncode == 0
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_compile_goes_by_a_table(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "m4.json"
    assert run("tune", model, "--out", table).returncode == 0
    words = ["compile", model, "--target", "cortex-m4", "-o", tmp_path / "c", "--force"]
    assert run(*words, "--schedules", table).returncode == 0
    assert_one_line(run(*words, "--schedules", tmp_path / "absent"), "No such file")
    (tmp_path / "other.json").write_text("{}")
    assert_one_line(run(*words, "--schedules", tmp_path / "other.json"), "no table of schedules")
    words[3] = "cortex-m0plus"
    assert_one_line(run(*words, "--schedules", table), "for cortex-m4, not cortex-m0plus")


def test_compile_names_missing_ops_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = with_unknown_op(small_int8(), 1)
    monkeypatch.setattr("tinykit.targets.compiled.as_graph", lambda _: graph)
    assert cli.main(["compile", "any.tflite", "-o", str(tmp_path / "c")]) == cli.MISTAKE
    assert "frobnicate (op number 1)" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_tune_shows_and_writes_the_best_schedules(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "new" / "cortex-m4.json"
    done = run("tune", model, "--objective", "cycles", "--budget", 2, "--out", table)
    assert done.returncode == 0, done.stderr
    assert "cycles (modelled)" in done.stdout
    rows = json.loads(table.read_text())
    assert rows["made_with"]["objective"] == "cycles"
    done = run("tune", model, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {layer["key"] for layer in found["layers"]} == set(rows["schedules"])
    assert all(len(layer["trials"]) >= layer["offered"] > 0 for layer in found["layers"])
    done = run("tune", model, "--objective", "cycles", "--board", "stm32l4r5", "--json")
    slow = {layer["key"]: layer["cycles"] for layer in json.loads(done.stdout)["layers"]}
    assert all(slow[layer["key"]] > layer["cycles"] for layer in found["layers"])
    assert_one_line(run("tune", model, "--board", "stm32l4"), "stm32l4r5")
    assert_one_line(run("tune", model, "--core", "m0+", "--objective", "cycles"), "cortex-m4 only")
    # nothing that is there is lost to --out
    before = table.read_text()
    other = run("tune", model, "--core", "cortex-m7", "--budget", 1, "--out", table)
    assert_one_line(other, "schedules for cortex-m4, not cortex-m7")
    assert table.read_text() == before
    note = tmp_path / "note.json"
    note.write_text('{"mine": 1}')
    assert_one_line(run("tune", model, "--out", note), "is no table of schedules")
    assert note.read_text() == '{"mine": 1}'
    assert_one_line(run("tune", model, "--out", tmp_path), "is a folder")


def test_mistakes_get_one_line(model: Path, tmp_path: Path) -> None:
    assert_one_line(run("profile", model, "--target", "stm32f4461"), "stm32f446", "closest")
    assert_one_line(run("profile", "absent.tflite"), "absent.tflite: No such file")
    assert_one_line(run("profile", tmp_path), str(tmp_path.name), "is a folder")
    assert_one_line(run("boards", "zzzz"), "there are: ")
    assert_one_line(run("compile", model, "--out", model), "is a file; a folder is needed")
    nowhere = {**os.environ, "TINYKIT_CACHE": str(model)}
    assert_one_line(run("profile", model, env=nowhere), "TINYKIT_CACHE", "cannot be used")
    assert_one_line(run("verify", model, "--samples", 0), "at least one")
    assert_one_line(run("verify", model, "--seed", -1), "seed")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(model.read_bytes()[:200])
    assert_one_line(run("verify", broken))
    assert_one_line(run("info", broken))
    (tmp_path / "empty.tflite").write_bytes(b"")
    assert_one_line(run("profile", tmp_path / "empty.tflite"), "the file is empty")
    assert_one_line(run("demo", "--dataset", "nonesuch", "--out", tmp_path), "digits")
    assert_one_line(run("lab", tmp_path / "no-such-folder"), "lessons")


def test_lab_opens_on_the_first_lesson(root: Path, tmp_path: Path) -> None:
    """Started as whoever runs this test is, root in a container included."""
    port = unused_port()
    command = [sys.executable, "-m", "tinykit.cli", "lab", "notebooks", "--no-browser"]
    with open(tmp_path / "log", "w+") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], cwd=root, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            found, until = "", time.monotonic() + 90
            while "/lab/tree/notebooks/01_" not in found:
                assert process.poll() is None, found
                assert time.monotonic() < until, found
                time.sleep(0.2)
                found = (tmp_path / "log").read_text()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab", timeout=60) as answer:
                assert answer.status == 200
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("package", ["unicorn", "flatbuffers"])
def test_a_package_that_does_not_load_is_named(package: str, model: Path, tmp_path: Path) -> None:
    """A name in `sys.modules` that is None is how Python itself blocks an import."""
    script = (
        f"import sys; sys.modules[{package!r}] = None; from tinykit import cli\n"
        f"sys.exit(cli.main(['profile', {str(model)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert_one_line(done, package, "pip install")


def test_usage_errors() -> None:
    assert run("frobnicate").returncode == 2
    assert "usage" in run().stdout


def test_debug_shows_the_traceback() -> None:
    done = run("--debug", "profile", "absent.tflite")
    assert "Traceback" in done.stderr
    assert "Traceback" in run("profile", "absent.tflite", "--debug").stderr


def test_a_bug_is_called_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def boom(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("tinykit.targets.profile", boom)
    assert cli.main(["profile", "x.tflite"]) == cli.BUG
    said = capsys.readouterr().err
    assert "a bug in tinykit: KeyError" in said
    assert "--debug" in said


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m tinykit.cli boards --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, cli.PIPE_CLOSED)  # 0: all was written before the pipe closed
    assert done.stderr == ""


def test_closed_pipe_for_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys; from tinykit import cli\n"
        "def run(args):\n    print('x' * 10); raise BrokenPipeError\n"
        "cli.cmd_boards = run\nsys.exit(cli.main(['boards']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (cli.PIPE_CLOSED, "")


def test_control_c_says_so_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import sys, time; from tinykit import cli\n"
        "def run(args):\n    print('ready', flush=True); time.sleep(60)\n"
        "cli.cmd_boards = run\nsys.exit(cli.main(['boards']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (cli.INTERRUPTED, "tinykit: interrupted\n")


def test_demo_serves_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[str] = []
    monkeypatch.setattr("tinykit.demo.run_demo", lambda **_: None)
    monkeypatch.setattr("tinykit.explore.app.serve", lambda *_, **__: served.append("x"))
    monkeypatch.setattr(cli, "_on_terminal", lambda: True)
    monkeypatch.delenv("CI", raising=False)
    out = ["demo", "--out", os.fspath(tmp_path)]
    assert cli.main([*out, "--no-serve"]) == 0
    monkeypatch.setenv("CI", "true")
    assert cli.main(out) == 0
    assert served == []
    monkeypatch.delenv("CI")
    assert cli.main(out) == 0
    assert served == ["x"]
    monkeypatch.setattr(cli, "_on_terminal", lambda: False)
    assert cli.main(out) == 0
    assert served == ["x"]
