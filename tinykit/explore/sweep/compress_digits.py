"""The table of "Compress and deploy": DS-CNNs on digits by width, pruning and weight bits.

For each seed and width a float network is trained once; pruning starts from it, quantization from
what pruning left. Accuracy is measured on the test split with the graph that would be deployed, for
every seed; flash, SRAM and instructions are counted on every core of the device catalogue with the
first seed's networks.

Counts change with the engine, accuracies do not: the trained networks of the first seed are kept
in the repository (`ARCHIVE`), and `recount` counts those again.
"""

from __future__ import annotations

import io
import json
import logging
import lzma
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinykit import data, targets
from tinykit.compress import Prune, Quantize, compress
from tinykit.engine import arrange
from tinykit.engine.cycles import NOTHING
from tinykit.explore._table import FORMAT, flash_key
from tinykit.explore.sweep import versions
from tinykit.graph import fileio
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import default_epochs, fit
from tinykit.nn.zoo import ds_cnn
from tinykit.plots.memory import lives
from tinykit.quant import to_graph
from tinykit.targets.accuracy import evaluate
from tinykit.targets.counts import constant_bytes_by_op, count

if TYPE_CHECKING:
    from torch import nn

    from tinykit.data.types import Dataset
    from tinykit.graph.ir import Graph

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2)
WIDTHS = (0.25, 0.5, 1.0, 1.5)
PRUNINGS = (0.0, 0.4, 0.6, 0.8)
#: the smallest unpruned int8 network of the first seed
SAMPLE = "w0.25_p0_b8ptq_s0"
#: (weight bits, method)
KINDS = ((32, ""), (8, "ptq"), (8, "qat"), (4, "ptq"), (4, "qat"))
#: what training gives of a row; the rest is counted
_TRAINED = ("width", "pruning", "bits", "method", "accuracies")
#: epochs of fine-tuning after pruning, and of quantization-aware training
PRUNE_EPOCHS, QAT_EPOCHS = 14, 8
#: the first seed's networks, and every network's accuracy
ARCHIVE = Path(__file__).parents[3] / "datasets" / "compress_digits" / "networks.tar.xz"
_PACKAGES = ("torch-pruning", "unicorn", "ziglang")


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    digits = data.load("digits")
    rows: dict[tuple[float, float, int, str], dict[str, Any]] = {}
    for seed in seeds:
        for width in WIDTHS:
            for key, row in _family(digits, width, seed, work, first=seed == seeds[0]):
                if key in rows:
                    rows[key]["accuracies"] += row["accuracies"]
                else:
                    rows[key] = row
    if ARCHIVE.parent.is_dir():
        _pack(work, seeds)
    return {"format": FORMAT, "about": _about(digits, seeds), "nets": list(rows.values())}


