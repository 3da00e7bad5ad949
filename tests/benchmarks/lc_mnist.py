"""LeNet300 on MNIST: the shipped table of LC runs against what was promised of it.

The table is made by ``python -m tinykit.explore.sweep lc_mnist`` (an hour); this only reads it.
Published figures: Idelbayev and Carreira-Perpiñán, arXiv:2005.07786, whose reference has 2.13 %.
"""

from __future__ import annotations

from statistics import mean

from tests.benchmarks._figure import Figure, at_most, plain
from tinykit.explore._lc_table import PUBLISHED
from tinykit.explore._shipped import stored
from tinykit.explore.sweep.lc_mnist import SCHEMES

#: scheme -> mean test error in % at most
PROMISED = {"two levels a layer": 2.6, "5 % of the weights": 2.2, "rank selection": 2.0}


def run() -> list[Figure]:
    table = stored("lc_mnist")
    errors: dict[tuple[str, str], list[float]] = {}
    sizes: dict[tuple[str, str], list[int]] = {}
    for row in table["rows"]:
        errors.setdefault((row["scheme"], row["method"]), []).append(row["error"])
        sizes.setdefault((row["scheme"], row["method"]), []).append(row["bytes"])
    seeds = len(table["about"]["seeds"])
    figures = [
        plain(f"reference, mean of {seeds} seeds", mean(errors["reference", "float32"]), "% error")
    ]
    for scheme in SCHEMES:
        limit, published = PROMISED.get(scheme), PUBLISHED.get(scheme)
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
