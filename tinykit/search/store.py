"""Counts that were made before, by layer, core, compiler and engine, so that none is made twice."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from tinykit.engine.build import toolchain_version
from tinykit.engine.cores import Core
from tinykit.engine.flash import FlashTiming
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.folders import cache_dir
from tinykit.graph.errors import TinykitError
from tinykit.search.trials import Trial

log = logging.getLogger(__name__)

#: of the files; files of another are never met
FORMAT = 4


class Store:
    """Trials by site, in files under the cache folder.

    What a trial depends on is part of its file's name: another compiler, another version of the
    engine's sources or other options never meet its counts.
    """

    def __init__(
        self, core: Core, toolchain: str, options: Options, flash: FlashTiming | None = None
    ) -> None:
        techniques = (options.simd, options.unroll, options.in_place)
        version = toolchain_version(toolchain)
        self._base = repr(
            (FORMAT, core.name, toolchain, version, techniques, flash, engine_version())
        )

    def path(self, key: str) -> Path:
        """The file for a site's key."""
        digest = hashlib.sha256(f"{self._base}\n{key}".encode()).hexdigest()[:32]
        return cache_dir() / "schedules" / f"{digest}.json"

    def get(self, key: str) -> dict[Schedule, Trial]:
        """What is known about a site; nothing when its file is absent or damaged."""
        path = self.path(key)
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["trials"]
            trials = [Trial.from_dict(row) for row in rows]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, TinykitError) as error:
            log.warning("%s is damaged (%s): its schedules are counted again", path, error)
            return {}
        return {trial.schedule: trial for trial in trials}

    def trials(self) -> list[tuple[str, Trial]]:
        """All that is kept for this core, compiler and engine, with the key of each site: what a
        cost model can learn from. Damaged files are passed over."""
        found: list[tuple[str, Trial]] = []
        for path in sorted((cache_dir() / "schedules").glob("*.json")):
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                key, made_with = kept["key"], kept["made_with"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if made_with == self._base and path == self.path(key):
                found += [(key, trial) for trial in self.get(key).values()]
        return found

    def put(self, key: str, trials: Sequence[Trial]) -> None:
        """Keep the trials of a site; the file appears whole or not at all."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [trial.to_dict() for trial in trials]
        text = json.dumps({"key": key, "made_with": self._base, "trials": rows}, indent=1)
        handle, made = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(made, path)


@lru_cache
def engine_version() -> str:
    """A hash over the engine's sources, Python and C; its tables of schedules are left out."""
    digest = hashlib.sha256()

    def add(folder: Traversable, path: str) -> None:
        for item in sorted(folder.iterdir(), key=lambda item: item.name):
            name = f"{path}/{item.name}"
            if item.is_dir():
                add(item, name)
            elif item.name.endswith((".py", ".c", ".h", ".ld")):
                digest.update(name.encode() + b"\0" + item.read_bytes() + b"\0")

    add(resources.files("tinykit.engine"), "engine")
    return digest.hexdigest()[:16]
