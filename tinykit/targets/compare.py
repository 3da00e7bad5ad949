"""Several profiles side by side: one row a model, one column a cost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph
from tinykit.targets.profile import Column, Cost, Profile, Target
from tinykit.targets.render import number, table


@dataclass(frozen=True)
class Comparison:
    """A table: models by costs, every column with its unit and provenance.

    Attributes
    ----------
    target : what the models were profiled on
    columns : what each cost is
    rows : costs by column name, by model
    """

    target: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Mapping[str, Cost]]
    notes: tuple[str, ...] = ()

    def with_column(self, column: Column, values: Mapping[str, Cost]) -> Comparison:
        """A copy with a further column, put first; `values` are keyed by model."""
        rows = {m: {column.name: values.get(m), **costs} for m, costs in self.rows.items()}
        return Comparison(self.target, (column, *self.columns), rows, self.notes)

    def to_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "rows": [{"model": m, **costs} for m, costs in self.rows.items()],
            "provenance": {c.name: c.provenance for c in self.columns},
            "columns": [
                {"name": c.name, "unit": c.unit, "provenance": c.provenance, "how": c.how}
                for c in self.columns
            ],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        head = [
            ["model", *(c.name for c in self.columns)],
            ["", *(c.unit for c in self.columns)],
            ["", *(c.provenance for c in self.columns)],
        ]
        body = [
            [model, *(number(costs.get(c.name)) for c in self.columns)]
            for model, costs in self.rows.items()
        ]
        lines = [f"on {self.target}", "", *table([*head, None, *body])]
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])

    def html_table(self) -> str:
        """The ``<table>`` alone; each heading's class is its column's provenance."""
        cell = "padding:3px 9px;text-align:right"
        head = "".join(
            f'<th class="{c.provenance}" style="{cell}" title="{escape(c.how, quote=True)}">'
            f"{escape(c.name)}<br><small>{escape(c.unit)}<br>{c.provenance}</small></th>"
            for c in self.columns
        )
        body = "".join(
            f'<tr><th scope="row" style="padding:3px 9px;text-align:left">{escape(model)}</th>'
            + "".join(f'<td style="{cell}">{number(costs.get(c.name))}</td>' for c in self.columns)
            + "</tr>"
            for model, costs in self.rows.items()
        )
        return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_html_(self) -> str:
        notes = "".join(f"<div>note: {escape(n)}</div>" for n in self.notes)
        return f"<div><p><b>on {escape(self.target)}</b></p>{self.html_table()}{notes}</div>"


def compare(
    models: Mapping[str, Any] | Sequence[Any], target: str | Target = "stm32f446"
) -> Comparison:
    """Profile several models on one target and put the totals side by side.

    Parameters
    ----------
    models : Graphs, paths of model files or ready Profiles; a mapping names them
    target : a board's name or any Target; ready Profiles must be of this target

    Raises
    ------
    TinykitError
        No model, two of one name, or Profiles of several targets.
    """
    from tinykit.targets import load, profile
    from tinykit.targets.source import model_name

    if isinstance(models, Graph | Profile | str | os.PathLike):
        raise TinykitError("compare takes several models: a list, or a mapping from name to model")
    if isinstance(models, Mapping):
        named = list(models.items())
    else:
        named = [(m.model if isinstance(m, Profile) else model_name(m), m) for m in models]
    if not named:
        raise TinykitError("compare was given no model")
    device = load(target) if isinstance(target, str) else target
    rows: dict[str, Mapping[str, Cost]] = {}
    columns: tuple[Column, ...] = ()
    notes: list[str] = []
    for name, model in named:
        if name in rows:
            raise TinykitError(f"two models are called {name!r}; give a mapping with names")
        one = model if isinstance(model, Profile) else profile(model, device)
        if one.target != device.name:
            raise TinykitError(f"{name!r} was profiled on {one.target}, not on {device.name}")
        columns = columns or one.columns
        rows[name] = one.totals
        if one.fit is not None and not one.fits:
            notes.append(f"{name} {one.fit}".replace("\n", ";"))
        if not one.complete:
            notes.append(f"{name}: some ops could not be profiled; its numbers are lower bounds")
    return Comparison(getattr(device, "about", "") or device.name, columns, rows, tuple(notes))
