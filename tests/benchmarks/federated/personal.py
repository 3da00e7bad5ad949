"""Personalised learning where labels mean something else on every device: the shipped table."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

from tests.benchmarks._figure import Figure, at_least, plain
from tinykit.explore._shipped import stored

Rows = list[dict[str, Any]]
SHARES = (1.0, 0.1, 0.01)
CUSTOMISED = ("PFLDyn, MAML", "PFLDyn, prototypes", "PFLScaf, MAML", "PFLScaf, prototypes")


def run() -> list[Figure]:
    rows: Rows = stored("personalised")["rows"]
    seeds = sorted({row["seed"] for row in rows})
    alone = mean(best(row) for row in rows if row["method"] == "alone")
    figures = [plain("devices on their own: accuracy (digits, ALID, 100 devices)", alone, "%")]
    for share in SHARES:
        tuned = _of(rows, "FedAvg", share, seeds)
        name = f"{share:.0%} a round"
        figures.append(plain(f"fine-tuned FedAvg, {name}: accuracy", mean(tuned), "%"))
        for method in CUSTOMISED:
            gains = [a - b for a, b in zip(_of(rows, method, share, seeds), tuned, strict=True)]
            what = f"{method}, {name}: gain over the best fine-tuning of FedAvg"
            figures.append(plain(f"{what}, mean (s.d. {stdev(gains):.1f})", mean(gains), "points"))
            count = sum(gain > 0 for gain in gains)
            if method.startswith("PFLDyn"):
                most = len(seeds) // 2 + 1
                figures.append(at_least(f"{what}: seeds above 0", count, f"of {len(seeds)}", most))
    return figures


def best(row: dict[str, Any]) -> float:
    """Accuracy in %, customised in its own way or by the best of the fine-tunings, at the end."""
    return 100 * max(row["accuracy"][-1], *row.get("tuned", {"": 0.0}).values())


def _of(rows: Rows, method: str, share: float, seeds: list[int]) -> list[float]:
    found = {r["seed"]: best(r) for r in rows if (r["method"], r["share"]) == (method, share)}
    return [found[seed] for seed in seeds]
