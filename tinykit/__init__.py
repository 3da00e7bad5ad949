"""tinykit: take a small network from a notebook to a chip, and see what every choice costs.

The names below are the whole public surface of the top level; each is imported when first used,
so that ``import tinykit`` costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: name -> "module" (a room) or "module:attribute"
_LAZY = {
    "data": "tinykit.data",
    "zoo": "tinykit.nn.zoo",
    "targets": "tinykit.targets",
    "plots": "tinykit.plots",
    "explore": "tinykit.explore",
    "course": "tinykit.course",
    "fit": "tinykit.nn.train:fit",
    "evaluate": "tinykit.targets.accuracy:evaluate",
    "compress": "tinykit.compress",  # the room is callable: it is its own function
    "Prune": "tinykit.compress:Prune",
    "Quantize": "tinykit.compress:Quantize",
    "LowRank": "tinykit.compress:LowRank",
    "Codebook": "tinykit.compress:Codebook",
    "Sparsify": "tinykit.compress:Sparsify",
    "LC": "tinykit.compress:LC",
    "to_graph": "tinykit.quant.export:to_graph",
    "profile": "tinykit.targets:profile",
    "verify": "tinykit.targets.verify:verify",
    "compare": "tinykit.targets.compare:compare",
    "compile": "tinykit.targets.compiled:compile_graph",
    "Graph": "tinykit.graph:Graph",
    "load": "tinykit.graph:load",
    "from_keras": "tinykit.formats.keras:from_keras",
    "TinykitError": "tinykit.graph:TinykitError",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinykit' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    value = importlib.import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _register_formats() -> None:
    # Graph.save and tinykit.load know formats by suffix; the format's module loads on first use.
    from tinykit.graph import fileio

    def tflite() -> Any:
        return importlib.import_module("tinykit.formats.tflite")

    fileio.register(
        ".tflite",
        write=lambda graph, path: tflite().write_file(graph, path),
        read=lambda path: tflite().read_file(path),
    )


_register_formats()

if TYPE_CHECKING:
    from tinykit import data, graph, targets  # noqa: F401
    from tinykit.compress import compress  # noqa: F401
