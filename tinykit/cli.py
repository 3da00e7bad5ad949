"""The ``tinykit`` command.

Exit status: 0 done, 1 not verified (a difference, or a backend that could not run), 2 a mistake
that one line explains, 70 a bug in tinykit (``--debug`` shows its traceback), 130 interrupted, 141
the reader of the output went away.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinykit import __version__
from tinykit.graph.errors import TinykitError

MISTAKE, BUG, INTERRUPTED, PIPE_CLOSED = 2, 70, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name); the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if "run" not in args:
        parser.print_help()
        return MISTAKE
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.WARNING, format="%(name)s: %(message)s"
    )
    try:
        status = args.run(args)
        sys.stdout.flush()
        return int(status or 0)
    except BrokenPipeError:
        # `tinykit ... | head`: keep the interpreter from complaining when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        print("tinykit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (TinykitError, OSError) as error:
        if args.debug:
            raise
        print(f"tinykit: {explain(error)}", file=sys.stderr)
        return MISTAKE
    except Exception as error:
        if args.debug:
            raise
        if isinstance(error, ImportError) and (package := package_of(error)):
            print(
                f"tinykit: the package {package} is missing or does not load "
                f"({one_line(str(error))}): pip install --force-reinstall {package}",
                file=sys.stderr,
            )
            return MISTAKE
        print(
            f"tinykit: a bug in tinykit: {type(error).__name__}: {one_line(str(error))} "
            "(the same command with --debug shows where)",
            file=sys.stderr,
        )
        return BUG


def explain(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename is not None:
        return f"{error.filename} is a file; a folder is needed there"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return one_line(str(error)) or type(error).__name__


def package_of(error: ImportError) -> str:
    """The package of others that could not be imported; "" when it is one of our own modules."""
    package = (error.name or "").partition(".")[0]
    return "" if package == "tinykit" else package.replace("_", "-")


def one_line(text: str) -> str:
    return " ".join(text.split())


# -- the commands -----------------------------------------------------------------------------


def cmd_profile(args: argparse.Namespace) -> int:
    from tinykit.targets import profile

    result = profile(args.model, args.target)
    print(result.to_json() if args.json else result)
    return 0


def cmd_verify(args: argparse.Namespace) -> int:
    from tinykit.targets.verify import verify

    with progress_bar(args.json) as progress:
        report = verify(
            args.model, args.samples, args.seed, progress=progress, extras=not args.quick
        )
    print(json.dumps(report.to_dict(), indent=2) if args.json else report)
    return 0 if report.ok else 1


def cmd_boards(args: argparse.Namespace) -> int:
    from tinykit.targets import boards, load
    from tinykit.targets.describe import describe_board, list_boards

    chosen = [load(args.name)] if args.name else boards()
    if args.json:
        rows = [board.to_dict() for board in chosen]
        print(json.dumps(rows[0] if args.name else rows, indent=2))
    elif args.name:
        print(describe_board(chosen[0]))
    else:
        print(list_boards(chosen))
        print("\n`tinykit boards NAME` shows where each number comes from.")
    return 0


def cmd_info(args: argparse.Namespace) -> int:
    if args.model is None:
        from tinykit.demo.tools import describe_tools

        print(describe_tools())
        return 0
    from tinykit.graph.fileio import load
    from tinykit.targets.describe import describe

    print(describe(load(args.model), args.model))
    return 0


def cmd_compile(args: argparse.Namespace) -> int:
    from tinykit.targets.compiled import compile_graph, schedules_of

    folder = Path(args.out)
    if folder.is_dir() and any(folder.iterdir()) and not args.force:
        raise TinykitError(
            f"the folder {folder} is not empty; name another, or write into it with --force"
        )
    if folder.exists() and not folder.is_dir():
        raise TinykitError(f"{folder} is a file; a folder is needed")
    options = schedules_of(args.schedules, args.target) if args.schedules else None
    compiled = compile_graph(args.model, args.target, args.sram_limit, options)
    compiled.write(folder, args.prefix)
    print(compiled)
    print(f"C, an example and a README are in {folder}")
    return 0


def cmd_tune(args: argparse.Namespace) -> int:
    from tinykit.engine.cores import find_core
    from tinykit.graph.fileio import load
    from tinykit.search import tune
    from tinykit.search.tuning import rows_at
    from tinykit.targets import load as load_board

    with progress_bar(args.json) as progress:
        graphs = [load(path) for path in args.model]
        board = load_board(args.board) if args.board else None
        if args.out:  # before the search, which may take long
            rows_at(Path(args.out), find_core(board.core.name if board else args.core).name)
        tuning = tune(
            graphs, board.core.name if board else args.core, args.toolchain, progress=progress,
            objective=args.objective, budget=args.budget,
            flash=board.flash_timing if board else None,
        )  # fmt: skip
    if args.out:
        tuning.write(Path(args.out))
    print(json.dumps(tuning.to_dict(), indent=2) if args.json else tuning)
    return 1 if tuning.rejected else 0


def cmd_demo(args: argparse.Namespace) -> int:
    from tinykit.demo import run_demo

    run_demo(dataset=args.dataset, out=Path(args.out), target=args.target, seed=args.seed)
    if args.no_serve or os.environ.get("CI", "").lower() in ("1", "true") or not _on_terminal():
        return 0
    from tinykit.explore.app import serve

    print("\nStarting the explorer (Ctrl-C ends it) ...")
    return serve("compress-deploy")


def cmd_app(args: argparse.Namespace) -> int:
    from tinykit.explore.app import serve

    return serve(args.name, port=args.port, open_browser=not args.no_browser)


def cmd_lab(args: argparse.Namespace) -> int:
    import importlib.util

    if importlib.util.find_spec("jupyterlab") is None:
        raise TinykitError("JupyterLab is not installed: pip install jupyterlab")
    candidates = [Path(args.folder)] if args.folder else [
        Path("notebooks"), Path(__file__).resolve().parent.parent / "notebooks"
    ]  # fmt: skip
    folder = next((c.resolve() for c in candidates if c.is_dir()), None)
    if folder is None:
        raise TinykitError(
            "no folder of lessons here; run this in a clone of the repository, or name the folder: "
            "tinykit lab FOLDER"
        )
    command = [sys.executable, "-m", "jupyter", "lab"]
    # lessons link to each other across folders, so the server's root is the folder above
    first = next(iter(sorted(folder.glob("*.ipynb"))), folder)
    command.append(f"--ServerApp.root_dir={folder.parent}")
    command.append(f"--LabApp.default_url=/lab/tree/{first.relative_to(folder.parent).as_posix()}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # as in most containers; Jupyter refuses otherwise
    if args.port:
        command.append(f"--port={args.port}")
    if args.no_browser:
        command.append("--no-browser")
    os.execv(command[0], command)
    return 0


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


class progress_bar:
    """A progress callback on standard error; silent when that is not a terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet or not sys.stderr.isatty()
        self.bar: Any = None

    def __enter__(self) -> Callable[[int, int, str], None] | None:
        return None if self.quiet else self._tick

    def _tick(self, done: int, total: int, what: str) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, file=sys.stderr, leave=False)
        self.bar.set_description_str(what, refresh=False)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


