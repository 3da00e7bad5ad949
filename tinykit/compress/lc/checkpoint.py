"""Saving a run of the LC algorithm between two steps, so that a killed run goes on where it was.

The state is w, λ, Θ and the number of steps done: each L step starts with fresh momentum and an
order of examples drawn from (seed, step), so that a resumed run ends with the same bits.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from tinykit.compress.csteps.theta import Sum, Theta
from tinykit.compress.lc.algorithm import LC, Record
from tinykit.data.files import store
from tinykit.graph.errors import TinykitError

VERSION = 2


def save(run: LC, path: str | Path) -> None:
    """Write the state of `run`; `path` is at every moment absent, the old state, or the new one."""
    out = io.BytesIO()
    state = {
        "version": VERSION,
        "fingerprint": run.fingerprint(),
        "done": run.done,
        "model": run.model.state_dict(),
        "lagrange": run.lagrange,
        "thetas": [to_state(theta) for theta in run.thetas],
        "history": [asdict(record) for record in run.history],
    }
    torch.save(state, out)
    store(Path(path), out.getvalue())


def resume(run: LC, path: str | Path) -> LC:
    """Put `run`, freshly made with the same arguments, into the state saved at `path`.

    Raises
    ------
    TinykitError
        No such file, not a checkpoint, or one of other tasks, another schedule, seed,
        model or L step.
    """
    try:
        state = torch.load(Path(path), weights_only=True)
        version, saved = state["version"], state["fingerprint"]
    except FileNotFoundError:
        raise TinykitError(f"there is no checkpoint {path}") from None
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise TinykitError(
            f"{path} is no checkpoint of the LC algorithm, or damaged ({type(error).__name__}): "
            "delete it and start again"
        ) from None
    if version != VERSION:
        raise TinykitError(f"{path} is of version {version}; this tinykit reads {VERSION}")
    mine = run.fingerprint()
    if different := [key for key in mine if saved.get(key) != mine[key]]:
        first = different[0]
        raise TinykitError(
            f"{path} was saved by a run with other {', '.join(different)}: its {first} is "
            f"{saved.get(first)}, this run's {mine[first]}"
        )
    run.model.load_state_dict(state["model"])  # copies into the flat vector's views
    run.lagrange.copy_(state["lagrange"])
    run.done = state["done"]
    run.thetas = [from_state(theta) for theta in state["thetas"]]
    run.history = [Record(**record) for record in state["history"]]
    run.restore()
    return run


def to_state(theta: Theta) -> dict[str, Any]:
    """`theta` as plain types and tensors."""
    found: dict[str, Any] = {"type": type(theta).__name__}
    for field in fields(theta):  # type: ignore[arg-type]
        value = getattr(theta, field.name)
        if isinstance(theta, Sum) and field.name == "terms":
            value = [to_state(term) for term in value]
        found[field.name] = value.detach() if isinstance(value, torch.Tensor) else value
    return found


def from_state(state: dict[str, Any]) -> Theta:
    """The inverse of `to_state`."""
    values = dict(state)
    name = values.pop("type")
    cls = next((kind for kind in _kinds(Theta.__subclasses__()) if kind.__name__ == name), None)
    if cls is None:
        raise TinykitError(f"the checkpoint holds a {name}, which no subclass of Theta is called")
    if cls is Sum:
        values["terms"] = tuple(from_state(term) for term in values["terms"])
    return cls(**values)


def _kinds(parents: Sequence[type[Theta]]) -> Iterator[type[Theta]]:
    for parent in parents:
        yield parent
        yield from _kinds(parent.__subclasses__())
