"""Lessons on disk: every ``*/src/NN_name.py`` gives three notebooks beside it.

``notebooks/src/01_x.py`` gives ``notebooks/01_x.ipynb`` (reader), ``notebooks/student/01_x.ipynb``
and ``notebooks/solution/01_x.ipynb``.
"""

from __future__ import annotations

from pathlib import Path

from tinykit.course.leaks import leaks
from tinykit.course.lesson import Lesson, LessonError, read
from tinykit.course.versions import VERSIONS, notebook

FOLDERS = ("notebooks", "tutorials")


def sources(root: Path) -> list[Path]:
    """The lesson sources under `root`, in reading order."""
    return [path for folder in FOLDERS for path in sorted((root / folder / "src").glob("*.py"))]


def place(source: Path, version: str) -> Path:
    """Where a version of the lesson in `source` belongs."""
    folder = source.parent.parent
    return (folder if version == "reader" else folder / version) / f"{source.stem}.ipynb"


def generate(lesson: Lesson) -> dict[Path, str]:
    """Path and text of each notebook of a lesson.

    Raises
    ------
    LessonError
        The student version would show a solution.
    """
    made = {place(lesson.path, version): notebook(lesson, version) for version in VERSIONS}
    if found := leaks(lesson, made[place(lesson.path, "student")]):
        raise LessonError("\n".join(found))
    return made


def build(root: Path) -> list[Path]:
    """Write the notebooks of every lesson under `root`; the paths that changed."""
    changed = []
    for source in sources(root):
        for path, text in generate(read(source)).items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                changed.append(path)
    return changed


def drift(root: Path) -> list[str]:
    """What differs between the notebooks under `root` and what their sources give."""
    found, known = [], set()
    for source in sources(root):
        for path, text in generate(read(source)).items():
            known.add(path)
            name = path.relative_to(root)
            if not path.exists():
                found.append(f"{name} is missing; run: make lessons")
            elif path.read_text(encoding="utf-8") != text:
                found.append(f"{name} differs from {source.relative_to(root)}; run: make lessons")
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.ipynb")):
            if path not in known and ".ipynb_checkpoints" not in path.parts:
                found.append(f"{path.relative_to(root)} has no source in {folder}/src")
    return found
