"""Kinds whose range or levels are trained with the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinykit.graph.errors import TinykitError
from tinykit.quant import ste
from tinykit.quant.quantizer import Grid, NotExportable, Quantizer
from tinykit.quant.quantizers.uniform import Uniform


class Lsq(Uniform, name="lsq"):
    """Learned step size (LSQ, Esser et al. 2020, arXiv:1902.08153).

    The step is kept by its logarithm: an optimizer's update is then a share of the step, whatever
    its size, and the step stays positive.
    """

    def __init__(self, grid: Grid | None = None, observer: str | None = None) -> None:
        super().__init__(grid, observer)
        if self.grid.group is not None or self.grid.bits < 2:
            raise TinykitError("lsq learns a step per tensor or channel, of 2 bits and more")

    def make_scale(self) -> None:
        self.log_step = nn.Parameter(torch.zeros(1))

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The step, per channel or one in all; positive."""
        return self.log_step.exp()

    def take_scale(self, scale: Tensor) -> None:
        with torch.no_grad():
            self.log_step.data = scale.log()

    def follow(self, x: Tensor) -> None:
        """Does nothing: gradients move the step."""

    def fake(self, x: Tensor) -> Tensor:
        return ste.learned_step(
            x, self.scale, self.zero_point, self.grid.low, self.grid.high, self.axis
        )


class Pact(Uniform, name="pact"):
    """Activations from 0 to a learned end (PACT, Choi et al. 2018, arXiv:1805.06085).

    What lies beyond the end, `alpha`, is clipped and moves it: d/dalpha is 1 there, 0 elsewhere.
    The paper decays alpha by the network's weight decay; here the optimizer decides.
    """

    one_sided = True

    def __init__(self, grid: Grid | None = None, observer: str | None = None) -> None:
        super().__init__(grid or Grid(8, symmetric=False, narrow=False), observer)
        if self.grid.symmetric or self.grid.axis is not None:
            raise TinykitError("pact takes an affine grid with one scale: it is for activations")

    def make_scale(self) -> None:
        self.alpha = nn.Parameter(torch.ones(1))

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """alpha over the number of steps."""
        return self.end / (self.grid.high - self.grid.low)

    @property
    def end(self) -> Tensor:
        """alpha, kept positive."""
        return self.alpha.clamp(min=1e-6)

    def set_range(self, low: Tensor | float, high: Tensor | float) -> None:
        super().set_range(0.0, torch.as_tensor(high).clamp(min=0))

    def take_scale(self, scale: Tensor) -> None:
        with torch.no_grad():
            self.alpha.data = scale * (self.grid.high - self.grid.low)

    def follow(self, x: Tensor) -> None:
        """Does nothing: gradients move alpha."""

    def fake(self, x: Tensor) -> Tensor:
        clipped = torch.where(x >= self.end, self.end, x.clamp(min=0))
        return ste.pass_through(self.nearest(x.detach()), clipped)


class Codebook(Quantizer, name="codebook"):
    """A few numbers of any size, one for each weight to choose the nearest; the numbers are trained
    (Han et al. 2016, arXiv:1510.00149).

    A level's gradient is the sum of those of the weights at it; a weight's passes as it is. The
    levels start as the means that Lloyd's algorithm finds from the weights' quantiles.

    Parameters
    ----------
    count : number of levels; left out, all that `grid.bits` can count
    """

    def __init__(self, grid: Grid | None = None, count: int | None = None) -> None:
        super().__init__(grid)
        count = 2**self.grid.bits if count is None else count
        if not 2 <= count <= 256:
            raise TinykitError(f"count is {count}: a codebook has 2 to 256 levels")
        self.levels = nn.Parameter(torch.zeros(count))

    def watch(self, x: Tensor) -> None:
        values = x.flatten().double()
        share = (torch.arange(len(self.levels)) + 0.5) / len(self.levels)
        levels = torch.quantile(values[:: len(values) // 2**20 + 1], share.double())
        for _ in range(50):
            at = _nearest(values, levels)
            count = torch.bincount(at, minlength=len(levels))
            mean = torch.bincount(at, values, minlength=len(levels)) / count.clamp(min=1)
            levels = torch.where(count > 0, mean, levels).sort().values
        self.levels.data = levels.float()

    def fake(self, x: Tensor) -> Tensor:
        chosen = self.levels[_nearest(x.detach(), self.levels.detach())]
        return chosen + (x - x.detach())  # adds 0, and a gradient for x

    def whole(self, x: Tensor) -> tuple[Tensor, int, int]:
        raise NotExportable("it has a codebook, and TFLite's levels are equal steps")


def _nearest(x: Tensor, levels: Tensor) -> Tensor:
    """Index of the level nearest to each of `x` (levels in any order)."""
    ordered, order = levels.sort()
    middles = (ordered[1:] + ordered[:-1]) / 2
    return order[torch.bucketize(x, middles)]


class TrainedTernary(Quantizer, name="ttq"):
    """-n, 0 or p: both learned, apart (TTQ, Zhu et al. 2017, arXiv:1612.01064).

    0 is what lies within `threshold` of the largest weight. The gradients of p and n are sums over
    the weights at each, a weight's own is multiplied by the level it is at (by 1 at 0).
    """

    own_bits = 2
    threshold = 0.05

    def __init__(self, grid: Grid | None = None) -> None:
        super().__init__(grid)
        self.positive, self.negative = (nn.Parameter(torch.ones(1)) for _ in range(2))

    def watch(self, x: Tensor) -> None:
        above, below = self.at(x)
        self.positive.data = x[above].mean().nan_to_num(1.0).reshape(1)
        self.negative.data = (-x[below].mean()).nan_to_num(1.0).reshape(1)

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where `x` is above the threshold, and where below its negative."""
        delta = self.threshold * x.detach().abs().amax()
        return x.detach() > delta, x.detach() < -delta

    def fake(self, x: Tensor) -> Tensor:
        above, below = self.at(x)
        value = self.positive * above - self.negative * below
        slope = torch.where(above, self.positive, torch.where(below, self.negative, 1.0)).detach()
        return value + slope * (x - x.detach())

    def whole(self, x: Tensor) -> tuple[Tensor, int, int]:
        raise NotExportable("its two levels differ, and TFLite's weights are symmetric")
