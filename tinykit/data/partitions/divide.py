"""From a dataset to a federation."""

from __future__ import annotations

import numpy as np

from tinykit.data.errors import DataError
from tinykit.data.federation import Federation
from tinykit.data.partitions.base import NOBODY, Ask, Partition, View
from tinykit.data.types import Dataset, DataSpec, Split


def partition(
    data: Dataset | Split,
    how: Partition,
    *,
    devices: int | None = None,
    samples: int | None = None,
    test: float = 0.0,
    seed: int = 0,
    allow_empty: bool = False,
    spec: DataSpec | None = None,
) -> Federation:
    """`data` divided over devices. An example is on one device at most.

    Parameters
    ----------
    data : of a dataset the training split is divided; its test split is left for the global model
    how : the kind of partition
    devices : how many; may be left out where the data says (`Users`)
    samples : how many examples each device holds, its test part included, drawn without
        replacement; None divides all
    test : share of each device's examples that are held out to test its own model, in [0, 1).
        At least one where there are two, rounded; spread over the classes in proportion, so that a
        class of which a device has two or more is learnt, and tested as far as the number reaches;
        a class of one example is learnt only, unless nothing else is there. With 0 there are no
        test parts.
    seed : the same one gives the same federation, to the bit
    allow_empty : let devices that got nothing pass
    spec : what a `Split` holds; its classes are called 0, 1, … unless it is given

    Raises
    ------
    DataError
        There are too few examples, the partition cannot be made of them, or it leaves devices
        empty and that is not allowed.
    """
    pool = data.train if isinstance(data, Dataset) else data
    spec = data.spec if isinstance(data, Dataset) else spec or _spec(data)
    ask = Ask(pool.y, pool.users, spec.num_classes, *_sizes(pool, how, devices, samples), seed)
    if not 0 <= test < 1:
        raise DataError(f"test={test}: give the share that is held out, from 0 to less than 1")
    if seed < 0:
        raise DataError(f"seed={seed}: seeds are 0 or more")
    holder = how.divide(ask)
    empty = np.flatnonzero(np.bincount(holder[holder != NOBODY], minlength=ask.devices) == 0)
    if len(empty) and not allow_empty:
        which = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
        raise DataError(
            f"{how} leaves {len(empty)} of {ask.devices:,} devices empty ({which}); take fewer "
            "devices or more examples, or let them be (allow_empty=True)"
        )
    view = how.see(View(spec, pool, holder), ask)
    # split by the original classes: a device's own names for them change nothing
    held_out = _hold_out(holder, pool.y, test, ask)
    return Federation(
        f"{spec.name}, {how}",
        spec,
        view.pool,
        _by_device(holder, ~held_out, ask.devices),
        _by_device(holder, held_out, ask.devices) if test else (),
        view.groups,
        view.label_maps,
        view.shifted,
    )


def _spec(split: Split) -> DataSpec:
    height, width, channels = split.x.shape[1:]
    classes = int(split.y.max(initial=0)) + 1
    return DataSpec("a split", (height, width, channels), tuple(map(str, range(classes))))


def _sizes(
    pool: Split, how: Partition, devices: int | None, samples: int | None
) -> tuple[np.ndarray, bool]:
    """How many examples each device is to hold, and whether that was asked for."""
    devices = how.count(pool) if devices is None else devices
    if devices is None:
        raise DataError(f"{how} needs to know how many devices there are: devices=10")
    if devices < 1 or (samples is not None and samples < 1):
        raise DataError(f"{devices} devices with {samples} samples; both need to be at least 1")
    there = len(pool)
    if samples is None:
        if devices > there:
            raise DataError(f"{there:,} examples cannot be divided over {devices:,} devices")
        return there // devices + (np.arange(devices) < there % devices), False
    if devices * samples > there:
        raise DataError(
            f"{devices:,} devices with {samples:,} examples each need {devices * samples:,}, there "
            f"are {there:,}; take at most "
            + (f"samples={there // devices}, or " if devices <= there else "")
            + f"devices={there // samples}"
        )
    return np.full(devices, samples, dtype=np.int64), True


def _by_device(holder: np.ndarray, which: np.ndarray, devices: int) -> tuple[np.ndarray, ...]:
    """For each device the ascending positions of the examples it holds among `which`."""
    held = np.flatnonzero(which & (holder != NOBODY))
    order = held[np.argsort(holder[held], kind="stable")]
    ends = np.cumsum(np.bincount(holder[held], minlength=devices))
    return tuple(np.split(order, ends[:-1]))


def _hold_out(holder: np.ndarray, y: np.ndarray, test: float, ask: Ask) -> np.ndarray:
    """Which examples their devices are tested with, bool (N,)."""
    out = np.zeros(len(y), dtype=bool)
    if not test:
        return out
    held = np.flatnonzero(holder != NOBODY)
    luck = ask.rng("hold out").random(len(y))
    # all examples in the order of devices and classes; a run is one class on one device
    order = held[np.lexsort((luck[held], y[held], holder[held]))]
    key = holder[order] * ask.classes + y[order]
    runs, start, size = np.unique(key, return_index=True, return_counts=True)
    device = runs // ask.classes
    of_device = np.bincount(holder[held], minlength=ask.devices)
    goal = np.clip(np.floor(test * of_device + 0.5), of_device >= 2, np.maximum(of_device - 1, 0))
    quota = np.floor(test * size)
    # one more each for the classes that lack it most, until the device has its number
    lacking = np.where((quota == 0) & (size > 1), 0, np.where(quota + 2 <= size, 1, 2))
    ranking = np.lexsort((luck[order[start]], quota - test * size, lacking, device))
    first = np.searchsorted(device, np.arange(ask.devices))
    rank = np.arange(len(runs)) - first[device[ranking]]
    more = goal - np.bincount(device, weights=quota, minlength=ask.devices)
    quota[ranking] += rank < more[device[ranking]]
    place = np.arange(len(order)) - np.repeat(start, size)
    out[order[place < np.repeat(quota, size)]] = True
    return out
