"""How a random graph grows by one op of each kind, within what TFLite Micro's kernels ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.strategies import Grower

#: kind -> function that appends such an op; False when no live tensor suits
GROWERS: dict[str, Callable[[Grower], bool]] = {}
#: kind -> dtypes of the data that TFLite Micro has a kernel for ("int4": of the weights;
#: "int32": in ops that shape arithmetic uses)
SUPPORTED: dict[str, set[str]] = {}
#: kinds whose data must have four dimensions
IMAGES: set[str] = set()
#: kinds that read a filter, which "int4" is about
WEIGHTED = {"conv_2d", "depthwise_conv_2d", "transpose_conv", "fully_connected"}
ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6")


def grows(kinds: str, dtypes: str, images: bool = False) -> Any:
    """Decorator: the function appends an op of any of `kinds`, on data of any of `dtypes`."""

    def join(function: Any) -> Any:
        for kind in kinds.split():
            GROWERS[kind] = lambda g, kind=kind: function(g, kind)
            SUPPORTED[kind] = set(dtypes.split())
            if images:
                IMAGES.add(kind)
        return function

    return join


def supports(kind: str, dtype: str) -> bool:
    """Whether TFLite Micro has `kind` for `dtype`; ops without a filter take "int4" as int8."""
    if dtype == "int4" and kind not in WEIGHTED:
        dtype = "int8"
    return dtype in SUPPORTED[kind]


def image(t: Any) -> bool:
    return len(t.shape) == 4


from tests.growers import mac, pointwise, shapes  # noqa: E402, F401  (they fill the tables)
