"""Quantization as a compression scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tinykit.compress.csteps._checks import number, whole
from tinykit.compress.finetune import finetune
from tinykit.compress.pruning.masks import hand_on
from tinykit.compress.scheme import Scheme
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.quant.mixed import mixed_precision
from tinykit.quant.prepare import calibrated, freeze, prepare
from tinykit.quant.ptq import ptq
from tinykit.quant.quantizer import Kind, kind_class


@dataclass(frozen=True)
class Quantize(Scheme):
    """Integers instead of floats: weights of `bits` bits, activations of 8.

    Parameters
    ----------
    bits : 2 to 8 (convolutions and linear layers; below 8 depthwise filters stay at 8). In a graph
        up to 4 are stored as int4, more as int8.
    method : "qat" trains with rounding; "ptq" does not train (post-training)
    epochs : of that training; None takes a third of what training from scratch takes
    lr : its peak learning rate
    weights, activations : kind of quantizer, by name or class (docs/quantizers.md)
    activation_bits : 2 to 8, or 16; graphs hold 8 and 16
    mixed : bits for each layer, where they differ ({name: bits}), or a budget: so many bytes for
        all weights and biases, as a graph stores them. Bits are then chosen by measured sensitivity
        (`tinykit.quant.mixed_precision`), from 4 and 8, and `bits` is not looked at.
    equalize, bias_correction, adaround : of method "ptq" (`tinykit.quant.ptq`)
    """

    bits: int = 8
    method: str = "qat"
    epochs: int | None = None
    lr: float = 1e-3
    weights: Kind = "lsq"
    activations: Kind = "clipped"
    activation_bits: int = 8
    mixed: Mapping[str, int] | int | None = None
    equalize: bool = False
    bias_correction: bool = False
    adaround: bool = False
    final: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or self.bits not in range(2, 9):
            raise TinykitError(f"Quantize takes bits=2 to 8, not {self.bits}")
        if self.method not in ("qat", "ptq"):
            raise TinykitError(f"Quantize knows method 'qat' and 'ptq', not {self.method!r}")
        if self.epochs is not None:
            whole("epochs", self.epochs, 0)
        number("lr", self.lr, positive=True)
        if self.activation_bits not in (*range(2, 9), 16):
            raise TinykitError(
                f"Quantize takes activation_bits=2 to 8, or 16, not {self.activation_bits}"
            )
        kind_class(self.weights), kind_class(self.activations)  # unknown names are told now
        if not (self.mixed is None or isinstance(self.mixed, int | Mapping)) or (
            isinstance(self.mixed, bool)
        ):
            raise TinykitError(
                f"Quantize takes mixed={{layer: bits}} or mixed=bytes, not {self.mixed!r}"
            )
        for name, bits in self.mixed.items() if isinstance(self.mixed, Mapping) else ():
            if not isinstance(bits, int) or bits not in range(2, 9):
                raise TinykitError(f"Quantize takes 2 to 8 bits; mixed[{name!r}] is {bits!r}")
        if self.method == "qat" and (self.equalize or self.bias_correction or self.adaround):
            raise TinykitError(
                "equalize, bias_correction and adaround are steps of method='ptq'; training "
                "(method='qat') does without"
            )

    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        bits_of = self.mixed
        if isinstance(bits_of, int):
            bits_of = mixed_precision(model, data, bits_of, widths=(4, 8)).bits
        if self.method == "ptq":
            fixed = ptq(
                model,
                data,
                self.bits,
                equalize=self.equalize,
                bias_correction=self.bias_correction,
                adaround=self.adaround,
                weights=self.weights,
                activations=self.activations,
                bits_of=bits_of,
                activation_bits=self.activation_bits,
                seed=seed,
            )
            hand_on(model, fixed)
            return fixed
        made: nn.Module = calibrated(
            prepare(
                model,
                self.bits,
                weights=self.weights,
                activations=self.activations,
                activation_bits=self.activation_bits,
                bits_of=bits_of,
            ),
            data,
        )
        hand_on(model, made)
        finetune(
            made,
            data,
            self.epochs,
            lr=self.lr,
            seed=seed,
            progress=progress,
            what="quantize",
            # ranges move in the first epoch alone, then the weights adapt to ranges that stay
            on_epoch=lambda *_: freeze(made),
        )
        freeze(made)
        return made.eval()
