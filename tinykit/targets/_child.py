"""A child process that answers requests, and whose death is told instead of shared.

The real runtimes are C++ that aborts the process on some models. They therefore live in a child
(`python -m tinykit.targets._tflm_worker`), which speaks length-prefixed pickles over its standard
streams; what C++ prints goes to a log file that outlives the child, so that its last words can be
quoted. The child is kept between requests and replaced when it has died.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from typing import IO, Any

#: length of the pickle that follows, little-endian
HEADER = struct.Struct("<Q")
_LOG_LIMIT = 1 << 20  # the log is emptied between requests when it has grown beyond this


class ChildDied(Exception):
    """The child ended (or was ended) while a request was under way; `said` is what it printed."""

    def __init__(self, how: str, said: str) -> None:
        self.how, self.said = how, said
        super().__init__(f"{how}: {said}" if said else how)


class Child:
    """`python -m MODULE` as a server of one request at a time; safe to use from several threads.

    Parameters
    ----------
    module : the worker's module; it calls `tinykit.targets._worker.serve`
    timeout : seconds that one request may take before the child is killed
    """

    def __init__(self, module: str, timeout: float) -> None:
        self.module, self.timeout = module, timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._owner = 0
        self._finalizer: weakref.finalize | None = None

    def request(self, message: Any) -> tuple[Any, str]:
        """Send `message`; return the answer and what was printed while it was worked on.

        Raises
        ------
        ChildDied
            The child aborted, crashed, or took longer than `timeout` (it is then killed). The next
            request starts another.
        """
        with self._lock:
            log = self._running()
            start = os.fstat(log.fileno()).st_size
            if start > _LOG_LIMIT:
                # Parent and child share one file offset, so this rewinds the child's writing too.
                os.ftruncate(log.fileno(), 0)
                os.lseek(log.fileno(), 0, os.SEEK_SET)
                start = 0
            payload = pickle.dumps(message, protocol=5)
            deadline = time.monotonic() + self.timeout
            try:
                self._write(HEADER.pack(len(payload)) + payload, deadline)
                (size,) = HEADER.unpack(self._read(HEADER.size, deadline))
                answer = pickle.loads(self._read(size, deadline))
            except (TimeoutError, EOFError, BrokenPipeError) as error:
                said = _said(log, start)
                how = self._bury(timed_out=isinstance(error, TimeoutError))
                raise ChildDied(how, said) from None
            except BaseException:  # interrupted halfway: the streams are out of step
                self._bury(timed_out=True)
                raise
            return answer, _said(log, start)

    def close(self) -> None:
        """End the child, if one runs. Calling it twice is harmless; a request starts a new one."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._process = self._log = self._finalizer = None

    # -- inside ---------------------------------------------------------------------------------

    def _running(self) -> IO[bytes]:
        """Start the child if none runs; its log."""
        if self._process is not None and self._owner != os.getpid():
            # We are a fork of the process that started the child: leave it to that one.
            if self._finalizer is not None:
                self._finalizer()
            self._process = None
        if self._process is not None and self._process.poll() is not None:
            self._bury(timed_out=False)
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._log is not None
        return self._log

    def _start(self) -> None:
        log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the child)
        env = {**os.environ, "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
        )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)  # so that a write can time out
        self._log, self._owner = log, os.getpid()
        self._finalizer = weakref.finalize(self, _end, self._process, log, os.getpid())

    def _write(self, data: bytes, deadline: float) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        fd, rest = self._process.stdin.fileno(), memoryview(data)
        while rest:
            _wait(fd, selectors.EVENT_WRITE, deadline)
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(fd, rest) :]

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        data = bytearray()
        while len(data) < count:
            _wait(fd, selectors.EVENT_READ, deadline)
            chunk = os.read(fd, min(count - len(data), 1 << 20))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _bury(self, timed_out: bool) -> str:
        process, finalizer = self._process, self._finalizer
        assert process is not None
        if timed_out:
            process.kill()
        code = process.wait()
        if finalizer is not None:
            finalizer()
        self._process = self._log = self._finalizer = None
        if timed_out:
            return f"it did not answer within {self.timeout:g} s"
        if code < 0:
            return f"it ended with {signal.Signals(-code).name}"
        return f"it ended with status {code}"


def _wait(fd: int, event: int, deadline: float) -> None:
    """Until `fd` can be read or written; TimeoutError when the deadline passes first."""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, event)
        left = deadline - time.monotonic()
        if left <= 0 or not selector.select(left):
            raise TimeoutError


def _said(log: IO[bytes], start: int) -> str:
    end = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), max(0, end - start), start).decode("utf-8", "replace").strip()


def _end(process: subprocess.Popen[bytes], log: IO[bytes], owner: int) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()  # the worker ends when its input does
    if os.getpid() != owner:
        process.returncode = 0  # a fork has closed its copies; the child is not its to wait for
        log.close()
        return
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()