# -- the parser -------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """The command line; each subcommand sets `run`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="tracebacks and log"
    )
    parser = argparse.ArgumentParser(
        prog="tinykit",
        description="Take a small neural network from a notebook to a chip.",
    )
    parser.add_argument("--version", action="version", version=f"tinykit {__version__}")
    parser.add_argument("--debug", action="store_true", help="tracebacks and log")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[common])
        sub.set_defaults(run=run)
        return sub

    sub = command("demo", cmd_demo, "the main job: train, compress, deploy, compare, report")
    sub.add_argument("--dataset", help="digits or fashion_mnist (default: the best at hand)")
    sub.add_argument("--target", default="stm32f446", help="board (default %(default)s)")
    sub.add_argument("--out", default="report", help="folder of the report (default %(default)s)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--no-serve", action="store_true", help="end after the report")

    sub = command("profile", cmd_profile, "what a model costs on a board, layer by layer")
    sub.add_argument("model", help="a .tflite file")
    sub.add_argument("--target", default="stm32f446", help="board (default %(default)s)")
    sub.add_argument("--json", action="store_true")

    sub = command("verify", cmd_verify, "compare every backend with TFLite Micro, bit for bit")
    sub.add_argument("model", help="a .tflite file")
    sub.add_argument("--samples", type=int, default=100, help="inputs (default %(default)s)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--quick", action="store_true", help="leave out gcc, QEMU and LiteRT")
    sub.add_argument("--json", action="store_true")

    sub = command("boards", cmd_boards, "the device catalogue, or one board with its sources")
    sub.add_argument("name", nargs="?")
    sub.add_argument("--json", action="store_true")

    sub = command("info", cmd_info, "what a model file holds; without a file: tools and versions")
    sub.add_argument("model", nargs="?", help="a .tflite file")

    sub = command("compile", cmd_compile, "write a model as C, within a limit of SRAM")
    sub.add_argument("model", help="a .tflite file")
    sub.add_argument("--target", default="stm32f446", help="board or core (default %(default)s)")
    sub.add_argument(
        "--sram-limit",
        metavar="BYTES",
        help="what the arena may take, also 32K or 32KiB (default: the board's SRAM)",
    )
    sub.add_argument("-o", "--out", default="generated", help="folder (default %(default)s)")
    sub.add_argument("--prefix", default="model", help="of files and symbols (default %(default)s)")
    sub.add_argument("--schedules", help="a table that `tinykit tune --out` wrote, to go by")
    sub.add_argument("--force", action="store_true", help="write into a folder that has files")

    sub = command("tune", cmd_tune, "search the fastest kernel schedule for each layer of models")
    sub.add_argument("model", nargs="+", help=".tflite files")
    sub.add_argument("--core", default="cortex-m4", help="Cortex-M core (default %(default)s)")
    sub.add_argument("--board", help="in place of the core: a board, whose flash counts in cycles")
    sub.add_argument("--toolchain", default="zig", help="zig or gcc (default %(default)s)")
    sub.add_argument("--objective", default="instructions", help="or cycles (default %(default)s)")
    sub.add_argument(
        "--budget", type=int, metavar="N",
        help="try only the N schedules of a layer that a model ranks first (default: all)",
    )  # fmt: skip
    sub.add_argument("--out", help="a table of schedules (.json) to write, or to add to")
    sub.add_argument("--json", action="store_true")

    sub = command("app", cmd_app, "the explorers in the browser")
    sub.add_argument("name", nargs="?", help="of one, e.g. inside-engine (default: a page of all)")
    sub.add_argument("--port", type=int)
    sub.add_argument("--no-browser", action="store_true", help="only print the address")

    sub = command("lab", cmd_lab, "JupyterLab on the lessons")
    sub.add_argument("folder", nargs="?")
    sub.add_argument("--port", type=int)
    sub.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser


if __name__ == "__main__":
    sys.exit(main())
