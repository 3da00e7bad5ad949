"""Where this machine lets the kit keep files that can be made or fetched again."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from tinykit.graph.errors import TinykitError


def cache_dir() -> Path:
    """Where built and downloaded files go: ``TINYKIT_CACHE``, or the platform's cache folder.

    Falls back to a folder of this user's under the temporary directory when that cannot be
    written (a read-only home is usual on shared machines).

    Raises
    ------
    TinykitError
        ``TINYKIT_CACHE`` names a folder that cannot be made.
    """
    if chosen := os.environ.get("TINYKIT_CACHE"):
        path = Path(chosen).expanduser()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TinykitError(f"TINYKIT_CACHE={chosen} cannot be used: {error}") from None
        return path
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with contextlib.suppress(OSError):
        path = base / "tinykit"
        path.mkdir(parents=True, exist_ok=True)
        if os.access(path, os.W_OK):
            return path
    path = Path(tempfile.gettempdir()) / f"tinykit-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():  # someone else's folder could hold anything
        path = Path(tempfile.mkdtemp(prefix="tinykit-"))
    return path
