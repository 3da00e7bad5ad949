"""One source, three notebooks: deterministic, without leaks, and as nbgrader would make them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tinykit.course.__main__ import main
from tinykit.course.build import build, drift, generate, sources
from tinykit.course.leaks import leaks, secret_lines
from tinykit.course.lesson import PARTS, LessonError, read
from tinykit.course.versions import STUB, notebook

HEADER = """\
# ---
# jupyter:
#   tinykit:
#     goal: Know what a sum costs
#     minutes: 5
#     prerequisites: [Python]
#     teaches: [Euclid]
# ---

# %% [markdown]
# # Sums
"""
BODY = {
    "predict": "# Guess.",
    "explore": "# Turn.",
    "compare": "# Look.",
    "explain": "# Because.",
    "exercise": '# Write it.\n\n# %% exercise="total" points=2\ndef total(values):\n'
    "    ### BEGIN SOLUTION\n    answer = 0\n    for value in values:\n        answer += value\n"
    "    return answer\n    ### END SOLUTION",
    "check": '# See.\n\n# %% check="total" points=2\nassert total([1]) == 1\n'
    "### BEGIN HIDDEN TESTS\nassert total([1, 2, 3, 4]) == 10\n### END HIDDEN TESTS",
    "further": "# More.",
}


def write(tmp_path: Path, body: dict[str, str] | None = None, header: str = HEADER) -> Path:
    path = tmp_path / "notebooks" / "src" / "01_sums.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = "\n".join(
        f'# %% [markdown] part="{part}"\n{text}\n' for part, text in (body or BODY).items()
    )
    path.write_text(f"{header}\n{parts}", encoding="utf-8")
    return path


def cells(text: str) -> list[dict[str, Any]]:
    return json.loads(text)["cells"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_versions_differ_as_they_should(tmp_path: Path) -> None:
    lesson = read(write(tmp_path))
    student, solution, reader = (notebook(lesson, v) for v in ("student", "solution", "reader"))
    assert "answer += value" not in student
    assert "total([1, 2, 3, 4])" not in student
    assert STUB[1].replace('"', '\\"') in student
    assert "### BEGIN SOLUTION" in solution
    assert "total([1, 2, 3, 4])" in solution
    folded = [c for c in cells(reader) if "<details>" in source(c)]
    assert len(folded) == 1
    assert "answer += value" in source(folded[0])
    assert "BEGIN" not in reader


def test_exercises_run_as_their_version_promises(tmp_path: Path) -> None:
    lesson = read(write(tmp_path))
    for version, fails in (("solution", False), ("student", True)):
        code = [source(c) for c in cells(notebook(lesson, version)) if c["cell_type"] == "code"]
        scope: dict[str, Any] = {}
        exec(code[0], scope)
        if fails:
            with pytest.raises(NotImplementedError, match="not written yet"):
                exec(code[1], scope)
        else:
            exec(code[1], scope)


def test_same_source_same_bytes_and_stable_ids(tmp_path: Path) -> None:
    path = write(tmp_path)
    first = notebook(read(path), "reader")
    assert first == notebook(read(path), "reader")
    ids = [cell["id"] for cell in cells(first)]
    assert len(set(ids)) == len(ids)
    write(tmp_path, {**BODY, "explain": "# Because of carrying."})
    later = [cell["id"] for cell in cells(notebook(read(path), "reader"))]
    assert len(set(ids) ^ set(later)) == 2  # only the edited cell has another id


def test_notebooks_are_valid_and_bare(tmp_path: Path) -> None:
    import nbformat

    for text in generate(read(write(tmp_path))).values():
        nbformat.validate(nbformat.reads(text, as_version=4))
        for cell in cells(text):
            assert not cell.get("outputs")


def test_student_version_is_what_nbgrader_makes(tmp_path: Path, root: Path) -> None:
    """nbgrader's own preprocessors, run on the solution version, give the student version."""
    import nbformat
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions
    from traitlets.config import Config

    config = Config()
    config.ClearSolutions.code_stub = {"python": "\n".join(STUB)}
    for path in [write(tmp_path), *sources(root)]:
        lesson = read(path)
        made = nbformat.reads(notebook(lesson, "solution"), as_version=4)
        for step in (ClearSolutions(config=config), ClearHiddenTests(config=config)):
            made, _ = step.preprocess(made, {})
        wanted = [cell.source for cell in made.cells]
        assert [source(c) for c in cells(notebook(lesson, "student"))] == wanted


