"""The networks that "Prune" starts with (``datasets/prune``), and what their layers are called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    from torch import nn

    from tinykit.data.types import Dataset


@dataclass(frozen=True)
class Network:
    """A trained network.

    Parameters
    ----------
    name : in the zoo
    title : for people
    width : multiplies its channels
    layers : how many convolutions and linear layers it has
    """

    name: str
    title: str
    width: float

    def build(self, data: Dataset) -> nn.Module:
        """The network with its trained weights, in eval mode.

        Raises
        ------
        TinykitError
            The installation lacks the weights.
        """
        from tinykit.nn import zoo
        from tinykit.nn.weights import load_weights

        model = getattr(zoo, self.name)(data.spec, width=self.width)
        place = files("tinykit.explore") / "models" / f"prune_{self.name}.npz"
        with as_file(place) as path:
            return load_weights(model, path)


def shipped() -> dict[str, Network]:
    """The networks that ship, by name.

    Raises
    ------
    TinykitError
        The installation lacks them.
    """
    try:
        text = (files("tinykit.explore") / "models" / "prune.json").read_text("utf-8")
        record: dict[str, Any] = json.loads(text)["networks"]
        return {n: Network(n, about["title"], about["width"]) for n, about in record.items()}
    except (OSError, ValueError, KeyError) as error:
        raise TinykitError(
            f"the networks of this explorer are missing ({error}): install tinykit again"
        ) from None


def titles(kinds: Mapping[str, str]) -> dict[str, str]:
    """Layer → its number, in the order in which layers run, and its kind: "3 depthwise 3×3"."""
    return {name: f"{number} {kind}" for number, (name, kind) in enumerate(kinds.items(), 1)}


def group_title(makers: Sequence[str], kinds: Mapping[str, str]) -> str:
    """What layers whose channels go together are called: "2+3 conv 1×1, depthwise 3×3"."""
    numbers = {name: number for number, name in enumerate(kinds, 1)}
    what = dict.fromkeys(kinds[name] for name in makers)
    return f"{'+'.join(str(numbers[m]) for m in makers)} {', '.join(what)}"
