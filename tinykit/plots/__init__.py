"""Pure functions from results to Plotly figures: every axis has a unit, every number its origin."""

from tinykit.plots.layers import layer_bars, layer_costs
from tinykit.plots.memory import Life, lives, memory_map
from tinykit.plots.plane import plane
from tinykit.plots.style import OKABE_ITO, figure
from tinykit.plots.sums import Point, by_step, file_parts, size_error
from tinykit.plots.tradeoff import Candidate, pareto_front, tradeoff

__all__ = [
    "OKABE_ITO",
    "Candidate",
    "Life",
    "Point",
    "by_step",
    "figure",
    "file_parts",
    "layer_bars",
    "layer_costs",
    "lives",
    "memory_map",
    "pareto_front",
    "plane",
    "size_error",
    "tradeoff",
]