def recount(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table with the networks that are trained already, counted with today's engine.

    Raises
    ------
    TinykitError
        This is no clone of the repository, which has them.
    """
    if not ARCHIVE.is_file():
        raise TinykitError(
            f"{ARCHIVE} is missing: recount in a clone of the repository, or train the networks "
            "(without --recount)"
        )
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(work, filter="data")
    for known in work.glob("*.json"):
        row = json.loads(known.read_text())
        known.write_text(json.dumps({k: row[k] for k in _TRAINED}))
    return run(work, seeds)


def _pack(work: Path, seeds: tuple[int, ...]) -> None:
    """Write `ARCHIVE`; the same networks give the same file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted(work.iterdir()):
            seed = path.stem.rpartition("_s")[2]
            if path.suffix == ".json":
                row = json.loads(path.read_text())
                raw = json.dumps({k: row[k] for k in _TRAINED}).encode()
            elif path.suffix == ".tflite" and seed == str(seeds[0]):
                raw = path.read_bytes()
            else:
                continue
            entry = tarfile.TarInfo(path.name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    ARCHIVE.write_bytes(lzma.compress(content.getvalue(), preset=9))


def _family(
    digits: Dataset, width: float, seed: int, work: Path, *, first: bool
) -> Iterator[tuple[tuple[float, float, int, str], dict[str, Any]]]:
    """All networks that stem from one trained float network."""
    trained: nn.Module | None = None
    for pruning in PRUNINGS:
        pruned: nn.Module | None = None
        for bits, method in KINDS:
            key = (width, pruning, bits, method)
            name = f"w{width:g}_p{pruning:g}_b{bits}{method}_s{seed}"
            model, known = work / f"{name}.tflite", work / f"{name}.json"
            row = json.loads(known.read_text()) if known.exists() else {}
            if "accuracies" not in row:
                started = time.monotonic()
                if trained is None:
                    trained = ds_cnn(digits.spec, width, seed=seed)
                    fit(trained, digits, seed=seed, progress=False)
                if pruned is None:
                    pruned = compress(
                        trained, digits, Prune(pruning, epochs=PRUNE_EPOCHS),
                        seed=seed, progress=False,
                    )  # fmt: skip
                graph = _graph(pruned, digits, bits, method, seed)
                graph.save(str(model))
                row = {
                    "width": width, "pruning": pruning, "bits": bits, "method": method,
                    "accuracies": [round(evaluate(graph, digits), 6)],
                }  # fmt: skip
                known.write_text(json.dumps(row))
                log.info("%s: %.4f, %.1f s", name, row["accuracies"][0],
                         time.monotonic() - started)  # fmt: skip
            if first and "cores" not in row:
                row |= costs(fileio.load(str(model)))
                known.write_text(json.dumps(row))
                log.info("%s: counted", name)
            yield key, row


def _graph(pruned: nn.Module, digits: Dataset, bits: int, method: str, seed: int) -> Graph:
    if bits == 32:
        return to_graph(pruned, shape=digits.spec.shape)
    scheme = Quantize(bits=bits, method=method, epochs=QAT_EPOCHS if method == "qat" else None)
    small = compress(pruned, digits, scheme, seed=seed, progress=False)
    return to_graph(small, calibrate=digits)


def costs(graph: Graph) -> dict[str, Any]:
    """What the explorer shows of a graph: its layers, its counts and memory plan on each core."""
    cores: dict[str, Any] = {}
    for core in dict.fromkeys(board.core.name for board in targets.boards()):
        found, program = count(graph, core), arrange(graph, core)
        if found.missing:
            raise ValueError(f"the engine lacks ops of this network: {found.missing}")
        cores[core] = {
            "instructions": found.instructions, "per_op": list(found.per_op),
            "code": found.code_bytes, "constants": found.constant_bytes, "data": found.data_bytes,
            "stack": found.stack_bytes, "static": found.static_bytes,
            "live_bytes": list(program.plan.live_bytes),
            "tensors": [list(asdict(life).values()) for life in lives(program)],
            "arena_bytes": program.plan.arena_bytes,
            "cycles": _cycles(graph, core),
        }  # fmt: skip
    return {
        "layers": [f"{i}:{op.kind}" for i, op in enumerate(graph.ops)],
        "macs": [graph.op_macs(i) for i in range(len(graph.ops))],
        "constant_bytes": constant_bytes_by_op(graph),
        "cores": cores,
    }


def _cycles(graph: Graph, core: str) -> dict[str, list[float]]:
    """Modelled cycles (middle, low, high) for each way in which a board reads its flash."""
    made: dict[str, list[float]] = {}
    for board in targets.boards():
        key = flash_key(board)
        if board.core.name == core and key not in made:
            found = count(graph, core, board.flash_timing).cycles
            if found is not None:
                total = sum((c for c in found if c is not None), NOTHING)
                made[key] = [total.middle, total.low, total.high]
    return made


def _about(digits: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep compress_digits",
        "data": "digits",
        "test_examples": len(digits.test),
        "network": "ds_cnn",
        "seeds": list(seeds),
        "counted_with": f"networks of seed {seeds[0]}",
        "training": (
            f"float: {default_epochs(digits)} epochs from scratch; pruning: whole channels by "
            f"magnitude, share of all weights, {PRUNE_EPOCHS} epochs of fine-tuning; QAT: "
            f"{QAT_EPOCHS} epochs; PTQ: 200 calibration images"
        ),
        "versions": versions(*_PACKAGES),
    }
