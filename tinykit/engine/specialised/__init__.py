"""Specialised kernels, a module a family. Importing this fills `tinykit.engine.kernel.KERNELS`."""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
