"""What the server refuses: replies that would spoil the model of all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median_low

import torch
from torch import Tensor

from tinykit.federated.checks import real
from tinykit.federated.strategy import Replies

#: rounds whose updates say what is usual
REMEMBERED = 10


@dataclass(frozen=True)
class Guard:
    """Which replies the server takes.

    Replies with NaN or infinities are never taken. An update of the model is refused as well when
    its norm, a step, is more than `outlier` times what is usual. Usual is the largest that was
    taken in a round, of the last rounds their median; in the first round the median of the cohort.
    The largest, because devices that have learnt all they hold send next to nothing, and the
    updates of others are honest all the same; a step, because some are cut off early. Devices whose
    reply is refused keep the memory they had, as if they had not been asked.

    What it cannot notice: a poisoned update that nothing can be compared with (alone in the first
    round), or in a majority of such; a flipped one of usual size; poison in what is sent besides
    the model. That takes robust aggregation, which this is not.

    Parameters
    ----------
    outlier : None takes any finite update
    """

    outlier: float | None = 10.0

    def __post_init__(self) -> None:
        if self.outlier is not None:
            real("outlier of the guard (None: no limit)", self.outlier, above=1)

    def refused(self, replies: Replies, start: Tensor, usual: deque[float]) -> dict[int, str]:
        """Device → why its reply is not taken.

        Parameters
        ----------
        start : what they were sent (P,)
        usual : largest norm a step of an update taken, by round; this round's is appended
        """
        finite = torch.isfinite(replies.model).all(1) & torch.isfinite(replies.statistics).all(1)
        for value in (*replies.sent.values(), *replies.memory.values()):
            finite &= torch.isfinite(value).all(1)
        norms = torch.linalg.vector_norm((replies.model - start).double(), dim=1)
        norms = norms / replies.steps.clamp(min=1)
        why = {
            device: "its update holds NaN or infinity"
            for device, fine in zip(replies.devices, finite.tolist(), strict=True)
            if not fine
        }
        # devices that were cut off before their first step say nothing of what is usual
        moved = norms[finite & (norms > 0)].tolist()
        if self.outlier is None or not moved:
            return why
        known = median_low(usual or moved)
        for device, norm in zip(replies.devices, norms.tolist(), strict=True):
            if device not in why and norm > self.outlier * known:
                why[device] = (
                    f"its update has norm {norm:.3g} a step, over {self.outlier:g} times the usual "
                    f"{known:.3g}"
                )
        if taken := [norm for norm in moved if norm <= self.outlier * known]:
            usual.append(max(taken))
        while len(usual) > REMEMBERED:
            usual.popleft()
        return why
