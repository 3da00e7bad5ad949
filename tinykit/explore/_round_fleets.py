"""The fleets of "What a round costs": mixes of device classes, and how long each may train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinykit.federated.system import Fleet, Work, load

#: local epochs, and the cohort sizes, that the knobs offer and the table has
EPOCHS = (1, 2, 5, 10)
COHORTS = (5, 10, 25)
#: the server's cut-off, as a multiple of the time that the fleet's quickest class needs for all its
#: local epochs; 0 for none
CUTOFFS = (0, 1, 2, 4)
#: minibatches an epoch, and examples a batch here
STEPS, BATCH = 5, 100


@dataclass(frozen=True)
class Mix:
    """A fleet by the shares of its classes.

    Attributes
    ----------
    shares : class name → share; they add up to 1
    """

    title: str
    shares: Mapping[str, float]

    @property
    def quickest(self) -> str:
        """The class that trains fastest."""
        return max(self.shares, key=lambda n: load(n).training_macs_per_s.value)

    @property
    def alike(self) -> bool:
        """Whether all devices train equally fast."""
        return self.whole(1)

    def whole(self, cutoff: int) -> bool:
        """Whether a cut-off leaves every device time for all its steps."""
        rates = [load(n).training_macs_per_s.value for n in self.shares]
        return not cutoff or max(rates) <= cutoff * min(rates)

    def cutoff_s(self, work: Work, epochs: int, cutoff: int, batch: int = BATCH) -> float | None:
        """Seconds of training after which devices stop, for a cut-off of `CUTOFFS`."""
        if not cutoff:
            return None
        whole = cutoff * epochs * STEPS * batch * work.seconds_per_example(load(self.quickest))
        # not a rounding error short of the quickest class's last step
        return (1 + 1e-6) * whole

    def fleet(
        self, devices: int, work: Work, links: Mapping[str, str] | None = None, seed: int = 0
    ) -> Fleet:
        """`devices` devices of this mix."""
        return Fleet.mix(self.shares, devices, work, seed=seed, links=links)


MIXES = {
    "phones": Mix(
        "phones of 2014 to 2019",
        {"pixel-4": 0.2, "galaxy-note-10": 0.2, "galaxy-s9": 0.2, "redmi-note-8": 0.2,
         "nexus-6": 0.2},
    ),
    "phones-jetsons": Mix(
        "phones and Jetson TX2s (GPU)",
        {"pixel-4": 0.2, "galaxy-s9": 0.2, "nexus-6": 0.2, "jetson-tx2-gpu": 0.4},
    ),
    "tx2-gpu": Mix("Jetson TX2s, training on the GPU", {"jetson-tx2-gpu": 1.0}),
    "tx2-cpu": Mix("Jetson TX2s, training on the CPU", {"jetson-tx2-cpu": 1.0}),
    "tx2-both": Mix(
        "Jetson TX2s, three on the GPU for two on the CPU",
        {"jetson-tx2-gpu": 0.6, "jetson-tx2-cpu": 0.4},
    ),
    "pis": Mix("Raspberry Pi 4s", {"raspberry-pi-4": 1.0}),
    "pis-esp32": Mix(
        "Raspberry Pi 4s and ESP32 microcontrollers", {"raspberry-pi-4": 0.6, "esp32": 0.4}
    ),
}  # fmt: skip
