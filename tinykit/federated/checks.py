"""Numbers that a setting can be; all else is told in words."""

from __future__ import annotations

from math import isfinite
from numbers import Integral, Real

from tinykit.federated.errors import FederatedError


def whole(what: str, value: object, least: int) -> int:
    """`value` as an int, if it is a whole number from `least` on.

    Raises
    ------
    FederatedError
        It is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise FederatedError(f"{what} must be a whole number, {least} or more; got {value!r}")
    return int(value)


def real(
    what: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Nothing, if `value` is a finite number within the bounds.

    Raises
    ------
    FederatedError
        It is not.
    """
    fits = not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)
    if fits:
        number = float(value)  # type: ignore[arg-type]
        fits = (
            (least is None or number >= least)
            and (above is None or number > above)
            and (most is None or number <= most)
            and (below is None or number < below)
        )
    if not fits:
        bounds = {"at least": least, "above": above, "at most": most, "below": below}
        said = " and ".join(f"{word} {b:g}" for word, b in bounds.items() if b is not None)
        raise FederatedError(f"{what} must be a number {said}; got {value!r}")