def test_every_lesson_carries_nbgrader_metadata_that_nbgrader_accepts(root: Path) -> None:
    import nbformat
    from nbgrader.nbgraderformat import MetadataValidator

    for path in sources(root):
        made = nbformat.reads(notebook(read(path), "solution"), as_version=4)
        MetadataValidator().validate_nb(made)
        kinds = [c.metadata.nbgrader for c in made.cells if "nbgrader" in c.metadata]
        assert any(k.solution for k in kinds)
        assert sum(k.points for k in kinds if k.grade) > 0


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("explain", "# It is this line: `answer  +=  value`."),
        ("further", "# More.\n\n# %%\nfor value in [1, 2]:\n    answer += value"),
        ("explain", "# The grader tries `assert total([1, 2, 3, 4]) == 10`."),
    ],
)
def test_planted_leak_is_found(tmp_path: Path, part: str, text: str) -> None:
    lesson = read(write(tmp_path, {**BODY, part: text}))
    with pytest.raises(LessonError, match="shows a solution's line"):
        generate(lesson)


def test_leak_by_hand_in_the_student_file_is_found(tmp_path: Path) -> None:
    lesson = read(write(tmp_path))
    assert secret_lines(lesson) == [
        "for value in values:",
        "answer += value",
        "return answer",
        "assert total([1, 2, 3, 4]) == 10",
    ]
    student = notebook(lesson, "student")
    assert leaks(lesson, student) == []
    book = json.loads(student)
    book["cells"][-1]["metadata"]["note"] = "answer += value"
    book["cells"][-1]["source"].append("\n### BEGIN SOLUTION")
    found = leaks(lesson, json.dumps(book))
    assert any("answer += value" in line for line in found)
    assert any("marker" in line for line in found)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"check": None}, "part 'check' is missing"),
        ({"explore": '# A.\n\n# %% [markdown] part="quiz"\n# B.'}, "no part is called 'quiz'"),
        ({"exercise": "# Write it."}, "do not pair up"),
        (
            {"exercise": '# W.\n\n# %% exercise="total"\ndef total(v):\n    return sum(v)'},
            "has no '### BEGIN SOLUTION'",
        ),
        (
            {"exercise": BODY["exercise"].replace("    ### END SOLUTION", "")},
            "is never closed",
        ),
        ({"explain": "# B.\n\n# %%\n### END SOLUTION\nx = 1"}, "without '### BEGIN SOLUTION'"),
        ({"explain": "# B.\n\n# %%\n### BEGIN SOLUTION\n### END SOLUTION"}, "without exercise="),
    ],
)
def test_broken_contract_is_named(tmp_path: Path, change: dict[str, Any], part: str) -> None:
    body = {k: v for k, v in {**BODY, **change}.items() if v is not None}
    with pytest.raises(LessonError, match=part):
        read(write(tmp_path, body))


def test_parts_out_of_order_are_named(tmp_path: Path) -> None:
    body = {part: BODY[part] for part in ("explore", "predict", *PARTS[2:])}
    with pytest.raises(LessonError, match="the order is predict, explore"):
        read(write(tmp_path, body))


@pytest.mark.parametrize("fact", ["goal", "minutes", "prerequisites", "teaches"])
def test_missing_fact_is_named(tmp_path: Path, fact: str) -> None:
    header = "\n".join(line for line in HEADER.splitlines() if f" {fact}:" not in line)
    with pytest.raises(LessonError, match=f"lacks '{fact}'"):
        read(write(tmp_path, header=header))


def test_build_then_no_drift_then_drift(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(tmp_path)
    assert len(build(tmp_path)) == 3
    assert build(tmp_path) == []
    assert drift(tmp_path) == []
    student = tmp_path / "notebooks" / "student" / "01_sums.ipynb"
    student.write_text(student.read_text().replace("Guess", "Guess again"))
    shutil.copy(student, tmp_path / "notebooks" / "stray.ipynb")
    assert main(["check", "--root", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "notebooks/student/01_sums.ipynb differs from notebooks/src/01_sums.py" in told
    assert "stray.ipynb has no source" in told
    (tmp_path / "notebooks" / "stray.ipynb").unlink()
    assert main(["build", "--root", str(tmp_path)]) == 0
    assert main(["check", "--root", str(tmp_path)]) == 0


def test_committed_notebooks_match_their_sources(root: Path) -> None:
    assert sources(root), "no lessons found"
    assert drift(root) == []
