"""Progress bars for people: shown on a terminal or in a notebook, silent everywhere else."""

from __future__ import annotations

import sys
from typing import Any


def bar(total: int, what: str, progress: bool | None) -> Any:
    """A tqdm bar of `total` steps; `progress` None shows it only where a person may be watching."""
    from tqdm import tqdm

    if progress is None:
        progress = sys.stderr.isatty() or _in_kernel()
    return tqdm(total=total, desc=what, disable=not progress, leave=False, dynamic_ncols=True)


def _in_kernel() -> bool:
    # asked of a module that a kernel has loaded anyway; this room imports neither
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "ipykernel" in sys.modules
