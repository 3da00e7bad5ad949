"""``python -m tests.benchmarks [NAME ...] [--json]``: exit 1 when a figure breaks its limit.

NAME is a module, a package (all of its modules), or one of a package's: ``federated.speed``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from tests.benchmarks._figure import Figure
from tinykit.targets.render import table


def names() -> list[str]:
    """The benchmarks there are: modules and packages."""
    return _inside(Path(__file__).parent)


def parts() -> list[str]:
    """The modules of packages, that can be run alone: ``PACKAGE.MODULE``."""
    here = Path(__file__).parent
    return [f"{n}.{m}" for n in names() if (here / n).is_dir() for m in _inside(here / n)]


def _inside(folder: Path) -> list[str]:
    packages = [file.parent for file in folder.glob("*/__init__.py")]
    found = [*folder.glob("*.py"), *packages]
    return sorted(file.stem for file in found if not file.stem.startswith("_"))


def show(number: float | None) -> str:
    if number is None:
        return "–"
    return f"{number:,}" if isinstance(number, int) else f"{number:,.4g}"


def as_table(figures: list[Figure]) -> str:
    rows: list[list[str] | None] = [["figure", "value", "unit", "limit", "holds", "peer"], None]
    for f in figures:
        holds = {True: "yes", False: "NO", None: ""}[f.holds]
        peer = f"{f.peer['name']}: {show(f.peer['value'])}" if f.peer else ""
        limit = "" if f.limit is None else f"{f.sense} {show(f.limit)}"
        rows.append([f.figure, show(f.value), f.unit, limit, holds, peer])
    return "\n".join(table(rows))


def main(argv: list[str] | None = None) -> int:
    there = names()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join([*there, *parts()])}"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    if unknown := [n for n in args.names if n not in there and n not in parts()]:
        there += parts()
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(there)}")
    figures: list[Figure] = []
    for name in args.names or there:
        figures += importlib.import_module(f"tests.benchmarks.{name}").run()
    print(json.dumps([f.to_dict() for f in figures], indent=2) if args.json else as_table(figures))
    return 1 if any(f.holds is False for f in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
