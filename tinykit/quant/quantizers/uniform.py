"""Equal steps, the range set by an observer; kinds that differ in their straight-through rule."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tinykit.graph.errors import TinykitError
from tinykit.graph.ranges import FIXED_OUTPUT
from tinykit.quant import functional as fq
from tinykit.quant import ste
from tinykit.quant.observers import PerRow
from tinykit.quant.quantizer import Grid, NotExportable, Quantizer


class Uniform(Quantizer, name="clipped"):
    """Equal steps; gradients pass where nothing was clipped (the clipped STE).

    Parameters
    ----------
    observer : how the range is found (`tinykit.quant.observers`); None takes min-max from 8 bits
        on and, with fewer levels and a symmetric grid, least squares
    momentum : by which the range follows in mode "follow" (Jacob et al. 2018, arXiv:1712.05877)
    """

    scale: Tensor
    zero_point: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self, grid: Grid | None = None, observer: str | None = None, momentum: float = 0.02
    ) -> None:
        super().__init__(grid)
        if observer is None:
            coarse = self.grid.symmetric and self.grid.bits < 8
            observer = "least-squares" if coarse else "minmax"
        self.observer, self.momentum = observer, momentum
        self.shape: tuple[int, ...] = (1,)
        self._watching = self._fresh()
        self.register_buffer("low", torch.zeros(1))
        self.register_buffer("high", torch.zeros(1))
        self.make_scale()
        self.register_buffer("zero_point", torch.zeros(1, dtype=torch.int32))

    def _fresh(self) -> PerRow:
        count = self.grid.high - self.grid.low + 1
        return PerRow(self.observer, count, self.grid.symmetric)

    def watch(self, x: Tensor) -> None:
        if not self.seen:
            self._watching = self._fresh()
            self.shape = fq.scale_shape(x, self.grid.axis, self.grid.group)
        self._watching.update(fq.rows(x, self.grid.axis, self.grid.group).numpy())

    def settle(self) -> None:
        low, high = self._watching.range()
        self._watching = self._fresh()
        self.set_range(torch.from_numpy(low), torch.from_numpy(high))

    def set_range(self, low: Tensor | float, high: Tensor | float) -> None:
        """Represent `low`..`high` (and 0) from now on; one number each, or one a scale."""
        grid = self.grid
        a, b = (torch.as_tensor(v, dtype=torch.float64) for v in (low, high))
        shape = self.shape if b.numel() == math.prod(self.shape) else tuple(b.shape)
        a, b = a.reshape(shape), b.reshape(shape)
        scale, zero = fq.scale_of_range(a, b, grid.low, grid.high, grid.symmetric)
        self.low, self.high = a.float(), b.float()
        self.set_scale(scale, zero)

    def set_scale(self, scale: Tensor, zero_point: Tensor | None = None) -> None:
        """Take these steps (float32, positive) and zero points (int32; 0 where left out)."""
        self.shape = tuple(scale.shape)
        self.zero_point = (
            torch.zeros(scale.shape, dtype=torch.int32) if zero_point is None else zero_point
        )
        self.take_scale(scale)
        self.ready = True

    def make_scale(self) -> None:
        """Make what keeps the scale."""
        self.register_buffer("scale", torch.ones(1))

    def take_scale(self, scale: Tensor) -> None:
        """Keep `scale`; a kind that learns it keeps it as a parameter."""
        self.scale = scale

    def follow(self, x: Tensor) -> None:
        low, high = fq.value_range(x, self.grid.axis, self.grid.group)
        self.set_range(
            torch.lerp(self.low, low, self.momentum), torch.lerp(self.high, high, self.momentum)
        )

    def fake(self, x: Tensor) -> Tensor:
        return self.nearest(x)

    def nearest(self, x: Tensor) -> Tensor:
        """`x` at the nearest level; the gradient is that of the clipped STE."""
        grid = self.grid
        scale = self.scale.detach()
        if grid.group is None:
            return fq.kernel(x, scale, self.zero_point, grid.low, grid.high, self.axis)
        value = fq.fake_quantize(
            x.detach(), scale, self.zero_point, grid.low, grid.high, group=grid.group
        )
        return ste.pass_through(value, x, self.inside(x))

    def inside(self, x: Tensor) -> Tensor:
        """Where `x` rounds to a level without being clipped."""
        x, grid, scale = x.detach(), self.grid, self.scale.detach()
        # one level more at each end shows what lies beyond
        q = fq.quantize(
            x,
            scale,
            self.zero_point,
            grid.low - 1,
            grid.high + 1,
            axis=self.axis,
            group=grid.group,
        )
        return (q >= grid.low) & (q <= grid.high)

    @property
    def axis(self) -> int | None:
        """The axis of the scales; None where there is one."""
        return self.grid.axis if self.scale.numel() > 1 else None

    def exported(self, x: Tensor) -> Tensor:
        if self.grid.group is not None:
            raise NotExportable("it has a scale per group; TFLite has one per output channel")
        return fq.kernel(
            x, self.scale.detach(), self.zero_point, self.grid.low, self.grid.high, self.axis
        )

    def whole(self, x: Tensor) -> tuple[Tensor, int, int]:
        if bool(self.zero_point.any()):
            raise NotExportable("its zero point is not 0; TFLite's weights are symmetric")
        if self.grid.group is not None:
            raise NotExportable("it has a scale per group; TFLite has one per output channel")
        return self.scale.detach(), self.grid.low, self.grid.high

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        # shapes are those of what was observed, maybe elsewhere
        for name in ("low", "high", "scale", "zero_point", "log_step"):
            if prefix + name in state and hasattr(self, name):
                held = getattr(self, name)
                given = state[prefix + name]
                if held.shape != given.shape:
                    held.data = torch.empty(given.shape, dtype=held.dtype)
                self.shape = tuple(given.shape)
        super()._load_from_state_dict(state, prefix, *args)  # type: ignore[arg-type]


class Identity(Uniform, name="identity"):
    """Equal steps; the gradient passes everywhere, as if nothing had happened (identity STE)."""

    def fake(self, x: Tensor) -> Tensor:
        return ste.pass_through(self.nearest(x), x)


class Stochastic(Uniform, name="stochastic"):
    """Equal steps; in training rounds up with a probability of the fraction.

    Whether it trains is said by `Module.train` and `eval`, gradients or none. In evaluation and in
    export it rounds to nearest and draws nothing. In training the draws come from torch's own
    generator, which `tinykit.fit` seeds, or from the attribute `generator` where one is set (Gupta
    et al. 2015, arXiv:1502.02551).
    """

    generator: torch.Generator | None = None

    def fake(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.nearest(x)
        grid = self.grid
        value = fq.fake_quantize(
            x.detach(),
            self.scale,
            self.zero_point,
            grid.low,
            grid.high,
            axis=self.axis,
            group=grid.group,
            rounding="stochastic",
            generator=self.generator,
        )
        return ste.pass_through(value, x, self.inside(x))


class Fixed(Uniform):
    """The scale that TFLite prescribes for the output of softmax, logistic or tanh.

    With fewer bits, the same range in fewer steps.
    """

    def __init__(self, kind: str, grid: Grid) -> None:
        super().__init__(grid)
        if kind not in FIXED_OUTPUT:
            raise TinykitError(f"no fixed range for {kind!r}; there are {', '.join(FIXED_OUTPUT)}")
        if grid.bits == 16:
            scale, zero = 1 / 32768, 0
        else:
            scale, zero = FIXED_OUTPUT[kind]
            scale, zero = scale * 2 ** (8 - grid.bits), grid.low if zero else 0
        self.set_scale(torch.tensor([scale]), torch.tensor([zero], dtype=torch.int32))

    def watch(self, x: Tensor) -> None:
        """Does nothing: the range is prescribed."""

    def settle(self) -> None:
        """Does nothing."""

    def follow(self, x: Tensor) -> None:
        """Does nothing."""
