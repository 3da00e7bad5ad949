"""Pure functions from results to Plotly figures: every axis has a unit, every number its origin."""

from tinykit.plots.engines import seconds_by_rounds
from tinykit.plots.federation import (
    device_classes,
    device_sizes,
    own_labels,
    partition,
)
from tinykit.plots.layers import layer_bars, layer_costs
from tinykit.plots.memory import Life, lives, memory_map
from tinykit.plots.plane import plane
from tinykit.plots.pruning import Curve, kept_weights, sensitivity_curves, shares, weight_histogram
from tinykit.plots.quantization import (
    accuracy_bars,
    channel_ranges,
    error_curve,
    level_histogram,
)
from tinykit.plots.rounds import ByRound, by_round, holdings, sorted_devices
from tinykit.plots.style import OKABE_ITO, figure
from tinykit.plots.sums import Point, by_step, file_parts, size_error
from tinykit.plots.system_cost import Setting, energy_by_phase, round_timeline, setting_costs
from tinykit.plots.tradeoff import Candidate, pareto_front, tradeoff
from tinykit.plots.uplink import (
    accuracy_by_bytes,
    accuracy_by_epsilon,
    what_the_server_sees,
)
from tinykit.plots.views import own_views

__all__ = [
    "OKABE_ITO",
    "ByRound",
    "Candidate",
    "Curve",
    "Life",
    "Point",
    "Setting",
    "accuracy_bars",
    "accuracy_by_bytes",
    "accuracy_by_epsilon",
    "by_round",
    "by_step",
    "channel_ranges",
    "device_classes",
    "device_sizes",
    "energy_by_phase",
    "error_curve",
    "figure",
    "file_parts",
    "holdings",
    "kept_weights",
    "layer_bars",
    "layer_costs",
    "level_histogram",
    "lives",
    "memory_map",
    "own_labels",
    "own_views",
    "pareto_front",
    "partition",
    "plane",
    "round_timeline",
    "seconds_by_rounds",
    "sensitivity_curves",
    "setting_costs",
    "shares",
    "size_error",
    "sorted_devices",
    "tradeoff",
    "weight_histogram",
    "what_the_server_sees",
]
