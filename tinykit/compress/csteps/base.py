"""The contract of a compression step (C step): the nearest tensor that a scheme can represent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

from tinykit.compress.csteps.theta import Theta

View = Literal["vector", "matrix"]


class CStep(ABC):
    """Θ ← argmin ‖x − Δ(Θ)‖², or with a penalty C:  argmin α·C(Θ) + μ/2 ‖x − Δ(Θ)‖².

    A frozen dataclass; parameters are checked when it is made, and against x when it is called.
    """

    @property
    def view(self) -> View:
        """The shape it works on.

        "vector" takes (n,), any tensors flattened and joined, "matrix" (rows, columns), one
        parameter.
        """
        return "vector"

    @property
    def penalised(self) -> bool:
        """Whether there is a penalty, so that the result depends on μ."""
        return False

    @abstractmethod
    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Theta:
        """The best Θ for `x` (float32).

        Parameters
        ----------
        x : (n,) or (rows, columns), as `view` says; finite
        mu : weight of the distance, > 0; forms without a penalty ignore it
        previous : Θ of the last call, where to start from for steps that improve step by step

        Raises
        ------
        TinykitError
            `x` is empty or holds NaN, or a parameter does not fit its size; the text names it.
        """

    def objective(self, x: Tensor, theta: Theta, mu: float = 1.0) -> float:
        """What the step minimises, in float64: ‖x − Δ‖², or α·C + μ/2 ‖x − Δ‖² with a penalty."""
        gap = x.double() - theta.decompress().double()
        distance = float((gap * gap).sum())
        return self.penalty(theta) + mu / 2 * distance if self.penalised else distance

    def penalty(self, theta: Theta) -> float:
        """α · C(Θ); 0 in forms without a penalty."""
        return 0.0
