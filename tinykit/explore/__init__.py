"""Explorers: people turn knobs, figures and words follow. One explorer a module; see `load`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any

from tinykit.graph.errors import MissingToolError, TinykitError

if TYPE_CHECKING:
    from tinykit.explore._live import Watch
    from tinykit.explore.explorer import Explorer
    from tinykit.federated import Simulation

__all__ = ["UnknownExplorerError", "available", "explorers", "load", "missing", "names", "watch"]

#: modules of this package that hold no explorer
_MACHINERY = {"app", "explorer", "figure_view", "turns", "view"}


class UnknownExplorerError(TinykitError, LookupError):
    """No explorer of that name; the text lists those there are."""


@cache
def explorers() -> dict[str, type[Explorer[Any]]]:
    """Every explorer by name: the subclasses of `Explorer` in this package's modules."""
    from tinykit.explore.explorer import Explorer

    found: dict[str, type[Explorer[Any]]] = {}
    for entry in pkgutil.iter_modules(__path__):
        if entry.ispkg or entry.name in _MACHINERY or entry.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for value in vars(module).values():
            if (
                inspect.isclass(value)
                and issubclass(value, Explorer)
                and not inspect.isabstract(value)
                and value.__module__ == module.__name__
            ):
                if value.name in found:
                    raise ValueError(f"two explorers are called {value.name!r}")
                found[value.name] = value
    return found


def names() -> list[str]:
    return list(explorers())


def missing(name: str) -> list[str]:
    """The packages that explorer `name` needs and that are not installed here."""
    needs = explorers()[name].needs
    return [package for package in needs if importlib.util.find_spec(package) is None]


def available() -> list[str]:
    """The explorers that can run here: a small server may do without torch."""
    return [name for name in names() if not missing(name)]


def load(name: str) -> Explorer[Any]:
    """A new explorer; ``-`` and ``_`` are the same.

    Raises
    ------
    UnknownExplorerError
    MissingToolError
        It needs a package that is not installed.
    """
    known = {key.replace("_", "-"): cls for key, cls in explorers().items()}
    try:
        cls = known[name.replace("_", "-")]
    except KeyError:
        raise UnknownExplorerError(
            f"no explorer is called {name!r}; there are: {', '.join(names())}"
        ) from None
    if lacking := missing(cls.name):
        raise MissingToolError(
            f"{cls.title} needs {' and '.join(lacking)}, not installed here: "
            f"pip install {' '.join(lacking)}"
        )
    return cls()


def watch(simulation: Simulation, rounds: int, **settings: Any) -> Watch:
    """Run `simulation` until `rounds` rounds are done, and draw it meanwhile; a widget.

    It runs beside the notebook: the last line of a cell shows it, and the next cell can be run.
    ``join()`` waits for the end and returns the history; ``stop()``, or the button, stops it after
    the round that runs.

    Parameters
    ----------
    settings : of `Simulation.run`: ``until``, ``checkpoint`` …
    """
    from tinykit.explore._live import Watch

    return Watch(simulation, rounds, **settings)
