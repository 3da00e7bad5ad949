"""FedAvg: average what local SGD makes of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinykit.federated.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class FedAvg(Strategy):
    """Federated averaging (McMahan et al., AISTATS 2017, algorithm 1).

    With `customise` = `MAML` it is Per-FedAvg (Fallah et al., NeurIPS 2020).
    """

    mean_only: ClassVar[bool] = True
