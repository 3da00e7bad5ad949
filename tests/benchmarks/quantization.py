"""Fashion-MNIST, two networks: accuracy lost by int8 without training, by int4 with and without.

Accuracies are those of the graphs, which TFLite Micro computes bit for bit (tests/quant). Float
networks are trained once and kept (`_trained`). TINYKIT_BENCH_SEEDS and TINYKIT_BENCH_MODELS take
less of it. Mixed precision: `mixed_precision`.
"""

from __future__ import annotations

import logging
import os
import statistics

from torch import nn

import tinykit as tk
from tests.benchmarks import Figure, at_most, plain
from tests.benchmarks._trained import MODELS, trained
from tinykit.data import Dataset
from tinykit.quant import ptq

SEEDS = int(os.environ.get("TINYKIT_BENCH_SEEDS", "3"))
CHOSEN = os.environ.get("TINYKIT_BENCH_MODELS", ",".join(MODELS)).split(",")
QAT_EPOCHS = 2
log = logging.getLogger(__name__)


def run() -> list[Figure]:
    data = tk.data.load("fashion_mnist")
    figures: list[Figure] = []
    for name in CHOSEN:
        found = [_seed(name, data, seed) for seed in range(SEEDS)]
        means = {key: statistics.fmean(f[key] for f in found) for key in found[0]}
        say = f"{name}, mean of {SEEDS} seeds:"
        figures += [
            plain(f"{say} float", means["float"], "%"),
            at_most(
                f"{say} int8 post-training, points lost", means["float"] - means["int8"], "pp", 1
            ),
            plain(
                f"{say} int4 weights post-training, plain, points lost",
                means["float"] - means["int4 plain"],
                "pp",
            ),
            plain(
                f"{say} the same, equalized, biases corrected, AdaRound",
                means["float"] - means["int4 ptq"],
                "pp",
            ),
            at_most(
                f"{say} int4 weights, {QAT_EPOCHS} epochs of QAT, points lost",
                means["float"] - means["int4 qat"],
                "pp",
                1.5,
            ),
        ]
    return figures


def _seed(name: str, data: Dataset, seed: int) -> dict[str, float]:
    """Accuracies on the test split, percent."""
    model = trained(name, data, seed)
    found = {"float": _percent(model, data)}
    log.info("%s seed %d: float %.2f", name, seed, found["float"])

    def note(key: str, made: nn.Module) -> None:
        found[key] = _percent(tk.to_graph(made), data)
        log.info("%s seed %d: %s %.2f", name, seed, key, found[key])

    note("int8", ptq(model, data, 8))
    note("int4 plain", ptq(model, data, 4, equalize=False, bias_correction=False))
    note("int4 ptq", ptq(model, data, 4, adaround=True))
    qat = tk.Quantize(bits=4, epochs=QAT_EPOCHS)
    note("int4 qat", tk.compress(model, data, qat, seed=seed, progress=False))
    return found


def _percent(model: object, data: Dataset) -> float:
    return 100 * tk.evaluate(model, data)  # type: ignore[arg-type]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for figure in run():
        log.info("%s: %s %s", figure.figure, figure.value, figure.unit)
