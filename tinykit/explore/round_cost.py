"""What a round costs: seconds and joules of each device in one federated round, and what they buy.

Costs are modelled at every turn (`tinykit.federated.system`, no torch). Accuracies were measured
beforehand, of one small network on the same mixes of devices (`tinykit.explore.sweep.round_cost`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tinykit.explore import _round_table
from tinykit.explore._round_figures import figures
from tinykit.explore._round_fleets import BATCH, COHORTS, CUTOFFS, EPOCHS, MIXES, STEPS, Mix
from tinykit.explore._round_table import Network, RoundTable
from tinykit.explore._round_words import words
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.federated.system import Fleet, RoundCost, Work, catalogue, load

if TYPE_CHECKING:
    import plotly.graph_objects as go

_CUTOFF_TEXTS = {0: "none", 1: "1×", 2: "2×", 4: "4×"}
LINKS = {"usual": "usual", "wifi": "Wi-Fi", "lte": "LTE", "ethernet": "Ethernet"}


@dataclass(frozen=True)
class Costed:
    """What a turn of the knobs comes to.

    Attributes
    ----------
    fleet : the devices that are asked
    links : class → the link that was asked for and that it has; the others are on their usual one
    costs : (epochs, cut-off) → one round; the chosen one among them
    accuracies : (epochs, cut-off) → measured of the digits' small network, one for each seed
    too_small : titles of the classes whose memory cannot hold the training of one example
    """

    mix: Mix
    network: Network
    table: RoundTable
    epochs: int
    cutoff: int
    cohort: int
    link: str
    links: tuple[str, ...]
    fleet: Fleet
    costs: Mapping[tuple[int, int], RoundCost]
    accuracies: Mapping[tuple[int, int], tuple[float, ...]]
    too_small: tuple[str, ...]

    @property
    def cost(self) -> RoundCost:
        """The round that the knobs choose."""
        return self.costs[self.epochs, self.cutoff]


class RoundCosts(Explorer[Costed]):
    """The explorer; the table is the shipped one unless another is given."""

    name = "round-cost"
    title = "What a round costs"
    summary = "Seconds and joules of one federated round on phones, boards and microcontrollers"

    def __init__(self, table: RoundTable | None = None) -> None:
        self.table = table or _round_table.load()
        self._turn = lru_cache(maxsize=256)(self._of)

    @property
    def controls(self) -> tuple[Control, ...]:
        networks = tuple((n, net.title) for n, net in self.table.networks.items())
        return (
            Choice(
                "epochs", "Local epochs", tuple((e, str(e)) for e in EPOCHS), 5, "slider",
                "How often a device goes through its examples in a round",
            ),
            Choice(
                "cutoff", "Cut-off", tuple((c, _CUTOFF_TEXTS[c]) for c in CUTOFFS), 0, "slider",
                "Devices stop and send what they have after this many times what the quickest "
                "class needs",
            ),
            Choice(
                "cohort", "Cohort", tuple((c, f"{c} devices") for c in COHORTS), 10, "slider",
                "How many devices take part in the round",
            ),
            Choice(
                "fleet", "Fleet", tuple((n, m.title) for n, m in MIXES.items()), "phones", "menu",
                "Which devices take part",
            ),
            Choice(
                "network", "Network", networks, "resnet8", "menu",
                "What is trained: its multiply-accumulates and its bytes are what costs",
            ),
            Choice(
                "link", "Link", tuple(LINKS.items()), "usual", "buttons",
                "How devices reach the server, where they have such a link",
            ),
        )  # fmt: skip

    def labels(self, settings: Settings) -> dict[str, str | None]:
        # where all are equally fast nobody is waited for
        return {"cutoff": None} if MIXES[settings["fleet"]].alike else {}

    def compute(self, settings: Settings, tick: Tick = quiet) -> Costed:
        settings = self.settings(settings)
        alike = MIXES[settings["fleet"]].alike
        return self._turn(**{**settings, "cutoff": 0 if alike else settings["cutoff"]})

    def _of(
        self, epochs: int, cutoff: int, cohort: int, fleet: str, network: str, link: str
    ) -> Costed:
        mix, net = MIXES[fleet], self.table.networks[network]
        work = Work.from_macs(net.macs)
        have = tuple(n for n in mix.shares if link in load(n).links)
        devices = mix.fleet(cohort, work, dict.fromkeys(have, link))
        cutoffs = (0,) if mix.alike else CUTOFFS
        ways = [(e, c) for c in cutoffs for e in EPOCHS]
        return Costed(
            mix, net, self.table, epochs, cutoff, cohort, link, have, devices,
            costs={
                (e, c): devices.cost(
                    range(cohort), e * STEPS, BATCH, net.model_bytes, net.model_bytes,
                    mix.cutoff_s(work, e, c),
                )
                for e, c in ways
            },
            accuracies={
                (e, c): self.table.accuracy(fleet, c, cohort, e) for e, c in ways
            },
            too_small=tuple(
                f"{device.title} ({device.memory_bytes.value / 1024:,.0f} KiB)"
                for device in map(catalogue().device, mix.shares)
                if device.memory_bytes.value < net.training_bytes
            ),
        )  # fmt: skip

    # -- figures and words ------------------------------------------------------------------------

    def figures(self, result: Costed) -> dict[str, go.Figure]:
        return figures(result)

    def text(self, result: Costed) -> str:
        return words(result)
