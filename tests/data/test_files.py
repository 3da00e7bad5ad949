"""Finding, downloading, verifying; the network is a server on this machine."""

import gzip
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tinykit as tk
from tinykit.data import DataError, files
from tinykit.data.files import RemoteFile
from tinykit.data.sets import fashion_mnist
from tinykit.graph import MissingToolError

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
PACKED = gzip.compress(CONTENT, mtime=0)


class Server(http.server.BaseHTTPRequestHandler):
    answer = PACKED
    stall_after: int | None = None
    hits = 0

    def do_GET(self) -> None:
        type(self).hits += 1
        self.send_response(200)
        self.end_headers()
        if self.stall_after is None:
            self.wfile.write(self.answer)
        else:
            self.wfile.write(self.answer[: self.stall_after])
            self.wfile.flush()
            time.sleep(20)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteFile]:
    monkeypatch.setenv("TINYKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYKIT_DATA", raising=False)
    monkeypatch.setattr(Server, "answer", PACKED)
    monkeypatch.setattr(Server, "stall_after", None)
    monkeypatch.setattr(Server, "hits", 0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield RemoteFile(
        "things",
        f"http://127.0.0.1:{server.server_port}/things.gz",
        len(PACKED),
        len(CONTENT),
        hashlib.sha256(CONTENT).hexdigest(),
    )
    server.shutdown()
    server.server_close()
    thread.join()


def cached(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_downloads_once(remote: RemoteFile, tmp_path: Path) -> None:
    assert files.content(remote, "set") == CONTENT
    assert cached(tmp_path) == ["things.gz"]
    assert files.content(remote, "set") == CONTENT
    assert Server.hits == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (PACKED[:5000], "sent 5000 of"),
        (PACKED + b"more", "sent more than"),
        (gzip.compress(CONTENT[::-1], mtime=0), "sent|SHA-256"),
        (bytes(len(PACKED)), "damaged"),
    ],
)
def test_a_wrong_download_is_refused_and_leaves_nothing(
    remote: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str
) -> None:
    monkeypatch.setattr(Server, "answer", answer)
    with pytest.raises(MissingToolError, match=why):
        files.content(remote, "set")
    assert cached(tmp_path) == []


def test_a_killed_download_leaves_nothing_that_is_taken_for_good(
    remote: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "stall_after", 100_000)
    code = (
        "from tinykit.data import files; import sys, logging\n"
        f"print('ready', flush=True); files.content(files.{remote!r}, 'set')"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
        deadline = time.monotonic() + 30
        while Server.hits == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert Server.hits == 1
    assert "things.gz" not in cached(tmp_path)
    monkeypatch.setattr(Server, "stall_after", None)
    assert files.content(remote, "set") == CONTENT


def test_a_crash_while_storing_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        files.store(tmp_path / "a" / "file", b"new")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_damaged_cache_is_fetched_again(remote: RemoteFile, tmp_path: Path) -> None:
    files.content(remote, "set")
    path = next((tmp_path / "cache").rglob("things.gz"))
    path.write_bytes(PACKED[:1000])
    assert files.content(remote, "set") == CONTENT
    assert path.read_bytes() == PACKED


@pytest.mark.parametrize("name", ["things", "things.gz", "set/things.gz"])
def test_own_folder_comes_first(
    remote: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "own" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(PACKED if name.endswith("gz") else CONTENT)
    monkeypatch.setenv("TINYKIT_DATA", str(tmp_path / "own"))
    assert files.content(remote, "set") == CONTENT
    assert Server.hits == 0


def test_an_own_folder_that_is_none_is_said(
    remote: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYKIT_DATA", str(tmp_path / "mistyped"))
    with pytest.raises(MissingToolError, match=r"TINYKIT_DATA=.*mistyped is no folder"):
        files.content(remote, "set")
    assert Server.hits == 0


@pytest.mark.parametrize(
    "raw", [CONTENT[:-1], CONTENT[::-1], PACKED[:-9], gzip.compress(bytes(10**7))]
)
def test_a_damaged_own_file_is_named(
    remote: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes
) -> None:
    (tmp_path / "things").write_bytes(raw)
    monkeypatch.setenv("TINYKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=rf"{tmp_path}/things is (damaged|not things)"):
        files.content(remote, "set")


def test_no_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYKIT_CACHE", str(tmp_path))
    monkeypatch.delenv("TINYKIT_DATA", raising=False)
    nowhere = RemoteFile("things", "http://127.0.0.1:1/things.gz", 1, 1, "0" * 64)
    with pytest.raises(MissingToolError, match=r"things\.gz.*TINYKIT_DATA") as caught:
        files.content(nowhere, "set")
    assert "\n" not in str(caught.value)


def test_fashion_mnist_where_this_machine_has_it() -> None:
    if not Path(fashion_mnist.SYSTEM[0]).is_dir() and not os.environ.get("TINYKIT_DATA"):
        pytest.skip("Fashion-MNIST is not on this machine")
    data = tk.data.load("fashion_mnist")
    assert (len(data.train), len(data.val), len(data.test)) == (55_000, 5_000, 10_000)
    assert np.array_equal(np.bincount(data.test.y), np.full(10, 1000))
    assert np.array_equal(np.bincount(data.val.y), np.full(10, 500))
    assert data.train.x.dtype == np.float32
    assert data.test.x.max() == 1
    # facts known of the set: 28×28, the mean grey level 0.2860 and deviation 0.3530 of the 60,000
    pixels = np.concatenate([data.train.x, data.val.x])
    assert pixels.mean(dtype=np.float64) == pytest.approx(0.2860, abs=5e-5)
    assert pixels.std(dtype=np.float64) == pytest.approx(0.3530, abs=5e-5)


def test_files_of_one_name_are_told_apart_by_the_datasets_folder(
    remote: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "things").write_bytes(CONTENT)
    (tmp_path / "things").write_bytes(CONTENT[::-1])  # another dataset's
    monkeypatch.setenv("TINYKIT_DATA", str(tmp_path))
    assert files.content(remote, "set") == CONTENT


def test_mnist_where_this_machine_has_it() -> None:
    own = os.environ.get("TINYKIT_DATA")
    if not own or not Path(own, "mnist").is_dir():
        pytest.skip("MNIST is not on this machine")
    data = tk.data.load("mnist")
    assert (len(data.train), len(data.val), len(data.test)) == (55_000, 5_000, 10_000)
    # facts known of the set: the mean grey level 0.1307 and deviation 0.3081 of the 60,000
    pixels = np.concatenate([data.train.x, data.val.x])
    assert pixels.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
