"""A fleet: which device is of which class, and what a round costs on each of them.

The model is that of Mathur et al., On-Device Federated Learning with Flower (2021): a device spends

    t = overhead + down/bandwidth + min(E·n·s, τ) + up/bandwidth

with E·n examples to train on at s seconds each and a cut-off τ after which it sends what it has;
the round lasts as long as the slowest device of its cohort, and the others wait. Energy is the sum
of power times time over the phases, waiting included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isclose

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinykit.federated.system.catalogue import Catalogue, DeviceClass, Link, catalogue
from tinykit.federated.system.checks import amounts, counts, one_each, real, whole
from tinykit.federated.system.cost import PHASES, RoundCost
from tinykit.federated.system.errors import FleetError
from tinykit.federated.system.provenance import labels_of
from tinykit.federated.system.work import Work

_AVAILABLE = 0xA7A11  # keeps this stream of random numbers apart from others of the same seed


class Fleet:
    """Devices 0 … n−1, each of a class and on a link.

    Parameters
    ----------
    kinds : name of each device's class, one a device
    work : what training on one example takes
    links : link name for each class name; by default each class's first link
    speed : float64 (n,), how many times as fast as its class each device is; 1 by default
    catalog : where classes and links are looked up; by default what ships with the kit

    Raises
    ------
    UnknownDeviceError
        A class or link that the catalogue lacks; names the closest.
    FleetError
        A link that a class cannot use, a speed that is not positive, a class without a rate.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        work: Work,
        *,
        links: Mapping[str, str] | None = None,
        speed: ArrayLike | None = None,
        catalog: Catalogue | None = None,
    ) -> None:
        if not isinstance(work, Work):
            raise FleetError(f"work is Work.from_macs(...) or Work.from_rates(...); got {work!r}")
        book = catalogue() if catalog is None else catalog
        short = {name: book.device(name).name for name in dict.fromkeys(kinds)}
        self.work = work
        self.classes: tuple[DeviceClass, ...] = tuple(
            book.devices[name] for name in dict.fromkeys(short.values())
        )
        index = {device.name: n for n, device in enumerate(self.classes)}
        #: int64 (devices,), position of each device's class in `classes`
        self.kind: NDArray[np.int64] = np.array([index[short[k]] for k in kinds], np.int64)
        asked = {book.device(name).name: link for name, link in (links or {}).items()}
        self.links = tuple(
            book.link(asked.get(device.name, device.links[0])) for device in self.classes
        )
        for device, link in zip(self.classes, self.links, strict=True):
            if link.name not in device.links:
                raise FleetError(
                    f"{device.name!r} has no {link.name!r}; it has {', '.join(device.links)}"
                )
        self.speed = np.ones(len(self)) if speed is None else np.asarray(speed, np.float64)
        if self.speed.shape != (len(self),) or not np.all(
            np.isfinite(self.speed) & (self.speed > 0)
        ):
            raise FleetError(
                f"speed holds a positive factor for each of the {len(self)} devices, got shape "
                f"{self.speed.shape}"
            )
        per_class = [work.seconds_per_example(device) for device in self.classes]
        #: float64 (devices,), seconds to train on one example
        self.seconds_per_example: NDArray[np.float64] = (
            np.array(per_class, np.float64)[self.kind] / self.speed
        )

    @classmethod
    def mix(
        cls,
        shares: Mapping[str, float],
        devices: int,
        work: Work,
        *,
        seed: int = 0,
        links: Mapping[str, str] | None = None,
        spread: float = 0.0,
        catalog: Catalogue | None = None,
    ) -> Fleet:
        """`devices` devices of which `shares` says how many are of which class.

        Counts follow the shares as closely as whole devices can (largest remainders); which device
        is of which class is drawn with `seed`.

        Parameters
        ----------
        shares : class name -> share; they add up to 1
        spread : standard deviation of the logarithm of each device's speed about its class's, for
            wear, heat and other load; an assumption of whoever sets it, 0 by default
        """
        count = whole("devices of a fleet", devices, least=0)
        if not isinstance(shares, Mapping):
            raise FleetError(f"a mix is a share for each class, {{'pixel-4': 1.0}}; got {shares!r}")
        for name, share in shares.items():
            real(f"the share of {name!r} in a fleet", share, least=0, most=1)
        if not isclose(total := sum(shares.values()), 1.0, abs_tol=1e-6):
            raise FleetError(f"shares of a fleet add up to 1; these add up to {total:g}")
        real("spread, a standard deviation,", spread, least=0)
        rng = np.random.default_rng(whole("seed", seed, least=0))
        exact = np.array(list(shares.values())) * count
        of_each = np.floor(exact + 1e-9).astype(np.int64)
        order = np.argsort(-(exact - of_each), kind="stable")
        of_each[order[: count - of_each.sum()]] += 1
        kinds = np.repeat(np.arange(len(of_each)), of_each)
        names = list(shares)
        speed = np.exp(spread * rng.standard_normal(count)) if spread else None
        mixed = [names[k] for k in rng.permutation(kinds)]
        return cls(mixed, work, links=links, speed=speed, catalog=catalog)

    def __len__(self) -> int:
        return len(self.kind)

    def kinds_of(self, devices: ArrayLike) -> tuple[str, ...]:
        """Class names of `devices`."""
        return tuple(self.classes[k].name for k in self.kind[self._check(devices)])

    def fits(self, need_bytes: float) -> NDArray[np.bool_]:
        """Which devices have `need_bytes` of memory; (devices,)."""
        real("need_bytes", need_bytes, least=0)
        return self._each("memory_bytes") >= need_bytes

    def available(self, round: int, seed: int, hour: float | None = None) -> NDArray[np.bool_]:
        """Which devices are on line and free to train in a round; (devices,).

        Each device is drawn on its own with the share of its class: there is no memory from one
        round to the next. The draw of a round depends on `round` and `seed` alone.

        Parameters
        ----------
        hour : of the day, local to the devices, 0 to 24; None takes each class's daily mean
        """
        share = self._each("available")
        if hour is not None:
            real("hour of the day", hour, least=0, most=24)
            at = int(hour) % 24
            hours = [c.by_hour[at] if c.by_hour else c.available.value for c in self.classes]
            share = np.array(hours, np.float64)[self.kind]
        rng = np.random.default_rng([_AVAILABLE, seed, round])
        return rng.random(len(self)) < share

    def step_seconds(self, devices: ArrayLike, batch: ArrayLike) -> NDArray[np.float64]:
        """Seconds that one minibatch step takes on each of `devices`."""
        who = self._check(devices)
        return self.seconds_per_example[who] * one_each(
            counts(batch, "batch", 1), len(who), "batch"
        )

    def steps_within(
        self,
        devices: ArrayLike,
        steps: ArrayLike,
        batch: ArrayLike,
        cutoff_s: float | None,
    ) -> NDArray[np.int64]:
        """How many whole minibatch steps each of `devices` does before the cut-off.

        Parameters
        ----------
        devices : numbers of the devices that are asked, (n,)
        steps : steps each is asked to do, one number or (n,)
        batch : examples a step, one number or (n,)
        cutoff_s : τ, seconds of training after which a device sends what it has; None for none

        Returns
        -------
        int64 (n,)
            0 where not even one step can be done: such a device returns nothing new.
        """
        who = self._check(devices)
        asked = one_each(counts(steps, "steps", 0), len(who), "steps")
        if cutoff_s is None:
            return asked.copy()
        real("cutoff_s", cutoff_s, least=0)
        step = self.step_seconds(devices, batch)
        can = np.minimum(np.floor(cutoff_s / step) + 1, asked).astype(np.int64)
        for _ in range(2):  # the quotient may have been rounded to either side of a whole number
            can -= can * step > cutoff_s
        return can

    def cost(
        self,
        devices: ArrayLike,
        steps: ArrayLike,
        batch: ArrayLike,
        bytes_down: ArrayLike,
        bytes_up: ArrayLike,
        cutoff_s: float | None = None,
        deadline_s: float | None = None,
    ) -> RoundCost:
        """What a round costs in which `devices` take part.

        Parameters
        ----------
        devices, steps, batch, cutoff_s : as in `steps_within`
        bytes_down, bytes_up : what each receives and sends, B; one number or (n,). A device that
            did not get one step done sends nothing.
        deadline_s : seconds after its start at which the server closes the round. A device that
            is not ready by then is dropped and stops where it is: what it spent is spent.

        Raises
        ------
        FleetError
            Negative or non-finite numbers, a device that the fleet lacks or that is asked twice.
        """
        who = self._check(devices)
        if len(np.unique(who)) != len(who):
            raise FleetError("a device was asked twice in one round")
        asked = one_each(counts(steps, "steps", 0), len(who), "steps").copy()
        done = self.steps_within(who, asked, batch, cutoff_s)
        if deadline_s is not None:
            real("deadline_s", deadline_s, least=0)
        receives = one_each(amounts(bytes_down, "bytes_down"), len(who), "bytes_down")
        sends = one_each(amounts(bytes_up, "bytes_up"), len(who), "bytes_up")
        spent = [
            self._each("overhead_s")[who],
            receives / self._bytes_per_s("down_mbps")[who],
            done * self.step_seconds(who, batch),
            np.where(done > 0, sends, 0.0) / self._bytes_per_s("up_mbps")[who],
        ]
        ends = np.cumsum(spent, axis=0)
        limit = np.inf if deadline_s is None else deadline_s
        late = ends[-1] > limit
        ends = np.minimum(ends, limit)
        starts = np.vstack([np.zeros((1, len(who))), ends[:-1]])
        # differences of sums would blur a phase that nobody cut short
        took = [
            np.where(late, end - start, phase)
            for phase, start, end in zip(spent, starts, ends, strict=True)
        ]
        finish = sum(took, np.zeros(len(who)))
        seconds = dict(zip(PHASES, [*took, finish.max(initial=0.0) - finish], strict=True))
        watts = self._watts()
        return RoundCost(
            devices=who,
            kinds=self.kinds_of(who),
            seconds=seconds,
            joules={phase: watts[phase][who] * seconds[phase] for phase in PHASES},
            asked=asked,
            done=done,
            dropped=late,
            cutoff_s=cutoff_s,
            deadline_s=deadline_s,
            labels=labels_of(*self._used(who), self.work),
        )

    def _watts(self) -> dict[str, NDArray[np.float64]]:
        """Power of each device by phase, W. In the overhead it mostly waits, for the network."""
        idle, compute = self._each("idle_w"), self._each("compute_w")
        return {
            "overhead": idle,
            "download": idle + self._of_link("receive_w"),
            "compute": compute,
            "upload": idle + self._of_link("send_w"),
            "wait": idle,
        }

    def _used(self, who: NDArray[np.int64]) -> tuple[list[DeviceClass], list[Link]]:
        kinds = np.unique(self.kind[who])
        return [self.classes[k] for k in kinds], [self.links[k] for k in kinds]

    def _each(self, number: str) -> NDArray[np.float64]:
        return np.array([getattr(c, number).value for c in self.classes], np.float64)[self.kind]

    def _of_link(self, number: str) -> NDArray[np.float64]:
        return np.array([getattr(x, number).value for x in self.links], np.float64)[self.kind]

    def _bytes_per_s(self, number: str) -> NDArray[np.float64]:
        return self._of_link(number) * 1e6 / 8

    def _check(self, devices: ArrayLike | Iterable[int]) -> NDArray[np.int64]:
        who = np.asarray(devices)
        if who.size == 0:
            return np.zeros(0, np.int64)
        if who.ndim != 1 or not np.issubdtype(who.dtype, np.integer):
            raise FleetError(f"devices are whole numbers in one row, got {who.dtype} {who.shape}")
        if who.min() < 0 or who.max() >= len(self):
            wrong = int(who.min() if who.min() < 0 else who.max())
            raise FleetError(f"no device {wrong}: the fleet has devices 0 to {len(self) - 1}")
        return who.astype(np.int64)
