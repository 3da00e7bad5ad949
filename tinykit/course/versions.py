"""The three notebooks that come from one lesson: the reader's, the student's, the solution."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from tinykit.course.lesson import (
    BEGIN_HIDDEN,
    BEGIN_SOLUTION,
    END_HIDDEN,
    END_SOLUTION,
    Lesson,
    regions,
)

#: a relative link to another notebook
_LINK = re.compile(r"\]\(((?:\.\./)*[\w/]+\.ipynb)\)")

VERSIONS = ("reader", "student", "solution")
#: what stands where a solution stood; nbgrader's own stub, with a word to the student
STUB = ("# YOUR CODE HERE", 'raise NotImplementedError("not written yet")')


def notebook(lesson: Lesson, version: str) -> str:
    """The ``.ipynb`` text of one version; the same lesson always gives the same bytes.

    Parameters
    ----------
    version : {"reader", "student", "solution"}
        - reader: exercises are stubs, and a folded block after each check shows one solution
        - student: exercises are stubs, no solution anywhere, nbgrader's metadata
        - solution: everything, with nbgrader's markers and metadata (its source version)
    """
    if version not in VERSIONS:
        raise ValueError(f"no version {version!r}; versions: {', '.join(VERSIONS)}")
    solutions = {
        cell["metadata"]["exercise"]: _clear(lesson, cell["source"], BEGIN_HIDDEN, END_HIDDEN, ())
        for cell in lesson.cells
        if "exercise" in cell["metadata"]
    }
    cells: list[dict[str, Any]] = []
    for position, cell in enumerate(lesson.cells):
        cells.append(_cell(lesson, cell, version))
        if position == 0:
            cells.append(_markdown(_facts(lesson)))
        if version == "reader" and "check" in cell["metadata"]:
            cells.append(_markdown(_folded(solutions[cell["metadata"]["check"]])))
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha256((cell["cell_type"] + cell["source"]).encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell["source"] = cell["source"].splitlines(keepends=True)
    body = {
        "cells": cells,
        "metadata": {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
            "tinykit": {
                "goal": lesson.goal,
                "minutes": lesson.minutes,
                "prerequisites": list(lesson.prerequisites),
                "teaches": list(lesson.teaches),
                "source": lesson.path.name,
                "version": version,
            },
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(body, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def without_solutions(lesson: Lesson, source: str) -> str:
    """A cell's source as students get it: stubs for solutions, no hidden tests."""
    source = _clear(lesson, source, BEGIN_HIDDEN, END_HIDDEN, ())
    return _clear(lesson, source, BEGIN_SOLUTION, END_SOLUTION, STUB)


def _cell(lesson: Lesson, cell: dict[str, Any], version: str) -> dict[str, Any]:
    source, meta = cell["source"], dict(cell["metadata"])
    if version != "reader" and cell["cell_type"] == "markdown":
        source = _LINK.sub(r"](../\1)", source)  # one folder further down
    if version != "solution":
        source = without_solutions(lesson, source)
    exercise, check = meta.pop("exercise", None), meta.pop("check", None)
    points = meta.pop("points", 0)
    if version != "reader" and (exercise or check):
        meta["nbgrader"] = {
            "schema_version": 3,
            "cell_type": cell["cell_type"],
            "grade_id": exercise or f"check-{check}",
            "grade": check is not None,
            "solution": exercise is not None,
            "locked": check is not None,
            "task": False,
            **({"points": points} if check else {}),
        }
    made: dict[str, Any] = {
        "cell_type": cell["cell_type"],
        "metadata": meta,
        "source": source,
    }
    if cell["cell_type"] == "code":
        made.update(execution_count=None, outputs=[])
    return made


def _clear(lesson: Lesson, source: str, begin: str, end: str, stub: tuple[str, ...]) -> str:
    lines = source.splitlines()
    for first, last in reversed(regions(lesson.path, source, begin, end)):
        indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        lines[first : last + 1] = [indent + line for line in stub]
    return "\n".join(lines)


def _markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _facts(lesson: Lesson) -> str:
    return "\n".join(
        [
            f"**Goal.** {lesson.goal}",
            "",
            f"**Time.** about {lesson.minutes} minutes",
            "",
            f"**You need.** {'; '.join(lesson.prerequisites)}",
            "",
            f"**It teaches.** {'; '.join(lesson.teaches)}",
        ]
    )


def _folded(solution: str) -> str:
    kept = [
        line for line in solution.splitlines() if line.strip() not in (BEGIN_SOLUTION, END_SOLUTION)
    ]
    return "\n".join(
        [
            "<details><summary>One solution (write yours first)</summary>",
            "",
            "```python",
            *kept,
            "```",
            "",
            "</details>",
        ]
    )
