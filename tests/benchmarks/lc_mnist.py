"""LeNet300 on MNIST: the shipped table of LC runs against what was promised of it.

The table is made by ``python -m tinykit.explore.sweep lc_mnist`` (an hour); this only reads it.
Published figures: Idelbayev and Carreira-Perpiñán, arXiv:2005.07786, whose reference has 2.13 %.
"""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from statistics import mean

from tests.benchmarks._figure import Figure, at_most, plain

#: scheme -> (mean test error in % at most, published)
PROMISED: dict[str, tuple[float | None, float | None]] = {
    "two levels a layer": (2.6, 2.56),
    "5 % of the weights": (2.2, 2.18),
    "rank selection": (2.0, 1.90),
    "rank selection, 4 times the price": (None, None),
    "two levels + 1 %": (None, 2.17),
    "1 % + rank 4 + two levels": (None, None),
}


def run() -> list[Figure]:
    packed = (files("tinykit.explore") / "tables" / "lc_mnist.json.gz").read_bytes()
    table = json.loads(gzip.decompress(packed))
    errors: dict[tuple[str, str], list[float]] = {}
    sizes: dict[tuple[str, str], list[int]] = {}
    for row in table["rows"]:
        errors.setdefault((row["scheme"], row["method"]), []).append(row["error"])
        sizes.setdefault((row["scheme"], row["method"]), []).append(row["bytes"])
    seeds = len(table["about"]["seeds"])
    figures = [
        plain(f"reference, mean of {seeds} seeds", mean(errors["reference", "float32"]), "% error")
    ]
    for scheme, (limit, published) in PROMISED.items():
        peer = {"name": "published", "value": published} if published else None
        error = mean(errors[scheme, "lc"])
        name = f"{scheme}: LC"
        figures.append(
            plain(name, error, "% error", peer)
            if limit is None
            else at_most(name, error, "% error", limit, peer)
        )
        spread = {"name": "largest less smallest", "value": _spread(errors[scheme, "lc"])}
        figures += [
            plain(f"{scheme}: LC, worst seed", max(errors[scheme, "lc"]), "% error", spread),
            plain(f"{scheme}: retrained for as long", mean(errors[scheme, "retrained"]), "% error"),
            plain(f"{scheme}: direct compression", mean(errors[scheme, "direct"]), "% error"),
            plain(
                f"{scheme}: file",
                round(mean(sizes[scheme, "lc"])),
                "bytes",
                {"name": "float32", "value": sizes["reference", "float32"][0]},
            ),
        ]
    return figures


def _spread(values: list[float]) -> float:
    return max(values) - min(values)
