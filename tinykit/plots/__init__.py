"""Pure functions from results to Plotly figures: every axis has a unit, every number its origin."""

from tinykit.plots.layers import layer_bars, layer_costs
from tinykit.plots.memory import Life, lives, memory_map
from tinykit.plots.pruning import Curve, kept_weights, sensitivity_curves, shares, weight_histogram
from tinykit.plots.quantization import (
    accuracy_bars,
    channel_ranges,
    error_curve,
    level_histogram,
)
from tinykit.plots.style import OKABE_ITO, figure
from tinykit.plots.tradeoff import Candidate, pareto_front, tradeoff

__all__ = [
    "OKABE_ITO",
    "Candidate",
    "Curve",
    "Life",
    "accuracy_bars",
    "channel_ranges",
    "error_curve",
    "figure",
    "kept_weights",
    "layer_bars",
    "layer_costs",
    "level_histogram",
    "lives",
    "memory_map",
    "pareto_front",
    "sensitivity_curves",
    "shares",
    "tradeoff",
    "weight_histogram",
]
