"""torch's operators in the graph's terms: one function an ATen op, registered under its name.

Nothing here imports torch; `tinykit.formats.torch_export` walks the exported program and calls in.
"""

import importlib
import pkgutil

from tinykit.formats.torch_ops.tracer import HANDLERS, Call, Const, Tracer, Value

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["HANDLERS", "Call", "Const", "Tracer", "Value"]
