"""Fashion-MNIST: bits chosen for each layer against the same for all, at the same bytes.

Both post-training, equalized, biases corrected; bytes are packed (bits times weights, and biases),
evaluated in torch. Sensitivities are divergences of the outputs on 512 training images, no labels.
Float networks are trained once and kept (`_trained`). TINYKIT_BENCH_SEEDS and TINYKIT_BENCH_MODELS
take less of it.
"""

from __future__ import annotations

import logging
import os
import statistics

import tinykit as tk
from tests.benchmarks import Figure, plain
from tests.benchmarks._trained import MODELS, trained
from tinykit.data import Dataset
from tinykit.quant import mixed_precision, ptq
from tinykit.quant.fold import plain_layers
from tinykit.quant.mixed import model_bytes, sensitivity
from tinykit.quant.ptq import equalized

SEEDS = int(os.environ.get("TINYKIT_BENCH_SEEDS", "3"))
CHOSEN = os.environ.get("TINYKIT_BENCH_MODELS", ",".join(MODELS)).split(",")
#: every layer at so many bits; mixed precision then gets the same bytes
UNIFORM = (3, 4, 5)
log = logging.getLogger(__name__)


def run() -> list[Figure]:
    data = tk.data.load("fashion_mnist")
    figures: list[Figure] = []
    for name in CHOSEN:
        found = [_seed(name, data, seed) for seed in range(SEEDS)]
        for bits in UNIFORM:
            gains = [mixed - same for same, mixed in (f[bits] for f in found)]
            say = f"{name}, {bits} bits everywhere"
            figures += [
                plain(f"{say}, mean of {SEEDS} seeds", _mean(f[bits][0] for f in found), "%"),
                plain("mixed at the same bytes", _mean(f[bits][1] for f in found), "%"),
                plain("least and", min(gains), "pp"),
                plain("greatest gain of a seed", max(gains), "pp"),
            ]
    return figures


def _mean(values: object) -> float:
    return statistics.fmean(values)  # type: ignore[arg-type]


def _seed(name: str, data: Dataset, seed: int) -> dict[int, tuple[float, float]]:
    """Bits → accuracies on the test split with the same for all and mixed, percent."""
    model = equalized(trained(name, data, seed))
    costs = sensitivity(model, data, metric="kl", examples=512)
    found = {}
    for bits in UNIFORM:
        same = dict.fromkeys(plain_layers(model), bits)
        budget = model_bytes(model, same, "packed")
        plan = mixed_precision(model, data, budget, storage="packed", measured=costs)
        assert plan.bytes <= budget
        made = [ptq(model, data, bits_of=chosen) for chosen in (same, plan.bits)]
        one, other = (100 * tk.evaluate(m, data) for m in made)
        found[bits] = one, other
        log.info("%s seed %d: %d bits, %d bytes: %.2f %%", name, seed, bits, budget, one)
        log.info("%d bytes mixed: %.2f %% %s", plan.bytes, other, dict(plan.bits))
    return found


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for figure in run():
        log.info("%s: %s %s", figure.figure, figure.value, figure.unit)
