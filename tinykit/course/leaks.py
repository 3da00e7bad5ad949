"""Does a student's notebook give the solution away?"""

from __future__ import annotations

import json

from tinykit.course.lesson import (
    BEGIN_HIDDEN,
    BEGIN_SOLUTION,
    END_HIDDEN,
    END_SOLUTION,
    Lesson,
    regions,
)

#: shorter lines (``return q``) may stand anywhere without telling much
TELLING = 12


def leaks(lesson: Lesson, student: str) -> list[str]:
    """Lines of the solution, or of hidden tests, that `student` (ipynb text) contains.

    Lines are compared without white space, so that a new indentation hides nothing. Outputs and
    metadata are searched as well as cells.

    Returns
    -------
    list of str
        One sentence a leak; empty when there is none.
    """
    found = []
    cells = json.loads(student)["cells"]
    for cell in cells:
        if cell.get("outputs"):
            found.append(f"{lesson.name}: the student version carries outputs")
            break
    texts = [_squeeze("".join(cell["source"])) for cell in cells]
    texts += [_squeeze(json.dumps([c["metadata"], c.get("outputs")])) for c in cells]
    for mark in (BEGIN_SOLUTION, END_SOLUTION, BEGIN_HIDDEN, END_HIDDEN):
        if any(_squeeze(mark) in text for text in texts):
            found.append(f"{lesson.name}: the student version still has the marker {mark!r}")
    for line in secret_lines(lesson):
        if any(_squeeze(line) in text for text in texts):
            found.append(f"{lesson.name}: the student version shows a solution's line: {line!r}")
    return found


def secret_lines(lesson: Lesson) -> list[str]:
    """The telling lines of every solution and hidden test of a lesson, stripped."""
    lines = []
    for cell in lesson.cells:
        source = cell["source"].splitlines()
        for begin, end in ((BEGIN_SOLUTION, END_SOLUTION), (BEGIN_HIDDEN, END_HIDDEN)):
            for first, last in regions(lesson.path, cell["source"], begin, end):
                lines += [line.strip() for line in source[first + 1 : last]]
    return [line for line in dict.fromkeys(lines) if len(_squeeze(line)) >= TELLING]


def _squeeze(text: str) -> str:
    return "".join(text.split())
