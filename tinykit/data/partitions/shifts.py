"""What can differ between the places where devices stand: cameras, light, sensors, mountings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinykit.data.errors import DataError

#: (examples float32 (n, H, W, C), amount, random numbers) → examples of the same shape
Apply = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
#: name → kind of shift
SHIFTS: dict[str, Kind] = {}


@dataclass(frozen=True)
class Kind:
    """A kind of shift.

    Parameters
    ----------
    apply : makes shifted examples
    strength : the amount of the strongest, unless said otherwise
    label : of an amount, for people; with a field for it
    steps : how many different amounts there are at most, or None for any number
    """

    apply: Apply
    strength: float
    label: str
    steps: int | None = None


def register(
    name: str, strength: float, label: str, steps: int | None = None
) -> Callable[[Apply], Apply]:
    """Decorator: the function under it is the shift called `name`."""

    def add(apply: Apply) -> Apply:
        SHIFTS[name] = Kind(apply, strength, label, steps)
        return apply

    return add


@register("rotation", 270, "turned by {:.0f}°", steps=4)
def rotation(x: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Pictures turned anticlockwise, in steps of 90°, which move pixels and change none."""
    if x.shape[1] != x.shape[2]:
        raise DataError(f"rotation needs square pictures, these are {x.shape[1]}×{x.shape[2]}")
    if degrees % 90:
        raise DataError(
            f"rotation by {degrees:g}° is no step of 90°; strength=270 and 2 or 4 groups"
        )
    return np.rot90(x, round(degrees / 90), axes=(1, 2))


@register("brightness", 0.5, "brightness {:+.2g}")
def brightness(x: np.ndarray, more: float, rng: np.random.Generator) -> np.ndarray:
    """The same value added to every pixel."""
    return x + np.float32(more)


@register("contrast", 0.75, "contrast less by {:.0%}")
def contrast(x: np.ndarray, less: float, rng: np.random.Generator) -> np.ndarray:
    """Each picture pulled towards its own mean."""
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    return mean + np.float32(1 - less) * (x - mean)


@register("noise", 0.4, "noise of deviation {:.2g}")
def noise(x: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise, another draw for each example."""
    return x + np.float32(deviation) * rng.standard_normal(x.shape, dtype=np.float32)


@register("blur", 1.5, "blur of {:.2g} pixels")
def blur(x: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian filter of this standard deviation, cut at three; the border is repeated."""
    reach = int(np.ceil(3 * pixels))
    if not reach:
        return x
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / pixels) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        edges = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
        wide = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, edges, mode="edge"), len(weights), axis=axis
        )
        x = wide @ weights
    return x


@register("gain", 1.0, "gain {:+.0%}")
def gain(x: np.ndarray, more: float, rng: np.random.Generator) -> np.ndarray:
    """A sensor that reads too much, by the same factor on all channels."""
    return x * np.float32(1 + more)


@register("mounting", 270, "mounted at {:.0f}°")
def mounting(x: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """A motion sensor turned about its z axis; channels are x, y, z of one sensor after another."""
    if x.shape[3] % 3:
        raise DataError(f"mounting turns channels in threes (x, y, z), there are {x.shape[3]}")
    angle = np.deg2rad(degrees)
    out = x.copy()
    along, across = x[..., 0::3], x[..., 1::3]
    out[..., 0::3] = np.float32(np.cos(angle)) * along - np.float32(np.sin(angle)) * across
    out[..., 1::3] = np.float32(np.sin(angle)) * along + np.float32(np.cos(angle)) * across
    return out
