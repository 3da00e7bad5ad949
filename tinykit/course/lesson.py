"""A lesson's source: one jupytext py:percent file, its facts in the header, its parts in cells.

The header's ``jupyter: tinykit:`` block holds goal, minutes, prerequisites and what is taught. A
cell says which part it opens (``# %% [markdown] part="predict"``), that it holds an exercise
(``# %% exercise="requantize" points=5``) or that it checks one (``# %% check="requantize"``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinykit.graph.errors import MissingToolError, TinykitError

#: what every lesson has, in this order
PARTS = ("predict", "explore", "compare", "explain", "exercise", "check", "further")
BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"


class LessonError(TinykitError, ValueError):
    """A lesson's source breaks the lesson contract; the text says where and how."""


@dataclass(frozen=True)
class Lesson:
    """One lesson as its author wrote it.

    Attributes
    ----------
    path : Path
        The source file.
    title, goal : str
    minutes : int
        How long a student needs, roughly.
    prerequisites : tuple of str
    teaches : tuple of str
        Papers or systems, as citations.
    cells : tuple of dict
        nbformat cells (markdown and code), metadata as written in the source.
    """

    path: Path
    title: str
    goal: str
    minutes: int
    prerequisites: tuple[str, ...]
    teaches: tuple[str, ...]
    cells: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        return self.path.stem


def read(path: Path) -> Lesson:
    """Read a lesson's source and check it against the contract.

    Raises
    ------
    LessonError
        The header lacks a fact, a part is missing or out of order, markers do not match, an
        exercise has no solution or no check.
    MissingToolError
        jupytext is not installed.
    """
    try:
        import jupytext
    except ImportError:
        raise MissingToolError(
            "generating notebooks needs jupytext: pip install jupytext nbformat"
        ) from None
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    facts = dict(notebook.metadata.get("tinykit", {}))
    cells = tuple({**cell, "metadata": dict(cell["metadata"])} for cell in notebook.cells)
    for cell in cells:
        cell["metadata"].pop("lines_to_next_cell", None)
    lesson = Lesson(
        path,
        _title(path, cells),
        str(_fact(path, facts, "goal")),
        int(_fact(path, facts, "minutes")),
        tuple(_fact(path, facts, "prerequisites")),
        tuple(_fact(path, facts, "teaches")),
        cells,
    )
    _check_parts(lesson)
    _check_exercises(lesson)
    return lesson


def regions(path: Path, source: str, begin: str, end: str) -> list[tuple[int, int]]:
    """First and last line (0-based, the markers themselves) of each marked region."""
    found, start = [], None
    for number, line in enumerate(source.splitlines()):
        mark = line.strip()
        if mark == begin:
            if start is not None:
                raise LessonError(f"{path.name}: {begin!r} twice without {end!r} between")
            start = number
        elif mark == end:
            if start is None:
                raise LessonError(f"{path.name}: {end!r} without {begin!r} before it")
            found.append((start, number))
            start = None
    if start is not None:
        raise LessonError(f"{path.name}: {begin!r} is never closed by {end!r}")
    return found


def _fact(path: Path, facts: dict[str, Any], name: str) -> Any:
    if not facts.get(name):
        raise LessonError(
            f"{path.name}: the header's 'jupyter: tinykit:' block lacks {name!r}; it needs goal, "
            "minutes, prerequisites and teaches"
        )
    return facts[name]


def _title(path: Path, cells: tuple[dict[str, Any], ...]) -> str:
    if not cells or cells[0]["cell_type"] != "markdown" or not cells[0]["source"].startswith("# "):
        raise LessonError(f"{path.name}: the first cell must be markdown that begins '# Title'")
    return cells[0]["source"].splitlines()[0][2:].strip()


def _check_parts(lesson: Lesson) -> None:
    opened = [c["metadata"]["part"] for c in lesson.cells if "part" in c["metadata"]]
    if unknown := [part for part in opened if part not in PARTS]:
        raise LessonError(
            f"{lesson.path.name}: no part is called {unknown[0]!r}; parts: {', '.join(PARTS)}"
        )
    if missing := [part for part in PARTS if part not in opened]:
        raise LessonError(f"{lesson.path.name}: part {missing[0]!r} is missing")
    first = [opened.index(part) for part in PARTS]
    if first != sorted(first):
        raise LessonError(
            f"{lesson.path.name}: the parts come as {', '.join(dict.fromkeys(opened))}; "
            f"the order is {', '.join(PARTS)}"
        )


def _check_exercises(lesson: Lesson) -> None:
    exercises, checks = [], []
    for cell in lesson.cells:
        source, meta = cell["source"], cell["metadata"]
        solved = regions(lesson.path, source, BEGIN_SOLUTION, END_SOLUTION)
        hidden = regions(lesson.path, source, BEGIN_HIDDEN, END_HIDDEN)
        if solved and "exercise" not in meta:
            raise LessonError(
                f'{lesson.path.name}: a solution stands in a cell without exercise="NAME"'
            )
        if hidden and "check" not in meta:
            raise LessonError(
                f'{lesson.path.name}: hidden tests stand in a cell without check="NAME"'
            )
        if "exercise" in meta:
            exercises.append(meta["exercise"])
            if not solved:
                raise LessonError(
                    f"{lesson.path.name}: exercise {meta['exercise']!r} has no {BEGIN_SOLUTION!r}; "
                    "the student would be given everything"
                )
        if "check" in meta:
            checks.append(meta["check"])
    if not exercises or sorted(exercises) != sorted(checks):
        raise LessonError(
            f"{lesson.path.name}: exercises {exercises} and checks {checks} do not pair up"
        )
