"""A folder of built files, found again by a hash of everything that went into them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tinykit.folders import cache_dir

#: builds kept (some tens of KB each); the least recently used go first. A search over schedules and
#: several processes at once make hundreds while others are in use.
KEEP = 4000


def cached(key: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """The file for `key`; when there is none, `make` writes it and it is put there at once.

    The file appears under its name by an atomic rename: a reader, or a second process that builds
    the same, never sees half a file, and an interrupted build leaves none.
    """
    folder = cache_dir() / "builds"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + suffix)
    if path.exists():
        with contextlib.suppress(OSError):
            os.utime(path)
        return path
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as scratch:
        made = Path(scratch) / ("made" + suffix)
        make(made)
        os.replace(made, path)
    _prune(folder)
    return path


def _prune(folder: Path) -> None:
    files = [f for f in folder.iterdir() if f.is_file()]
    if len(files) <= KEEP:
        return
    with contextlib.suppress(OSError):
        for old in sorted(files, key=lambda f: f.stat().st_mtime)[: len(files) - KEEP // 2]:
            old.unlink(missing_ok=True)
