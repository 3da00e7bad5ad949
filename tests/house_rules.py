"""The rules of docs/architecture.md about imports, as a checker that names the line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FLOORS = {
    "folders": 0,
    "graph": 1,
    "data": 1,
    "formats": 2,
    "engine": 2,
    "nn": 2,
    "targets": 3,
    "quant": 3,
    "adapt": 3,
    "federated": 3,
    "compress": 4,
    "search": 5,
    "plots": 6,
    "explore": 7,
    "course": 8,
    "demo": 8,
    "cli": 9,
}
#: what every room stands on: the base of all errors
GROUND = "tinykit.graph.errors"
WIDGETS = {"ipywidgets", "voila", "IPython"}
WIDGET_FLOOR = 7
TORCH_ROOMS = {"nn", "quant", "compress", "search", "adapt", "federated"}
#: package -> files (besides whole rooms) that may import it
TORCH_FILES = {"formats/torch_export.py"}
TENSORFLOW_FILES = {"formats/_keras_worker.py"}
#: what speaks to people, and may print
SPEAKERS = {"cli", "course", "demo"}


def violations(path: str, source: str, lazy: dict[str, str] | None = None) -> list[str]:
    """Every broken rule in one file.

    Parameters
    ----------
    path : str
        The file's path inside ``tinykit/``, with forward slashes, e.g. ``engine/plan.py``.
    source : str
    lazy : dict, optional
        ``tinykit.__init__``'s table of names, so that ``from tinykit import fit`` counts as nn.

    Returns
    -------
    list of str
        ``tinykit/PATH:LINE: what is wrong``.
    """
    room = path.split("/")[0].removesuffix(".py")
    if room == "__init__":
        return []
    if room not in FLOORS:
        return [
            f"tinykit/{path}:1: room {room!r} has no floor; add it to docs/architecture.md "
            f"and tests/house_rules.py"
        ]
    tree = ast.parse(source)
    found = []
    for line, module, only_types in _imports(tree, path):
        why = _import_rule(path, room, module, only_types, lazy or {})
        if why:
            found.append(f"tinykit/{path}:{line}: {why}")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
            found.append(f"tinykit/{path}:{node.lineno}: star import; name what is used")
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            and room not in SPEAKERS
        ):
            found.append(
                f"tinykit/{path}:{node.lineno}: print() in the library; use logging, or return it"
            )
    return found


def _import_rule(
    path: str, room: str, module: str, only_types: bool, lazy: dict[str, str]
) -> str | None:
    """Why this import is not allowed, or None."""
    top, floor = module.split(".")[0], FLOORS[room]
    if top == "tinykit":
        if module == "tinykit":
            return (
                None if floor == 8 else "import the room, not tinykit (all floors hang from there)"
            )
        if module == GROUND:
            return None
        other = module.split(".")[1]
        if other in lazy:
            other = lazy[other].partition(":")[0].split(".")[1]
        if other.startswith("_") or other == room:
            return None
        if other not in FLOORS:
            return f"imports tinykit.{other}, which is no room"
        if FLOORS[other] >= floor:
            return (
                f"{room} (floor {floor}) imports {other} (floor {FLOORS[other]}); a room imports "
                f"only from lower floors"
            )
        return None
    if top in WIDGETS and floor < WIDGET_FLOOR:
        return f"{top} below floor {WIDGET_FLOOR} (this is floor {floor})"
    if only_types:
        return None
    if top == "torch" and room not in TORCH_ROOMS and path not in TORCH_FILES:
        return (
            f"torch outside {', '.join(sorted(TORCH_ROOMS))} and {', '.join(sorted(TORCH_FILES))}"
        )
    if top in {"tensorflow", "keras"} and path not in TENSORFLOW_FILES:
        return f"{top} outside the subprocess that converts Keras models"
    return None


def _imports(tree: ast.Module, path: str) -> Iterator[tuple[int, str, bool]]:
    """(line, absolute module, only for type checking) of every import, dynamic ones included."""
    typing_lines = {
        inner.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    package = ["tinykit", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, node.lineno in typing_lines
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{a.name}" for a in node.names] if base == "tinykit" else [base]
            for name in names:
                yield node.lineno, name, node.lineno in typing_lines
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ):
            yield node.lineno, node.args[0].value, False


def check_tree(package: Path, lazy: dict[str, str]) -> list[str]:
    """Every broken rule in every Python file under `package` (the folder ``tinykit/``)."""
    found = []
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package).as_posix()
        found += violations(path, file.read_text(encoding="utf-8"), lazy)
    return found
