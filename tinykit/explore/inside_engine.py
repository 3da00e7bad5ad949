"""Inside the engine: its techniques on and off, and what each does to time, memory and code.

Every combination is really built and run on the emulated core when it is first chosen (a second or
so, beside the main thread); after that it is remembered.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tinykit.engine import PLAIN, Options
from tinykit.explore._engine_build import Built, Techniques, build
from tinykit.explore.explorer import Choice, Control, Explorer, File, Settings, Tick, Upload, quiet
from tinykit.graph.errors import TinykitError
from tinykit.plots import layer_bars, memory_map
from tinykit.plots.style import kib, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.graph.ir import Graph

#: programs that are kept built
_KEPT = 64
_CORES = (
    ("cortex-m0plus", "Cortex-M0+"),
    ("cortex-m3", "Cortex-M3"),
    ("cortex-m4", "Cortex-M4"),
    ("cortex-m7", "Cortex-M7"),
    ("cortex-m33", "Cortex-M33"),
)
_PATCHES = (
    (None, "none"),
    ((2, "recompute"), "2 strips, recompute"),
    ((4, "recompute"), "4 strips, recompute"),
    ((4, "keep"), "4 strips, keep rows"),
)
_ON_OFF = ((True, "on"), (False, "off"))


@dataclass(frozen=True)
class Inside:
    """A turn of the knobs.

    Attributes
    ----------
    built : with the chosen techniques
    plain : with none: the kernels that all shapes share
    shown : number of the step whose code is shown
    """

    model: str
    core: str
    techniques: Techniques
    built: Built
    plain: Built
    shown: int


class InsideEngine(Explorer[Inside]):
    """The explorer; `models` are graphs by name, by default those that ship."""

    name = "inside-engine"
    title = "Inside the engine"
    summary = "What in-place memory, SIMD, unrolling, fusion and patches do to a network on a chip"

    def __init__(self, models: Mapping[str, Graph] | None = None) -> None:
        self._models = dict(models) if models is not None else _shipped()
        self._built: OrderedDict[tuple[str, str, Techniques], Built] = OrderedDict()
        self._uploads: dict[str, Graph] = {}
        self._lock = threading.Lock()

    @property
    def controls(self) -> tuple[Control, ...]:
        def technique(name: str, label: str, text: str) -> Choice:
            return Choice(name, label, _ON_OFF, True, "buttons", text)

        steps = max(len(graph.ops) for graph in self._models.values())
        return (
            Choice(
                "model", "Model", tuple((n, n) for n in self._models), next(iter(self._models)),
                "menu", "An int8 network",
            ),
            Choice("core", "Core", _CORES, "cortex-m4", "menu", "M0+ and M3 have no SIMD"),
            technique("specialise", "Own kernels", "A kernel for each layer's shape, or shared ones"),
            technique("simd", "SIMD", "Two multiply-accumulates in one instruction"),
            technique("unroll", "Unroll", "Inner loops written out"),
            technique("fuse", "Fuse", "Depthwise and pointwise convolution in one pass"),
            technique("in_place", "In place", "Outputs may lie over inputs nobody reads any more"),
            Choice(
                "patches", "Patches", _PATCHES, None, "menu",
                "The first layers a strip of rows at a time",
            ),
            Choice(
                "layer", "Code of step", tuple((i, str(i)) for i in range(steps)),
                min(2, steps - 1), "slider", "Whose C and assembly are shown",
            ),
            Upload(
                "file", "Your own .tflite", ".tflite", 4_000_000, "an int8 model of your own"
            ),
        )  # fmt: skip

    # -- compute --------------------------------------------------------------------------------

    def instant(self, settings: Settings) -> bool:
        if settings.get("file") is not None and _digest(settings["file"]) not in self._uploads:
            return False
        key, core = self._key(settings), settings["core"]
        return all((key, core, t) in self._built for t in (_techniques(settings), _NONE))

    def compute(self, settings: Settings, tick: Tick = quiet) -> Inside:
        settings = self.settings(settings)
        key, core, wanted = self._key(settings), settings["core"], _techniques(settings)
        graph = self._graph(settings, tick)
        title = dict(_CORES)[core]
        plain = self._build(key, graph, core, _NONE, 0.1, f"shared kernels on a {title}", tick)
        built = self._build(key, graph, core, wanted, 0.5, f"your choice on a {title}", tick)
        file = settings["file"]
        return Inside(
            file.name if file else settings["model"], title, wanted, built, plain,
            min(settings["layer"], len(built.steps) - 1),
        )  # fmt: skip

    def _key(self, settings: Settings) -> str:
        file = settings.get("file")
        return _digest(file) if file is not None else settings["model"]

    def _graph(self, settings: Settings, tick: Tick) -> Graph:
        file = settings["file"]
        if file is None:
            return self._models[settings["model"]]
        key = _digest(file)
        if key not in self._uploads:
            from tinykit.formats import tflite

            tick(0.02, f"reading {file.name}")
            self._uploads[key] = tflite.read(file.content)
        return self._uploads[key]

    def _build(
        self, key: str, graph: Graph, core: str, wanted: Techniques, share: float, what: str,
        tick: Tick,
    ) -> Built:  # fmt: skip
        with self._lock:
            known = self._built.get((key, core, wanted))
        if known is not None:
            return known
        tick(share, f"building {what} and running it")
        made = build(graph, core, wanted)
        with self._lock:
            self._built[key, core, wanted] = made
            while len(self._built) > _KEPT:
                self._built.popitem(last=False)
        return made

    # -- figures, code and words ----------------------------------------------------------------

    def figures(self, result: Inside) -> dict[str, go.Figure]:
        built, plain = result.built, result.plain
        scale, prefix = (1e6, "million ") if plain.total >= 2e6 else (1e3, "thousand ")
        return {
            "instructions": layer_bars(
                built.layers,
                [n / scale for n in built.instructions],
                title=f"Instructions of each layer, {short(built.total)} in all",
                subtitle=f"{result.model}; counted on an emulated {result.core}",
                unit=f"{prefix}instructions",
                reference=[n / scale for n in plain.instructions],
                reference_name="shared kernels, no technique",
                height=max(330, 150 + 22 * len(built.layers)),
            ),
            "sram": memory_map(
                built.tensors,
                built.step_names,
                limit_bytes=plain.arena_bytes,
                limit_name="arena without any technique",
                title=f"SRAM: which tensor lives when, {kib(built.arena_bytes)} in all",
                subtitle=f"{result.model}; counted: planned arena",
                height=max(330, 150 + 22 * len(built.layers)),
            ),
        }

    def panels(self, result: Inside) -> dict[str, str]:
        step = result.built.steps[result.shown]
        name = result.built.step_names[result.shown]
        return {
            f"Step {result.shown}, {name}: C ({step.schedule})": step.c,
            f"Step {result.shown}, {name}: {result.core} assembly, "
            f"{step.instructions:,} instructions run": step.assembly,
        }

    def text(self, result: Inside) -> str:
        built, plain = result.built, result.plain
        arena = 1 - built.arena_bytes / plain.arena_bytes
        lines = [
            f"{short(built.total)} instructions an inference, {plain.total / built.total:.2f}× "
            f"fewer than the shared kernels' {short(plain.total)} (counted on an emulated "
            f"{result.core}).",
            f"Arena {kib(built.arena_bytes)}, {abs(arena):.0%} {'less' if arena >= 0 else 'more'} "
            f"than {kib(plain.arena_bytes)}; stack {kib(built.stack_bytes)}; flash "
            f"{kib(built.flash_bytes)} against {kib(plain.flash_bytes)} (all counted).",
        ]
        if built.recomputed:
            lines.append(
                f"The strips compute {built.recomputed:.0%} more multiply-accumulates: rows that "
                "two strips need are computed twice (counted)."
            )
        lines.append(
            "The outputs are the reference interpreter's, bit for bit."
            if built.exact
            else "The outputs DIFFER from the reference interpreter's: please report this."
        )
        return "\n".join(lines)


_NONE = Techniques(PLAIN, None)


def _techniques(settings: Settings) -> Techniques:
    names = ("specialise", "simd", "unroll", "fuse", "in_place")
    return Techniques(Options(**{n: settings[n] for n in names}), settings["patches"])


def _digest(file: File) -> str:
    return hashlib.sha256(file.content).hexdigest()


def _shipped() -> dict[str, Graph]:
    from tinykit.formats import tflite

    folder = files("tinykit.explore") / "tables"
    found: dict[str, Any] = {}
    for title, name in (("DS-CNN on digits", "compress_digits"),):
        file = folder / f"{name}.tflite"
        if file.is_file():
            found[title] = tflite.read(file.read_bytes())
    if not found:
        raise TinykitError("no model ships with this installation; make one with `make sweeps`")
    return found
