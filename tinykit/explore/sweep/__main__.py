"""``python -m tinykit.explore.sweep [NAME ...] [--recount] [--seeds 0 1 2] [--work FOLDER]``."""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import logging
import os
import pkgutil
import shutil
import sys
from pathlib import Path

from tinykit.explore import sweep
from tinykit.graph.errors import TinykitError


def main(argv: list[str] | None = None) -> int:
    there = [m.name for m in pkgutil.iter_modules(sweep.__path__) if not m.name.startswith("_")]
    parser = argparse.ArgumentParser(prog="python -m tinykit.explore.sweep")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(there)}")
    parser.add_argument(
        "--recount",
        action="store_true",
        help="keep the trained networks, and count again what the engine makes of them",
    )
    parser.add_argument("--seeds", nargs="+", type=int, help="default: those of each table")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build") / "sweeps",
        help="what is done already is kept here, so that a run can go on (default %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "tables")
    args = parser.parse_args(argv)
    if unknown := [n for n in args.names if n not in there]:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(there)}")
    # One thread: results do not depend on the number of cores, and small networks train no slower.
    os.environ["OMP_NUM_THREADS"] = "1"
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    failed = False
    for name in args.names or there:
        module = importlib.import_module(f"{sweep.__name__}.{name}")
        if args.recount and not hasattr(module, "recount"):
            continue  # what does not change with the engine has nothing to count again
        work = args.work / name
        work.mkdir(parents=True, exist_ok=True)
        make = module.recount if args.recount else module.run
        try:
            table = make(work, tuple(args.seeds or module.SEEDS))
        except TinykitError as error:
            # a table whose data is not to be had does not keep the others from being made
            sys.stderr.write(f"{name}: {error}\n")
            failed = True
            continue
        text = json.dumps(table, separators=(",", ":"), sort_keys=True).encode()
        args.out.mkdir(parents=True, exist_ok=True)
        # no time stamp in the gzip header: the same table is the same file
        (args.out / f"{name}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
        if hasattr(module, "SAMPLE"):
            for made in work.glob(f"{module.SAMPLE}.*"):
                if made.suffix in (".tflite", ".npz"):
                    shutil.copyfile(made, args.out / f"{name}{made.suffix}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
