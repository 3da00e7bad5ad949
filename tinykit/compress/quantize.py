"""Quantization as a compression scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tinykit.compress.finetune import finetune
from tinykit.compress.pruning.masks import hand_on
from tinykit.compress.scheme import Scheme
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.quant.prepare import calibrated, freeze, prepare


@dataclass(frozen=True)
class Quantize(Scheme):
    """Integers instead of floats: weights of `bits` bits, activations of 8.

    Parameters
    ----------
    bits : 8, or 4 (convolutions and linear layers; depthwise filters stay at 8)
    method : "qat" trains with rounding; "ptq" only calibrates (post-training)
    epochs : of that training; None takes a third of what training from scratch takes
    lr : its peak learning rate
    """

    bits: int = 8
    method: str = "qat"
    epochs: int | None = None
    lr: float = 1e-3
    final: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.bits not in (8, 4):
            raise TinykitError(f"Quantize takes bits=8 or 4, not {self.bits}")
        if self.method not in ("qat", "ptq"):
            raise TinykitError(f"Quantize knows method 'qat' and 'ptq', not {self.method!r}")
        if (self.epochs is not None and self.epochs < 0) or not self.lr > 0:
            raise TinykitError("Quantize needs epochs >= 0 and lr > 0")

    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        made: nn.Module = calibrated(prepare(model, self.bits), data)
        hand_on(model, made)
        if self.method == "qat":
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
