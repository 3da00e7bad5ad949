"""The shipped tables of "Combine": sums of compressions, each made directly, retrained and by LC.

Made by `tinykit.explore.sweep.lc_digits` and `lc_mnist`: every number was measured or counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from statistics import fmean
from typing import Any

from tinykit.explore._shipped import TableError, check_format, stored

#: raised when the shape of the files changes
FORMAT = 1
METHODS = {"direct": "direct", "retrained": "direct + retraining", "lc": "LC"}
#: the network before compression, a scheme and a method of its own
REFERENCE = "reference"
#: test errors in % that Idelbayev and Carreira-Perpiñán publish for LeNet300 on MNIST
#: (arXiv:2005.07786); their network before compression has 2.13, and none has a file size
PUBLISHED = {
    "two levels a layer": 2.56,
    "two levels in layers 1 and 3": 2.26,
    "5 % of the weights": 2.18,
    "two levels + 1 %": 2.17,
    "rank selection": 1.90,
}
PUBLISHED_REFERENCE = 2.13
PUBLISHED_SOURCE = "Idelbayev and Carreira-Perpiñán, arXiv:2005.07786"


@dataclass(frozen=True)
class Result:
    """What one way of compressing came to; numbers are means over `seeds`.

    Attributes
    ----------
    scheme : the sum, in words
    method : key of `METHODS`, or `REFERENCE`
    errors : of the test split in %, one for each seed; measured
    bytes : of the encoded file; counted
    numbers : how many numbers Δ is computed from, codes and positions not counted
    gap : ‖w − Δ(Θ)‖ / ‖w‖ at the end
    history : (gap, test error in %) at the start and after each step of LC, else empty
    parts : (layer, term, bytes) of the file, where the table has them
    ranks : of the layers, of each seed, where they were learned
    """

    scheme: str
    method: str
    seeds: tuple[int, ...]
    errors: tuple[float, ...]
    bytes: float
    numbers: float = 0.0
    gap: float = 0.0
    history: tuple[tuple[float, float], ...] = ()
    parts: tuple[tuple[int, str, float], ...] = ()
    ranks: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def error(self) -> float:
        return fmean(self.errors)

    @property
    def spread(self) -> float:
        """Worst minus best seed, points."""
        return max(self.errors) - min(self.errors)


@dataclass(frozen=True)
class Table:
    """`about`: data, training, seeds, versions; `rows` by scheme, method and seed."""

    about: Mapping[str, Any]
    rows: Mapping[tuple[str, str], Mapping[int, Result]]
    _means: dict[tuple[str, str], Result] = field(default_factory=dict, compare=False, repr=False)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.about["seeds"])

    @property
    def schemes(self) -> list[str]:
        """The sums, in the table's order."""
        return list(dict.fromkeys(scheme for scheme, _ in self.rows if scheme != REFERENCE))

    def result(self, scheme: str, method: str, seed: int | None = None) -> Result:
        """Of one seed, or (None) the mean of all.

        Raises
        ------
        TableError
            The table has no such row.
        """
        found = self.rows.get((scheme, method), {})
        if seed is None and found:
            if (scheme, method) not in self._means:
                self._means[scheme, method] = _mean(tuple(found.values()))
            return self._means[scheme, method]
        if seed is None or seed not in found:
            raise TableError(
                f"the table of {self.about['data']} has no {scheme!r} by {method!r}"
                + ("" if seed is None else f" of seed {seed}")
            )
        return found[seed]


def label(keep: float, rank: int, levels: int) -> str:
    """A sum in words, from the knobs of the digits table."""
    terms = [
        *([f"{100 * keep:g} % of the weights"] if keep else []),
        *([f"rank {rank}"] if rank else []),
        *([f"{levels} levels"] if levels else []),
    ]
    return " + ".join(terms) or REFERENCE


def parse(raw: Mapping[str, Any]) -> Table:
    """The table from its JSON.

    Raises
    ------
    TableError
    """
    check_format(raw, FORMAT)
    rows: dict[tuple[str, str], dict[int, Result]] = {}
    for row in raw["rows"]:
        scheme = row["scheme"] if "scheme" in row else label(*map(row.get, _KNOBS))
        method = REFERENCE if scheme == REFERENCE else row["method"]
        rows.setdefault((scheme, method), {})[row["seed"]] = Result(
            scheme, method, (row["seed"],), (row["error"],), row["bytes"],
            row.get("numbers", 0), row.get("gap", 0.0),
            tuple((gap, error) for _, gap, error in row.get("history", ())),
            tuple((layer, term, size) for layer, term, size in row.get("parts", ())),
            (tuple(row["ranks"]),) if row.get("ranks") else (),
        )  # fmt: skip
    return Table(raw["about"], rows)


_KNOBS = ("keep", "rank", "levels")


def _mean(found: Sequence[Result]) -> Result:
    first = found[0]
    length = min(len(r.history) for r in found)
    return Result(
        first.scheme,
        first.method,
        tuple(r.seeds[0] for r in found),
        tuple(r.errors[0] for r in found),
        fmean(r.bytes for r in found),
        fmean(r.numbers for r in found),
        fmean(r.gap for r in found),
        tuple(
            (fmean(r.history[n][0] for r in found), fmean(r.history[n][1] for r in found))
            for n in range(length)
        ),
        tuple(
            (layer, term, fmean(r.parts[n][2] for r in found))
            for n, (layer, term, _) in enumerate(first.parts)
        ),
        tuple(ranks for r in found for ranks in r.ranks),
    )


@cache
def load(name: str) -> Table:
    """The table that ships under `name`.

    Raises
    ------
    TableError
    """
    return parse(stored(name))
