"""Fashion-MNIST, two networks: accuracy lost by int8 without training and by int4 with it; mixed
precision against the same number of bits for every layer, at the same bytes.

Accuracies of integer networks are those of their graphs, which TFLite Micro computes bit for bit
(tests/quant); mixed widths of less than 8 bits that no graph packs are evaluated in torch. Float
networks are trained once and kept (`_trained`). TINYKIT_BENCH_SEEDS and TINYKIT_BENCH_MODELS take
less of it.
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
from tinykit.quant import mixed_precision, ptq
from tinykit.quant.fold import folded, plain_layers
from tinykit.quant.mixed import model_bytes

SEEDS = int(os.environ.get("TINYKIT_BENCH_SEEDS", "3"))
CHOSEN = os.environ.get("TINYKIT_BENCH_MODELS", ",".join(MODELS)).split(",")
QAT_EPOCHS = 2
#: every layer at so many bits; mixed precision then gets the same bytes
UNIFORM = (2, 3, 4)
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
        for bits in UNIFORM:
            gains = [f[f"mixed {bits}"] - f[f"uniform {bits}"] for f in found]
            figures += [
                plain(f"{say} {bits} bits everywhere", means[f"uniform {bits}"], "%"),
                plain(f"{say} mixed at those bytes", means[f"mixed {bits}"], "%"),
                plain(f"{name}: seeds where mixed is better", sum(g > 0 for g in gains), "seeds"),
                plain(f"{name}: least gain by mixing at {bits} bits' bytes", min(gains), "pp"),
            ]
    return figures


def _seed(name: str, data: Dataset, seed: int) -> dict[str, float]:
    """Accuracies on the test split, percent."""
    model = trained(name, data, seed)
    found = {"float": _percent(model, data)}
    log.info("%s seed %d: float %.2f", name, seed, found["float"])

    def note(key: str, made: nn.Module, graph: bool = True) -> None:
        found[key] = _percent(tk.to_graph(made) if graph else made, data)
        log.info("%s seed %d: %s %.2f", name, seed, key, found[key])

    note("int8", ptq(model, data, 8))
    note("int4 plain", ptq(model, data, 4, equalize=False, bias_correction=False))
    note("int4 ptq", ptq(model, data, 4, adaround=True))
    qat = tk.Quantize(bits=4, epochs=QAT_EPOCHS)
    note("int4 qat", tk.compress(model, data, qat, seed=seed, progress=False))
    layers = plain_layers(folded(model))
    for bits in UNIFORM:
        same = dict.fromkeys(layers, bits)
        budget = model_bytes(model, same, "packed")
        plan = mixed_precision(model, data, budget, storage="packed", metric="kl", examples=1024)
        assert plan.bytes <= budget
        log.info("%s seed %d: %s of %d bytes %s", name, seed, plan.bytes, budget, plan.bits)
        note(f"uniform {bits}", ptq(model, data, bits_of=same), graph=False)
        note(f"mixed {bits}", ptq(model, data, bits_of=plan.bits), graph=False)
    return found


def _percent(model: object, data: Dataset) -> float:
    return 100 * tk.evaluate(model, data)  # type: ignore[arg-type]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for figure in run():
        log.info("%s: %s %s", figure.figure, figure.value, figure.unit)
