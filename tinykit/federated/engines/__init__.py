"""Engines: what runs the client functions. `choose` takes one by model and cohort."""

from __future__ import annotations

from tinykit.federated.engines.engine import Engine
from tinykit.federated.engines.sequential import Sequential
from tinykit.federated.engines.vectorised import Vectorised
from tinykit.federated.errors import FederatedError
from tinykit.federated.net import Net

__all__ = ["Engine", "Sequential", "Vectorised", "choose"]

#: below so many devices a round there is nothing to gain from running them together
FEW = 4
#: above so many parameters a network's time is arithmetic, which vmap does not make faster
LARGE = 300_000


def choose(engine: str | Engine | None, net: Net, cohort: int) -> Engine:
    """The engine called `engine`; None chooses by the network and the number of devices a round.

    On a GPU, and for small networks without convolutions, all devices at once are faster; on a CPU
    convolutions with a filter for each device are not (`python -m tests.benchmarks federated`
    measures both).

    Raises
    ------
    FederatedError
        No engine of that name.
    """
    if isinstance(engine, Engine):
        return engine
    if engine is None:
        small = not net.convolves and net.size <= LARGE
        together = net.device.type != "cpu" or (small and cohort >= FEW)
        engine = "vectorised" if together and not net.normalises else "sequential"
    if engine == "sequential":
        return Sequential()
    if engine == "vectorised":
        return Vectorised()
    if engine == "flower":
        from tinykit.federated.engines.flower import Flower

        return Flower()
    raise FederatedError(
        f"no engine {engine!r}; there are sequential, vectorised and flower (with the extra "
        "`flower`); None chooses"
    )
