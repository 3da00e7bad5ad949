"""Weights of one bit, of three values, and of tanh's shape: kinds from the low-bit literature."""

from __future__ import annotations

import torch
from torch import Tensor

from tinykit.graph.errors import TinykitError
from tinykit.quant import functional as fq
from tinykit.quant import ste
from tinykit.quant.quantizer import Grid, NotExportable, Quantizer


class Binary(Quantizer, name="binary"):
    """sign(w) times the mean of |w| (XNOR-Net, Rastegari et al. 2016, arXiv:1603.05279, eq. 6).

    That scale is the one of least squared error. Gradients reach a weight through the scale, and
    through the sign where |w| <= 1; sign(0) counts as 1.
    """

    own_bits = 1

    def size(self, x: Tensor) -> Tensor:
        """Mean of |x| under each scale."""
        return fq.rows(x.abs(), self.grid.axis).mean(1)

    def fake(self, x: Tensor) -> Tensor:
        sign = torch.where(x.detach() < 0, -1.0, 1.0)
        return ste.pass_through(sign, x, x.detach().abs() <= 1) * _along(
            self.size(x), x, self.grid.axis
        )

    def whole(self, x: Tensor) -> tuple[Tensor, int, int]:
        return self.size(x).clamp(min=1e-12), -1, 1


class Ternary(Quantizer, name="ternary"):
    """-a, 0 or a; 0 is what lies within 0.7 of the mean of |w| (TWN, Li et al. 2016,
    arXiv:1605.04711, eqs. 5-6), a the mean of |w| beyond.

    Gradients pass as if nothing had happened (the paper's).
    """

    own_bits = 2
    threshold = 0.7

    def size(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(a for each scale, where x is not 0)."""
        magnitude = fq.rows(x.detach().abs(), self.grid.axis)
        kept = magnitude > self.threshold * magnitude.mean(1, keepdim=True)
        total = (magnitude * kept).sum(1) / kept.sum(1).clamp(min=1)
        delta = _along(self.threshold * magnitude.mean(1), x, self.grid.axis)
        return total, x.detach().abs() > delta

    def fake(self, x: Tensor) -> Tensor:
        size, kept = self.size(x)
        value = x.detach().sign() * kept * _along(size, x, self.grid.axis)
        return ste.pass_through(value, x)

    def whole(self, x: Tensor) -> tuple[Tensor, int, int]:
        return self.size(x)[0].clamp(min=1e-12), -1, 1


class DoReFa(Quantizer, name="dorefa"):
    """Weights squeezed by tanh, then 2^k levels from -1 to 1 (DoReFa-Net, Zhou et al. 2016,
    arXiv:1606.06160, eq. 9), times a gain per channel.

    The paper's networks have batch norm after each layer, which takes up the weights' size. Here it
    is folded into the weights, so the size is kept: `gain`, of least squared error at the start.
    No level is 0: they are the odd multiples of gain / (2^k - 1).
    """

    gain: Tensor

    def __init__(self, grid: Grid | None = None) -> None:
        super().__init__(grid)
        if self.grid.group is not None:
            raise TinykitError("dorefa takes one scale per tensor or channel, not per group")
        self.register_buffer("gain", torch.ones(1))

    @property
    def steps(self) -> int:
        return int(2**self.grid.bits - 1)

    def watch(self, x: Tensor) -> None:
        self.gain = torch.ones(fq.scale_shape(x, self.grid.axis))
        shape = self.unscaled(x) / self.steps
        by, at = fq.rows(shape * x, self.grid.axis), fq.rows(shape**2, self.grid.axis)
        self.gain = (by.sum(1) / at.sum(1)).clamp(min=1e-12)

    def unscaled(self, x: Tensor) -> Tensor:
        """Odd numbers from -(2^k - 1) to 2^k - 1, with the paper's gradient."""
        squeezed = torch.tanh(x)
        largest = squeezed.abs().amax().clamp(min=1e-12)
        return 2 * ste.round_through((squeezed / (2 * largest) + 0.5) * self.steps) - self.steps

    def fake(self, x: Tensor) -> Tensor:
        return self.unscaled(x) * _along(self.gain / self.steps, x, self.grid.axis)

    def whole(self, x: Tensor) -> tuple[Tensor, int, int]:
        if self.grid.bits > 7:
            raise NotExportable(
                f"dorefa's {2**self.grid.bits} levels are odd multiples of a step, up to "
                f"{self.steps}: int8 holds those of up to 7 bits"
            )
        return self.gain / self.steps, -self.steps, self.steps

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        if prefix + "gain" in state:
            self.gain = torch.empty_like(state[prefix + "gain"])
        super()._load_from_state_dict(state, prefix, *args)  # type: ignore[arg-type]


def _along(scale: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """`scale`, one in all or one along `axis`, in a shape that broadcasts against `x`."""
    if axis is None:
        return scale.reshape(())
    return scale.reshape([-1 if a == axis else 1 for a in range(x.ndim)])


__all__ = ["Binary", "DoReFa", "Grid", "Ternary"]
