"""Compress and deploy: what width, pruning, weight bits and the board do to one small network.

The networks were trained, compressed and run on emulated cores beforehand
(`tinykit.explore.sweep.compress_digits`), so that a knob answers at once: `compute` looks up and
does the board's arithmetic. A model of one's own is profiled when it is dropped in.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tinykit import targets
from tinykit.explore import _table
from tinykit.explore._deployment import Deployment, fit_on, from_graph, from_table
from tinykit.explore._readout import readout
from tinykit.explore.explorer import Choice, Control, Explorer, File, Settings, Tick, Upload, quiet
from tinykit.plots import Candidate, layer_bars, memory_map, pareto_front, tradeoff
from tinykit.plots.style import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.graph.ir import Graph
    from tinykit.targets.boards import Board

#: models dropped in by one person that are kept profiled
_KEPT = 8


@dataclass(frozen=True)
class Outcome:
    """What a turn of the knobs comes to.

    Attributes
    ----------
    shown : what the layer bars and the memory map show: the chosen network, or the file
    chosen : the network that the knobs choose, on the board
    net, nets : its row in the table; all rows
    fits : for each of `nets`, whether it fits the board
    better : of the networks that fit, one that is smaller and at least as accurate as the
        chosen one; None when there is none
    """

    board: Board
    table: _table.Table
    net: _table.Net
    nets: tuple[_table.Net, ...]
    fits: tuple[bool, ...]
    chosen: Deployment
    better: _table.Net | None
    upload: Deployment | None = None
    ignored: tuple[str, ...] = field(default=())

    @property
    def shown(self) -> Deployment:
        return self.upload or self.chosen


class CompressDeploy(Explorer[Outcome]):
    """The explorer; `table` is the shipped one unless another is given."""

    name = "compress-deploy"
    title = "Compress and deploy"
    summary = "What compression does to a network's accuracy, memory and speed on a chip"

    def __init__(self, table: _table.Table | None = None) -> None:
        self.table = table or _table.load()
        self._profiled: OrderedDict[tuple[str, str], Deployment] = OrderedDict()
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def controls(self) -> tuple[Control, ...]:
        widths, prunings = self.table.values("width"), self.table.values("pruning")
        bits = sorted(self.table.values("bits"), reverse=True)
        return (
            Choice(
                "width", "Width", tuple((w, f"{w:g}×") for w in widths),
                1.0 if 1.0 in widths else widths[-1], "slider",
                "Multiplies the number of channels of every layer",
            ),
            Choice(
                "pruning", "Pruning", tuple((p, f"{p:.0%}") for p in prunings),
                prunings[0], "slider",
                "Share of each layer's channels that is removed before training goes on",
            ),
            Choice(
                "bits", "Weight bits",
                tuple((b, "float 32" if b == 32 else f"int {b}") for b in bits),
                8 if 8 in bits else bits[0], "buttons", "Number format of the weights",
            ),
            Choice(
                "method", "Quantize",
                (("ptq", "after training (PTQ)"), ("qat", "while training (QAT)")),
                "ptq", "buttons", "Post-training quantization or quantization-aware training",
            ),
            Choice(
                "board", "Board",
                tuple((b.name, b.about) for b in targets.boards()),
                "stm32f446", "menu", "Its core, clock and memories are the limits",
            ),
            Upload(
                "model", "Your own .tflite", ".tflite", 8_000_000,
                "profiled on the board; its accuracy stays unknown",
            ),
        )  # fmt: skip

    # -- compute --------------------------------------------------------------------------------

    def instant(self, settings: Settings) -> bool:
        file = settings.get("model")
        if file is None:
            return True
        return (_digest(file), settings["board"]) in self._profiled

    def compute(self, settings: Settings, tick: Tick = quiet) -> Outcome:
        settings = self.settings(settings)
        board = targets.load(settings["board"])
        bits = settings["bits"]
        key = (
            settings["width"],
            settings["pruning"],
            bits,
            "" if bits == 32 else settings["method"],
        )
        net = self.table.nets[key]
        nets = tuple(self.table.nets.values())
        fits = tuple(fit_on(other, board).fits for other in nets)
        file = settings["model"]
        return Outcome(
            board=board,
            table=self.table,
            net=net,
            nets=nets,
            fits=fits,
            chosen=from_table(net, board),
            better=_better(net, nets, fits, board.core.name),
            upload=None if file is None else self._profile(file, board, tick),
            ignored=("method",) if bits == 32 else (),
        )

    def _profile(self, file: File, board: Board, tick: Tick) -> Deployment:
        from tinykit.formats import tflite

        key = _digest(file)
        with self._lock:
            done = self._profiled.get((key, board.name))
            graph = self._graphs.get(key)
        if done is not None:
            return done
        if graph is None:
            tick(0.05, f"reading {file.name}")
            graph = tflite.read(file.content)
        tick(None, f"building {file.name} and running it on an emulated {board.core.title}")
        done = from_graph(graph, board, file.name)
        with self._lock:
            # The graph is kept: counts for a core are remembered as long as it lives.
            self._graphs[key] = graph
            self._profiled[key, board.name] = done
            while len(self._graphs) > _KEPT:
                self._graphs.popitem(last=False)
            while len(self._profiled) > 4 * _KEPT:
                self._profiled.popitem(last=False)
        tick(1.0, "done")
        return done

    # -- figures and words ----------------------------------------------------------------------

    def figures(self, result: Outcome) -> dict[str, go.Figure]:
        core = result.board.core
        half_an_image = 50 / result.table.about["test_examples"]
        chosen = next(i for i, net in enumerate(result.nets) if net is result.net)
        shown = result.shown

        def figure(
            cost: Any, title: str, subtitle: str, axis: str, mark: float | None
        ) -> go.Figure:
            costs = [cost(net) for net in result.nets]
            candidates = [
                Candidate(c, 100 * net.accuracy, net.kind, _tip(net, core.name), fits)
                for c, net, fits in zip(costs, result.nets, result.fits, strict=True)
            ]
            return tradeoff(
                candidates, title=title, subtitle=subtitle, cost_axis=axis,
                score_axis="test accuracy in %", finest=half_an_image, chosen=chosen, height=370,
                marks={"your file, accuracy unknown": mark} if mark else None,
            )  # fmt: skip

        flash = result.upload.flash_bytes if result.upload else None
        steps = result.upload.total_instructions if result.upload else None
        seeds = len(result.table.seeds)
        measured = (
            f"accuracy measured (mean of {seeds} seeds; axis: log of the errors)"
            if seeds > 1
            else "accuracy measured (axis: log of the errors)"
        )
        return {
            "flash": figure(
                lambda net: net.cores[core.name].flash_bytes / 1024,
                "Accuracy against flash size",
                f"{measured}; flash counted in the linked image for {core.title}",
                "flash in KiB (log scale)",
                flash and flash / 1024,
            ),
            "instructions": figure(
                lambda net: net.cores[core.name].instructions / 1e6,
                "Accuracy against instructions",
                f"{measured}; instructions counted on an emulated {core.title}",
                "million instructions for one inference (log scale)",
                steps and steps / 1e6,
            ),
            "layers": _layers(shown, core.title),
            "sram": memory_map(
                shown.tensors,
                shown.layers,
                limit_bytes=result.board.sram_bytes,
                limit_name=f"SRAM of {result.board.title}",
                extra_bytes=shown.extra_bytes,
                title="SRAM: which tensor lives when",
                subtitle=f"{shown.name}; counted: planned arena, stack seen on the emulator",
            ),
        }

    def text(self, result: Outcome) -> str:
        return readout(result)


def _layers(shown: Deployment, core: str) -> go.Figure:
    if shown.total_instructions is None:
        values, unit, how = shown.macs, "MACs", "counted from the shapes"
    else:
        values, unit, how = shown.instructions, "instructions", f"counted on an emulated {core}"
    total = sum(v or 0 for v in values)
    scale, prefix = (1e6, "million ") if total >= 2e6 else (1e3, "thousand ")
    return layer_bars(
        shown.layers,
        [None if v is None else v / scale for v in values],
        title=f"{unit[0].upper()}{unit[1:]} of each layer, {short(total)} in all",
        subtitle=f"{shown.name}; {how}",
        unit=prefix + unit,
        height=max(330, 120 + 22 * len(shown.layers)),
    )


def _tip(net: _table.Net, core: str) -> str:
    cost = net.cores[core]
    return (
        f"{net.label}<br>accuracy {net.accuracy:.1%}<br>flash {cost.flash_bytes / 1024:.1f} KiB, "
        f"{short(cost.instructions)} instructions"
    )


def _better(
    net: _table.Net, nets: tuple[_table.Net, ...], fits: tuple[bool, ...], core: str
) -> _table.Net | None:
    """The most accurate network that fits, is no larger than `net` and no less accurate."""
    size = net.cores[core].flash_bytes
    rivals = [
        other
        for other, fit in zip(nets, fits, strict=True)
        if fit
        and other.cores[core].flash_bytes <= size
        and other.accuracy >= net.accuracy
        and (other.cores[core].flash_bytes < size or other.accuracy > net.accuracy)
    ]
    if not rivals:
        return None
    front = pareto_front(
        [other.cores[core].flash_bytes for other in rivals], [other.accuracy for other in rivals]
    )
    return rivals[front[-1]]


def _digest(file: File) -> str:
    return hashlib.sha256(file.content).hexdigest()
