"""A small explorer for lessons: the reader's own models, layer by layer, on a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinykit import targets
from tinykit.engine import arrange
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.graph import Graph
from tinykit.plots import layer_costs, lives, memory_map
from tinykit.targets import Profile

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Profiled:
    """One model on one board."""

    graph: Graph
    board: targets.Board
    profile: Profile


class LayerExplorer(Explorer[Profiled]):
    """Layer by layer: which model, which board.

    Parameters
    ----------
    models : mapping of str to Graph
    boards : names of boards, the first is shown first
    """

    name = "layers"
    title = "Layer by layer"
    summary = "What each layer of a model costs on a board"

    def __init__(self, models: Mapping[str, Graph], boards: Sequence[str]) -> None:
        self.models, self.boards = dict(models), tuple(boards)
        self._known: dict[tuple[str, str], Profile] = {}

    @property
    def controls(self) -> tuple[Control, ...]:
        named = tuple((name, targets.load(name).title) for name in self.boards)
        return (
            Choice(
                "model",
                "Model",
                tuple((name, name) for name in self.models),
                next(iter(self.models)),
                "buttons",
            ),
            Choice("board", "Board", named, self.boards[0], "buttons"),
        )

    def instant(self, settings: Settings) -> bool:
        return (settings["model"], settings["board"]) in self._known

    def compute(self, settings: Settings, tick: Tick = quiet) -> Profiled:
        settings = self.settings(settings)
        key = settings["model"], settings["board"]
        graph, board = self.models[key[0]], targets.load(key[1])
        if key not in self._known:
            tick(None, f"building {key[0]} and running it on an emulated {board.core.title}")
            self._known[key] = board.profile(graph, key[0])
        return Profiled(graph, board, self._known[key])

    def figures(self, result: Profiled) -> dict[str, go.Figure]:
        profile = result.profile
        return {
            "instructions": layer_costs(profile, "instructions"),
            "flash": layer_costs(profile, "flash_bytes"),
            "sram": memory_map(
                lives(arrange(result.graph, result.board.core.name)),
                [layer.name for layer in profile.layers],
                limit_bytes=result.board.sram_bytes,
                limit_name=f"SRAM of {result.board.title}",
                subtitle=f"{profile.model}; counted: planned arena",
            ),
        }

    def text(self, result: Profiled) -> str:
        p = result.profile
        parts = [
            f"{p.model} on {result.board.title}: {_count(p.flash_bytes)} B flash, "
            f"{_count(p.sram_bytes)} B SRAM, {_count(p.instructions)} instructions (counted)"
        ]
        if p.estimated_ms is not None:
            parts.append(f"about {p.estimated_ms:.3g} ms (modelled)")
        fit = str(p.fit or "")
        return "; ".join(parts) + ".\n" + fit[:1].upper() + fit[1:]


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,}"
