"""Turns of knobs: the newest wins, slow work stops, nothing late is shown."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from tinykit.explore.explorer import Tick
from tinykit.explore.turns import Turns


class Listener:
    """Notes what it is told, and on which thread."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()

    def _note(self, *what: Any) -> None:
        self.threads.add(threading.get_ident())
        self.heard.append(what)

    def done(self, turn: int, result: Any) -> None:
        self._note("done", turn, result)

    def failed(self, turn: int, error: Exception) -> None:
        self._note("failed", turn, type(error))

    def progress(self, turn: int, share: float | None, what: str) -> None:
        self._note("progress", turn, what)

    def partial(self, turn: int, result: Any) -> None:
        self._note("partial", turn, result)


def test_instant_work_is_done_on_the_spot() -> None:
    listener = Listener()
    turns = Turns(listener)
    assert turns.start(lambda tick: "a", instant=True) == 1
    assert listener.heard == [("done", 1, "a")]
    assert listener.threads == {threading.get_ident()}


def test_a_failure_is_told_and_does_not_leave() -> None:
    listener = Listener()
    Turns(listener).start(lambda tick: 1 // 0, instant=True)
    assert listener.heard == [("failed", 1, ZeroDivisionError)]


def test_slow_work_runs_elsewhere_and_is_told_on_the_loop() -> None:
    listener = Listener()
    ran_on: list[int] = []

    def work(tick: Tick) -> str:
        ran_on.append(threading.get_ident())
        tick(0.5, "half")
        return "slow"

    async def main() -> None:
        turns = Turns(listener)
        turns.start(work, instant=False)
        await asyncio.to_thread(turns.join)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert listener.heard == [("progress", 1, "half"), ("done", 1, "slow")]
    assert ran_on != [threading.get_ident()]
    assert listener.threads == {threading.get_ident()}


def test_a_new_turn_cancels_slow_work_at_its_next_tick() -> None:
    listener = Listener()
    turns = Turns(listener)
    begun, go_on = threading.Event(), threading.Event()
    beyond: list[str] = []

    def work(tick: Tick) -> str:
        begun.set()
        assert go_on.wait(10)
        tick(0.5, "half")
        beyond.append("went on")
        return "late"

    turns.start(work, instant=False)
    assert begun.wait(10)
    turns.start(lambda tick: "new", instant=True)
    go_on.set()
    turns.join()
    assert listener.heard == [("done", 2, "new")]
    assert beyond == []


def test_what_finishes_late_is_never_shown() -> None:
    listener = Listener()
    turns = Turns(listener)
    begun, go_on = threading.Event(), threading.Event()

    def never_ticks(tick: Tick) -> str:
        begun.set()
        assert go_on.wait(10)
        return "late"

    def fails_late(tick: Tick) -> str:
        never_ticks(tick)
        raise ValueError

    for work in (never_ticks, fails_late):
        begun.clear()
        go_on.clear()
        turns.start(work, instant=False)
        assert begun.wait(10)
        turns.start(lambda tick: "new", instant=True)
        go_on.set()
        turns.join()
    assert listener.heard == [("done", 2, "new"), ("done", 4, "new")]


def test_at_most_one_piece_of_slow_work_waits() -> None:
    listener = Listener()
    turns = Turns(listener)
    begun, go_on = threading.Event(), threading.Event()
    ran: list[int] = []

    def first(tick: Tick) -> str:
        begun.set()
        assert go_on.wait(10)
        return "first"

    def numbered(number: int) -> Any:
        def work(tick: Tick) -> int:
            ran.append(number)
            return number

        return work

    turns.start(first, instant=False)
    assert begun.wait(10)
    for number in range(5):
        turns.start(numbered(number), instant=False)
    go_on.set()
    turns.join()
    assert ran == [4]
    assert listener.heard == [("done", 6, 4)]


def test_what_is_prepared_runs_elsewhere_and_nobody_is_told() -> None:
    listener = Listener()
    turns = Turns(listener)
    turns.start(lambda tick: "a", instant=True)
    ran_on: list[int] = []

    def work(tick: Tick) -> None:
        tick(None, "ahead")
        ran_on.append(threading.get_ident())

    turns.prepare(work)
    turns.join()
    assert ran_on
    assert ran_on[0] != threading.get_ident()
    assert listener.heard == [("done", 1, "a")]


def test_a_turn_stops_what_is_prepared_and_a_failure_there_is_silent() -> None:
    listener = Listener()
    turns = Turns(listener)
    turns.start(lambda tick: "a", instant=True)
    begun, turned, went_on = threading.Event(), threading.Event(), threading.Event()

    def long(tick: Tick) -> None:
        begun.set()
        turned.wait(10)
        tick(None, "more")
        went_on.set()

    turns.prepare(long)
    assert begun.wait(10)
    turns.start(lambda tick: "b", instant=True)
    turned.set()
    turns.join()
    assert not went_on.is_set()
    turns.prepare(lambda tick: 1 // 0)
    turns.join()
    assert listener.heard == [("done", 1, "a"), ("done", 2, "b")]


def test_partial_results_are_shown_while_slow_work_runs_but_not_too_often() -> None:
    listener = Listener()
    made: list[int] = []

    def work(tick: Tick) -> str:
        for step in range(200):
            tick(step / 200, "step", lambda step=step: made.append(step) or step)
        time.sleep(0.25)
        tick(None, "step", lambda: made.append(200) or 200)
        return "whole"

    async def main() -> None:
        turns = Turns(listener)
        turns.start(work, instant=False)
        await asyncio.to_thread(turns.join)
        await asyncio.sleep(0)

    asyncio.run(main())
    shown = [what for kind, _, what in listener.heard if kind == "partial"]
    assert shown == made, "figures are made only where they are shown"
    assert shown[0] == 0
    assert shown[-1] == 200
    assert len(shown) < 20
    assert listener.heard[-1] == ("done", 1, "whole")
    assert listener.threads == {threading.get_ident()}


def test_a_partial_result_of_an_older_turn_is_not_shown() -> None:
    listener = Listener()
    turns = Turns(listener)

    def work(tick: Tick) -> str:
        turns.start(lambda tick: "newer", instant=True)
        tick(0.5, "half", lambda: "older")
        return "late"

    turns.start(work, instant=False)
    turns.join()
    assert listener.heard == [("done", 2, "newer")]


def test_instant_work_draws_its_result_alone() -> None:
    listener = Listener()

    def work(tick: Tick) -> str:
        tick(0.5, "half", lambda: 1 // 0)
        return "whole"

    Turns(listener).start(work, instant=True)
    assert listener.heard == [("done", 1, "whole")]
