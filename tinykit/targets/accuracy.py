"""Accuracy of a network, whatever form it is in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from tinykit.data.types import Dataset
from tinykit.graph.errors import MissingToolError, TinykitError, UnsupportedOpError
from tinykit.graph.ir import Graph

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


def evaluate(
    model: nn.Module | Graph, data: Dataset, split: str = "test", limit: int | None = None
) -> float:
    """Share of examples, in [0, 1], whose largest output is at the label.

    A torch module is run by torch; a Graph by the C that tinykit generates for it, compiled for
    this machine, or by the reference interpreter (the same numbers, slower) where no compiler is.

    Parameters
    ----------
    split : train, val or test
    limit : look at so many examples at most, classes in proportion

    Raises
    ------
    TinykitError
        A graph whose input does not take the data's images, or with other than one score per class.
    """
    part = data.split(split)
    if limit is not None:
        part = part.take(limit)
    if not isinstance(model, Graph):
        from tinykit.nn.train import accuracy

        return accuracy(model, part.x, part.y)
    return float((outputs(model, part.x).argmax(axis=1) == part.y).mean())


def outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Stored outputs (N, classes) of real images `x` (N, H, W, C)."""
    if graph.input.size != x[0].size:
        raise TinykitError(
            f"the graph takes {graph.input.shape}, the data's examples are {x.shape[1:]}"
        )
    stored = graph.input.stored(x)
    try:
        from tinykit.engine import HostLibrary

        made = HostLibrary(graph).predict(stored)
    except (MissingToolError, UnsupportedOpError) as error:
        log.info("running the reference interpreter instead of compiled C: %s", error)
        shape = graph.input.shape
        made = np.stack([graph.run(example.reshape(shape))[0].ravel() for example in stored])
    return np.asarray(made).reshape(len(x), -1)
