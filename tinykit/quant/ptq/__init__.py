"""Post-training quantization: integers from a trained network, without training it again."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import tensors
from tinykit.quant.fold import folded
from tinykit.quant.prepare import calibrated, freeze, prepare
from tinykit.quant.ptq.adaround import round_adaptively
from tinykit.quant.ptq.correction import correct_biases
from tinykit.quant.ptq.equalization import equalized
from tinykit.quant.quantizer import Kind

__all__ = ["correct_biases", "equalized", "ptq", "round_adaptively"]


def ptq(
    model: nn.Module,
    data: Dataset,
    bits: int = 8,
    *,
    equalize: bool = True,
    bias_correction: bool = True,
    adaround: bool = False,
    weights: Kind = "clipped",
    activations: Kind = "clipped",
    bits_of: Mapping[str, int] | None = None,
    activation_bits: int = 8,
    observer: str | None = None,
    examples: int = 256,
    steps: int = 1000,
    seed: int = 0,
) -> nn.Module:
    """A quantized copy of `model`, fixed, ready for `tinykit.to_graph`.

    Parameters
    ----------
    model : a trained network, NCHW in, logits out
    data : its training split shows what values there are; labels are not looked at
    bits, weights, activations, bits_of, activation_bits : as `tinykit.quant.prepare` takes them
    equalize : cross-layer equalization first (Nagel et al. 2019, arXiv:1906.04721)
    bias_correction : what rounding the weights shifts on average is taken off the biases (ibid.)
    adaround : learn for each weight whether to round up or down (Nagel et al. 2020,
        arXiv:2004.10568); minutes instead of seconds
    observer : how activation ranges are found: minmax (None), ema, percentile, mse, kl
    examples : images looked at
    steps : of AdaRound, per layer
    seed : of AdaRound's batches

    Raises
    ------
    TinykitError
        As `prepare`; no examples.
    """
    if examples < 1 or not len(data.train):
        raise TinykitError(f"examples is {examples}: post-training quantization needs at least one")
    plain = equalized(model) if equalize else folded(model)
    small = prepare(
        plain,
        bits,
        weights=weights,
        activations=activations,
        activation_bits=activation_bits,
        bits_of=bits_of,
    )
    part = data.train.take(examples)
    x, _ = tensors(part.x, part.y)
    if adaround:
        round_adaptively(small, plain, x, steps=steps, seed=seed)
    if bias_correction:
        correct_biases(small, plain, x)
    calibrated(small, data, examples, observer)
    freeze(small)
    return small.eval()
