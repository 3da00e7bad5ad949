"""Turns of knobs: the newest one counts, whatever still runs for an older one is dropped.

Instant work runs where it is asked for. Slow work runs on one worker thread; it is told through its
`Tick` to stop when a newer turn comes, at most one piece of work waits for it, and nothing that
finishes late is ever shown. Work that ticks with a function that makes a partial result has it
shown a few times a second. While nobody turns a knob, the worker may prepare what the next turn is
likely to need (`Turns.prepare`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from tinykit.explore.explorer import Cancelled, Tick

log = logging.getLogger(__name__)

Work = Callable[[Tick], Any]
#: progress is passed on this often at most, seconds; what is drawn meanwhile, this often
_EVERY, _DRAWN_EVERY = 0.1, 0.2


class Audience(Protocol):
    """Who is told what became of a turn; always on the thread that made the turn."""

    def done(self, turn: int, result: Any) -> None: ...

    def failed(self, turn: int, error: Exception) -> None: ...

    def progress(self, turn: int, share: float | None, what: str) -> None: ...

    def partial(self, turn: int, result: Any) -> None: ...


class Turns:
    """Runs the work of turns for an `Audience`; see the module."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._lock = threading.Lock()
        self._turn = 0
        self._waiting: Callable[[], None] | None = None
        self._worker: threading.Thread | None = None

    @property
    def current(self) -> int:
        return self._turn

    def start(self, work: Work, *, instant: bool) -> int:
        """Begin a new turn and return its number; all earlier ones are over."""
        with self._lock:
            self._turn += 1
            turn = self._turn
            self._waiting = None
        if instant:
            self._run(turn, work, _here)
            return turn
        self._queue(partial(self._run, turn, work, _deliver_to_this_thread()))
        return turn

    def prepare(self, work: Work) -> None:
        """Run `work` on the worker until a new turn comes; nobody is told what becomes of it."""
        self._queue(partial(self._prepare, self._turn, work))

    def _queue(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._waiting = job
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._serve, name="tinykit-explorer", daemon=True
                )
                self._worker.start()

    def join(self, timeout: float = 60.0) -> None:
        """Wait until no slow work runs (tests, scripts)."""
        worker = self._worker
        if worker is not None:
            worker.join(timeout)

    def _serve(self) -> None:
        while True:
            with self._lock:
                job, self._waiting = self._waiting, None
                if job is None:
                    self._worker = None
                    return
            job()

    def _prepare(self, turn: int, work: Work) -> None:
        def tick(share: float | None, what: str, partial: Any = None, /) -> None:
            if turn != self._turn:
                raise Cancelled

        try:
            tick(None, "")
            work(tick)
        except Cancelled:
            pass
        except Exception as error:
            # whoever turns the knob to this place is told
            log.info("what was prepared failed: %s", error)

    def _run(self, turn: int, work: Work, deliver: Callable[..., None]) -> None:
        told = drawn = 0.0

        def tick(share: float | None, what: str, partial: Any = None, /) -> None:
            nonlocal told, drawn
            if turn != self._turn:
                raise Cancelled
            now = time.monotonic()
            if deliver is _here:
                return
            if now - told >= _EVERY:
                told = now
                deliver(self._if_current, turn, self._audience.progress, share, what)
            if partial is not None and now - drawn >= _DRAWN_EVERY:
                # called for nothing else: to make figures takes longer than a round of training
                deliver(self._if_current, turn, self._audience.partial, partial())
                drawn = time.monotonic()

        try:
            result = work(tick)
        except Cancelled:
            return
        except Exception as error:
            # Whatever goes wrong is told in the app; an exception that left this callback would
            # end a Voila page without a word.
            deliver(self._if_current, turn, self._audience.failed, error)
        else:
            deliver(self._if_current, turn, self._audience.done, result)

    def _if_current(self, turn: int, tell: Callable[..., None], *what: Any) -> None:
        if turn == self._turn:
            tell(turn, *what)


def _here(call: Callable[..., None], *args: Any) -> None:
    call(*args)


def _deliver_to_this_thread() -> Callable[..., None]:
    """Calls from another thread, made on the event loop that runs here; without one, made there."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda call, *args: call(*args)

    def deliver(call: Callable[..., None], *args: Any) -> None:
        try:
            loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the kernel is shutting down
            log.debug("nobody is left to be told")

    return deliver
