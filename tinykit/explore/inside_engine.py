"""Inside the engine: its techniques on and off, and what each does to time, memory and code.

Every combination is really built and run on the emulated core when it is first chosen (a second or
so, beside the main thread); after that it is remembered. Those one technique away are built while
nobody turns a knob.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tinykit.engine import PLAIN, Options
from tinykit.explore._engine_build import SMALLEST, Built, Step, Techniques, build
from tinykit.explore._engine_words import words
from tinykit.explore.explorer import Choice, Control, Explorer, File, Settings, Tick, Upload, quiet
from tinykit.graph.errors import TinykitError
from tinykit.plots import layer_bars, memory_map
from tinykit.plots.style import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.graph.ir import Graph

#: programs that are kept built
_KEPT = 64
#: an upload that computes more than this is not emulated: each turn would take most of a minute
_MOST_MACS = 30_000_000
_CORES = (
    ("cortex-m0plus", "Cortex-M0+"),
    ("cortex-m3", "Cortex-M3"),
    ("cortex-m4", "Cortex-M4"),
    ("cortex-m7", "Cortex-M7"),
    ("cortex-m33", "Cortex-M33"),
)
#: cores without instructions that multiply two halfwords at once
_NO_SIMD = ("cortex-m0plus", "cortex-m3")
#: setting → (strips, what becomes of the rows that two share), and what people read
_PATCHES = {
    "none": (None, "none"),
    "recompute-2": ((2, "recompute"), "2 strips, overlap recomputed"),
    "recompute-4": ((4, "recompute"), "4 strips, overlap recomputed"),
    "keep-2": ((2, "keep"), "2 strips, overlap kept"),
    "keep-4": ((4, "keep"), "4 strips, overlap kept"),
    "smallest": (SMALLEST, "what makes the smallest arena"),
}
_ON_OFF = ((True, "on"), (False, "off"))
_FUSE = ((True, "where it pays"), ("always", "always"), (False, "off"))
#: the knobs that are options of the engine
_TECHNIQUES = ("specialise", "simd", "unroll", "fuse", "in_place")


@dataclass(frozen=True)
class Inside:
    """A turn of the knobs.

    Attributes
    ----------
    chosen : what the knobs say
    techniques : what of it makes a difference on this core
    built : with the chosen techniques
    plain : with none: the kernels that all shapes share
    shown : number of the layer whose code is shown
    """

    model: str
    core: str
    chosen: Techniques
    techniques: Techniques
    built: Built
    plain: Built
    shown: int


class InsideEngine(Explorer[Inside]):
    """The explorer.

    Attributes
    ----------
    models : graphs by name; by default those that ship
    """

    name = "inside-engine"
    title = "Inside the engine"
    summary = "What in-place memory, SIMD, unrolling, fusion and patches do to a network on a chip"

    def __init__(self, models: Mapping[str, Graph] | None = None) -> None:
        self.models = dict(models) if models is not None else shipped()
        self._built: OrderedDict[tuple[str, str, Techniques], Built] = OrderedDict()
        self._uploads: OrderedDict[str, Graph] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def controls(self) -> tuple[Control, ...]:
        def technique(name: str, label: str, text: str) -> Choice:
            return Choice(name, label, _ON_OFF, True, "buttons", text)

        layers = max(len(graph.ops) for graph in self.models.values())
        return (
            Choice(
                "model", "Model", tuple((n, n) for n in self.models), next(iter(self.models)),
                "menu", "An int8 network",
            ),
            Choice("core", "Core", _CORES, "cortex-m4", "menu", "M0+ and M3 have no SIMD"),
            technique(
                "specialise", "Own kernels",
                "C written for each layer's shape; off: kernels that all shapes share",
            ),
            technique("simd", "SIMD", "Two multiply-accumulates in one instruction"),
            technique("unroll", "Unroll", "Inner loops written out, without counting and jumping"),
            Choice(
                "fuse", "Fuse", _FUSE, True, "buttons",
                "A depthwise and the pointwise convolution behind it in one pass",
            ),
            technique("in_place", "In place", "Outputs lie over inputs that nobody reads any more"),
            Choice(
                "patches", "Patches", tuple((name, text) for name, (_, text) in _PATCHES.items()),
                "none", "menu",
                "The first layers a strip of rows at a time",
            ),
            Choice(
                "layer", "Code of layer", tuple((i, str(i)) for i in range(layers)),
                min(2, layers - 1), "slider", "Whose C and assembly are shown",
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
        return all((key, core, t) in self._built for t in (effective(settings), _NONE))

    def compute(self, settings: Settings, tick: Tick = quiet) -> Inside:
        settings = self.settings(settings)
        core, file = settings["core"], settings["file"]
        graph = self._graph(settings, tick)
        wanted = effective(settings)
        title = dict(_CORES)[core]
        plain = self._program(settings, graph, _NONE, 0.1, f"shared kernels on a {title}", tick)
        built = self._program(settings, graph, wanted, 0.5, f"your choice on a {title}", tick)
        return Inside(
            file.name if file else settings["model"], title, chosen(settings), wanted, built,
            plain, min(settings["layer"], len(built.layers) - 1),
        )  # fmt: skip

    def prepare(self, settings: Settings, tick: Tick) -> None:
        """Build what one turn of a knob that stands for a technique leads to.

        But for the smallest arena, which can take many seconds to find.
        """
        graph = self._graph(settings, tick)
        for control in self.controls:
            if isinstance(control, Choice) and control.name in (*_TECHNIQUES, "patches"):
                for value in control.values:
                    if value != "smallest":
                        near = {**settings, control.name: value}
                        self._program(near, graph, effective(near), None, "", tick)

    def _key(self, settings: Settings) -> str:
        file = settings.get("file")
        return _digest(file) if file is not None else settings["model"]

    def _graph(self, settings: Settings, tick: Tick) -> Graph:
        file = settings["file"]
        if file is None:
            return self.models[settings["model"]]
        key = _digest(file)
        if key not in self._uploads:
            tick(0.02, f"reading {file.name}")
            self._uploads[key] = _checked(file)
            while len(self._uploads) > _KEPT // 8:
                self._uploads.popitem(last=False)
        return self._uploads[key]

    def _program(
        self, settings: Settings, graph: Graph, wanted: Techniques, share: float | None, what: str,
        tick: Tick,
    ) -> Built:  # fmt: skip
        key = self._key(settings), settings["core"], wanted
        with self._lock:
            known = self._built.get(key)
        if known is not None:
            return known
        tick(share, f"building {what}")
        made = build(
            graph, settings["core"], wanted,
            lambda _, doing, partial=None: tick(share, f"{doing} {what}"),
        )  # fmt: skip
        with self._lock:
            self._built[key] = made
            while len(self._built) > _KEPT:
                self._built.popitem(last=False)
        return made

    # -- figures, code and words ----------------------------------------------------------------

    def figures(self, result: Inside) -> dict[str, go.Figure]:
        built, plain = result.built, result.plain
        scale, prefix = (1e6, "million ") if plain.total >= 2e6 else (1e3, "thousand ")
        height = max(330, 150 + 22 * len(built.layers))
        return {
            "instructions": layer_bars(
                built.layers,
                [n / scale for n in built.instructions],
                title=f"Instructions of each layer, {short(built.total)} in all",
                subtitle=f"{result.model}; counted on an emulated {result.core}",
                unit=f"{prefix}instructions",
                reference=[n / scale for n in plain.instructions],
                reference_name="no technique",
                notes=[None if f is None else f"with layer {f}" for f in built.fused],
                height=height,
            ),
            "sram": memory_map(
                built.tensors,
                built.steps,
                limit_bytes=plain.arena_bytes,
                limit_name="arena with no technique",
                title=f"SRAM over time: an arena of {built.arena_bytes:,} B",
                subtitle=f"{result.model}; counted: planned arena",
                x_title=(
                    "number of the function that runs: one for each strip of a layer"
                    if built.patches
                    else "number of the layer that runs"
                ),
                numbers=None if built.patches else built.numbers,
                height=height,
            ),
            "kinds": self._kinds(result),
        }

    def _kinds(self, result: Inside) -> go.Figure:
        """What the instructions of the shown layer, and of those computed with it, do."""
        built, plain = result.built, result.plain
        leaders = [n if f is None else f for n, f in enumerate(built.fused)]
        ours = [n for n, leader in enumerate(leaders) if leader == leaders[result.shown]]
        macs = sum(built.macs[n] for n in ours)
        per = max(macs, 1)
        unit = "instructions a multiply-accumulate" if macs else "instructions"

        def each(program: Built) -> list[float]:
            kinds = program.kinds[ours[0]]
            return [sum(program.kinds[n][kind] for n in ours) / per for kind in kinds]

        now, before = each(built), each(plain)
        return layer_bars(
            list(built.kinds[ours[0]]),
            now,
            title=f"{' and '.join(built.layers[n] for n in ours)}: {short(sum(now))} {unit}",
            subtitle=f"{macs:,} multiply-accumulates; counted on an emulated {result.core}",
            unit=unit,
            reference=before,
            reference_name=f"no technique, {short(sum(before))} in all",
            y_title="kind of instruction",
            height=300,
        )

    def panels(self, result: Inside) -> dict[str, str]:
        step = self.shown(result)
        return {
            f"Layer {result.shown}: C of {step.name}": f"// {step.schedule}\n{step.c}",
            f"{result.core} assembly, {step.instructions:,} instructions run: how often each, "
            "▌ the busiest": step.assembly,
        }

    @staticmethod
    def shown(result: Inside) -> Step:
        return result.built.code[result.shown]

    def text(self, result: Inside) -> str:
        return words(
            result.model, result.core, result.chosen, result.techniques, result.built, result.plain
        )


_NONE = Techniques(PLAIN, None)


def chosen(settings: Settings) -> Techniques:
    """What the knobs say."""
    on: dict[str, Any] = {name: bool(settings[name]) for name in _TECHNIQUES}
    options = Options(**on)
    return Techniques(options, _PATCHES[settings["patches"]][0], settings["fuse"] == "always")


def effective(settings: Settings) -> Techniques:
    """What of the choice makes a difference, so that nothing is built twice.

    Only kernels of a layer's own use SIMD, are unrolled or fuse, and SIMD needs a core that has it.
    """
    wanted = chosen(settings)
    options = wanted.options
    if not options.specialise:
        options = replace(options, simd=False, unroll=False, fuse=False)
    if settings["core"] in _NO_SIMD:
        options = replace(options, simd=False)
    return replace(wanted, options=options, always=wanted.always and options.fuse)


def _checked(file: File) -> Graph:
    """The model in a file that somebody dropped in.

    Raises
    ------
    TinykitError
        Damaged, no ops, ops that tinykit lacks, or too much to emulate while somebody waits.
    """
    from tinykit.formats import tflite

    graph = tflite.read(file.content)
    if not graph.ops:
        raise TinykitError(f"{file.name} computes nothing: it has no ops")
    if graph.unsupported:
        kinds = ", ".join(sorted({op.kind for _, op in graph.unsupported}))
        raise TinykitError(f"{file.name} cannot be built: tinykit lacks {kinds}")
    if graph.macs > _MOST_MACS:
        raise TinykitError(
            f"{file.name} takes {graph.macs:,} multiply-accumulates; at most {_MOST_MACS:,} are "
            "emulated here. `tinykit profile` on the command line has more patience."
        )
    return graph


def _digest(file: File) -> str:
    return hashlib.sha256(file.content).hexdigest()


def shipped() -> dict[str, Graph]:
    """The networks that ship for this explorer, by title (``datasets/inside_engine``).

    Raises
    ------
    TinykitError
        The installation lacks them.
    """
    from tinykit.formats import tflite

    folder = files("tinykit.explore") / "models"
    try:
        record: dict[str, Any] = json.loads((folder / "models.json").read_text("utf-8"))["models"]
        return {
            about["title"]: tflite.read((folder / f"{name}.tflite").read_bytes())
            for name, about in record.items()
        }
    except (OSError, ValueError, KeyError) as error:
        raise TinykitError(
            f"the models of this explorer are missing ({error}): install tinykit again"
        ) from None
