"""Datasets by name. Each is one module in `tinykit/data/sets/`; adding one touches nothing else."""

from __future__ import annotations

import importlib
import pkgutil

from tinykit.data.errors import DataError
from tinykit.data.federation import Federation
from tinykit.data.types import Dataset, DataSpec, Split

__all__ = ["DataError", "DataSpec", "Dataset", "Federation", "Split", "load", "names"]


def names() -> list[str]:
    """The datasets there are: the modules of `tinykit.data.sets`."""
    from tinykit.data import sets

    return sorted(m.name for m in pkgutil.iter_modules(sets.__path__) if m.name[0] != "_")


def load(name: str) -> Dataset:
    """The dataset called `name`.

    Looked for in the kit itself, the folder that TINYKIT_DATA names, the system's folders and the
    cache, in that order; downloaded with a checksum when it is in none of them.

    Raises
    ------
    DataError
        No such dataset, or its files are damaged.
    MissingToolError
        It is not on this machine and cannot be downloaded; the text says what to do.
    """
    if name not in names():
        raise DataError(f"no dataset {name!r}; there are: {', '.join(names())}")
    dataset: Dataset = importlib.import_module(f"tinykit.data.sets.{name}").load()
    return dataset
