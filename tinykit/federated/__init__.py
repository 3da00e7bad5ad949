"""Federated learning: client functions and strategies that run on three engines.

Names are imported when first used: what a round costs (`tinykit.federated.system`) needs no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

#: name → module
_LAZY = {
    "Simulation": "simulation",
    "simulate": "simulation",
    "Local": "local",
    "Cohort": "cohort",
    "Deployment": "deployment",
    "Fleet": "system",
    "Work": "system",
    "Strategy": "strategy",
    "Replies": "strategy",
    "Device": "device",
    "Reply": "device",
    "FedAvg": "strategies.fedavg",
    "FedProx": "strategies.fedprox",
    "FedAvgM": "strategies.server",
    "FedAdam": "strategies.server",
    "Scaffold": "strategies.scaffold",
    "FedDyn": "strategies.feddyn",
    "FedBN": "strategies.fedbn",
    "Customise": "customise",
    "Identity": "customise",
    "MAML": "customise",
    "Prototypes": "customise",
    "Sequential": "engines",
    "Vectorised": "engines",
    "quadratic_device": "quadratic",
    "quadratic_federation": "quadratic",
    "quadratic_simulation": "quadratic",
    "Flower": "engines.flower",
    "Faults": "faults",
    "Guard": "guard",
    "Compression": "compression",
    "Float32": "compression",
    "KBit": "compression",
    "RandomK": "compression",
    "Sign": "compression",
    "TopK": "compression",
    "Privacy": "privacy",
    "noise_for": "privacy",
    "Masking": "masking",
    "SecureSum": "masking",
    "History": "history",
    "Round": "history",
    "FederatedError": "errors",
    "ClientError": "errors",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinykit.federated' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tinykit.federated.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
