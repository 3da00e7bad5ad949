"""What one example costs to train on, and how long that takes on each class of device.

Two ways to say it:

- **modelled**: `Work.from_macs`, the multiply-accumulates of a forward pass (a `Profile` knows
  them), times `TRAINING_FACTOR`, over the effective rate of the device class in the catalogue;
- **measured**: `Work.from_rates`, examples a second that were measured on each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from tinykit.federated.system.catalogue import DeviceClass
from tinykit.federated.system.checks import real
from tinykit.federated.system.errors import FleetError

#: Forward passes that one training step of an example costs. The backward pass multiplies twice
#: where the forward pass multiplies once: for the gradient of the weights and for the gradient of
#: the inputs. The usual estimate, e.g. Kaplan et al., Scaling Laws for Neural Language Models
#: (2020), section 2.1: backward is twice forward.
TRAINING_FACTOR = 3.0


@dataclass(frozen=True)
class Work:
    """What training on one example takes.

    Attributes
    ----------
    macs : multiply-accumulates of one example's forward pass; None where rates were measured
    rates : class name -> measured examples a second; where a class has one, it goes before `macs`
    source : who measured the rates, on which network
    """

    macs: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if self.macs is not None:
            real("MACs of a forward pass", self.macs, above=0)
        for name, rate in self.rates.items():
            real(f"examples/s of {name}", rate, above=0)
        if self.macs is None and not self.rates:
            raise FleetError(
                "work is so many MACs of a forward pass, Work.from_macs(4_800), or measured "
                "examples a second of each class, Work.from_rates(rates, source)"
            )

    @classmethod
    def from_macs(cls, macs: Any) -> Work:
        """From forward multiply-accumulates an example, or anything that has them as ``macs``.

        A `tinykit.targets.Profile` of a graph with batch 1 is such a thing.
        """
        count = getattr(macs, "macs", macs)
        if count is None:
            raise FleetError("that profile has no MACs; give the number of MACs of a forward pass")
        return cls(macs=count)

    @classmethod
    def from_rates(cls, rates: Mapping[str, float], source: str, macs: float | None = None) -> Work:
        """From measured examples a second of each class; `macs` for the classes not measured."""
        if not source:
            raise FleetError("measured rates need a source: who measured them, on which network")
        return cls(macs, MappingProxyType(dict(rates)), source)

    def seconds_per_example(self, device: DeviceClass) -> float:
        """Seconds to train on one example, on a device of class `device`."""
        if (rate := self.rates.get(device.name)) is not None:
            return 1 / rate
        if self.macs is None:
            raise FleetError(
                f"no rate was measured on {device.name!r} (only on {', '.join(self.rates)}), and "
                f"without macs= none can be modelled"
            )
        return TRAINING_FACTOR * self.macs / device.training_macs_per_s.value

    def provenance(self, device: DeviceClass) -> Literal["measured", "modelled"]:
        """Where `seconds_per_example` comes from."""
        return "measured" if device.name in self.rates else "modelled"

    def how(self, device: DeviceClass) -> str:
        """How `seconds_per_example` was got, in words."""
        if device.name in self.rates:
            return f"{self.rates[device.name]:g} examples/s, {self.source}"
        rate = device.training_macs_per_s
        return (
            f"{TRAINING_FACTOR:g} x {self.macs:,.0f} MAC at {rate.value:.3g} MAC/s ({rate.origin})"
        )
