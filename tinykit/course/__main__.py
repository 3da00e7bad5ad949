"""``python -m tinykit.course build`` writes the notebooks, ``check`` fails where they differ."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tinykit.course.build import build, drift
from tinykit.graph.errors import TinykitError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tinykit.course", description=__doc__)
    parser.add_argument("what", choices=["build", "check"])
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds notebooks/")
    options = parser.parse_args(argv)
    try:
        if options.what == "build":
            for path in build(options.root):
                print(f"wrote {path}")
            return 0
        found = drift(options.root)
    except TinykitError as error:
        print(error, file=sys.stderr)
        return 1
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
