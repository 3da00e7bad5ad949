"""What the server refuses: replies that would spoil the model of all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from tinykit.federated.errors import FederatedError
from tinykit.federated.strategy import Replies

#: rounds whose updates say what is usual
REMEMBERED = 10


@dataclass(frozen=True)
class Guard:
    """Which replies the server takes.

    Replies with NaN or infinities are never taken. An update is refused as well when its norm is
    more than `outlier` times the median of this and the last rounds' updates; devices whose reply
    is refused keep the memory they had, as if they had not been asked. A flipped update of usual
    size is not noticed: that takes robust aggregation, which this is not.

    Parameters
    ----------
    outlier : None takes any finite update
    """

    outlier: float | None = 10.0

    def __post_init__(self) -> None:
        if self.outlier is not None and not self.outlier > 1:
            raise FederatedError(f"outlier must be above 1 (or None), got {self.outlier}")

    def refused(self, replies: Replies, start: Tensor, usual: deque[float]) -> dict[int, str]:
        """Device → why its reply is not taken.

        Parameters
        ----------
        start : what they were sent (P,)
        usual : norms of updates taken in earlier rounds, medians by round; this one's is appended
        """
        finite = torch.isfinite(replies.model).all(1) & torch.isfinite(replies.statistics).all(1)
        for value in (*replies.sent.values(), *replies.memory.values()):
            finite &= torch.isfinite(value).all(1)
        norms = torch.linalg.vector_norm((replies.model - start).double(), dim=1)
        good = norms[finite]
        why = {
            device: "its update holds NaN or infinity"
            for device, fine in zip(replies.devices, finite.tolist(), strict=True)
            if not fine
        }
        if self.outlier is None or not len(good):
            return why
        known = torch.cat(
            [good, torch.tensor(list(usual), dtype=torch.float64, device=good.device)]
        )
        limit = self.outlier * float(known.quantile(0.5, interpolation="lower"))
        taken = []
        for device, norm in zip(replies.devices, norms.tolist(), strict=True):
            if device in why:
                continue
            if norm > limit > 0:
                why[device] = (
                    f"its update has norm {norm:.3g}, over {self.outlier:g} times the usual "
                    f"{limit / self.outlier:.3g}"
                )
            else:
                taken.append(norm)
        if taken:
            usual.append(float(torch.tensor(taken, dtype=torch.float64).median()))
            while len(usual) > REMEMBERED:
                usual.popleft()
        return why
