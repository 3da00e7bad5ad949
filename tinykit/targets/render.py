"""A Profile as text and as HTML: the same table twice, unit and provenance over every column."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tinykit.targets.profile import Column, Cost, Profile

#: tflm_arena_bytes and the like belong to the whole model; a column that no layer has is left
#: out of the rows and listed below the table.


def number(value: Cost) -> str:
    """A cost for people: thousands grouped, three or four digits for fractions, – for none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 10 else f"{value:.3g}"


def _split(profile: Profile) -> tuple[list[Column], list[Column]]:
    rows = [c for c in profile.columns if any(r[c.name] is not None for r in profile.layers)]
    return rows, [c for c in profile.columns if c not in rows]


def _title(profile: Profile) -> str:
    about = f" ({profile.about})" if profile.about else ""
    return f"{profile.model} on {profile.target}{about}"


def _extra(profile: Profile, column: Column) -> str:
    text = f"{column.name}: {number(profile[column.name])} {column.unit} [{column.provenance}]"
    return text


def _range(profile: Profile, name: str) -> str:
    if name not in profile.ranges:
        return ""
    low, high = profile.ranges[name]
    column = profile.column(name)
    return (
        f"{name} is {column.provenance}: {number(profile[name])} {column.unit}, "
        f"range {number(low)} to {number(high)}"
    )


def profile_text(profile: Profile) -> str:
    """The whole profile as a plain-text table."""
    columns, rest = _split(profile)
    head = [
        ["layer", "op", *(c.name for c in columns)],
        ["", "", *(c.unit for c in columns)],
        ["", "", *(c.provenance for c in columns)],
    ]
    body = [[r.name, r.op, *(number(r[c.name]) for c in columns)] for r in profile.layers]
    total = ["total", "", *(number(profile[c.name]) for c in columns)]
    lines = [_title(profile), "", *table([*head, None, *body, None, total], left=2), ""]
    lines += [_extra(profile, c) for c in rest]
    lines += [text for c in profile.columns if (text := _range(profile, c.name))]
    if profile.fit is not None:
        lines += str(profile.fit).splitlines()
    lines += [f"{r.name}: {r.note}" for r in profile.layers if r.note]
    lines += [f"note: {n}" for n in profile.notes]
    return "\n".join(lines)


def table(rows: Sequence[list[str] | None], left: int = 1) -> list[str]:
    """Lines of an aligned table; None is a rule; the first `left` columns are left-aligned."""
    filled = [r for r in rows if r is not None]
    widths = [max(len(r[i]) for r in filled) for i in range(len(filled[0]))]
    rule = "  ".join("-" * w for w in widths)

    def line(row: list[str]) -> str:
        cells = [
            c.ljust(w) if i < left else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [rule if r is None else line(r) for r in rows]


def profile_html(profile: Profile) -> str:
    """The profile as one self-contained HTML fragment (what a notebook shows)."""
    columns, rest = _split(profile)
    cell = "padding:2px 8px;text-align:right"
    left = "padding:2px 8px;text-align:left"
    head = "".join(
        f'<th style="{cell}" title="{escape(c.how, quote=True)}">{escape(c.name)}<br>'
        f"<small>{escape(c.unit)}<br>{c.provenance}</small></th>"
        for c in columns
    )

    def row(name: str, op: str, values: list[Cost], note: str, tag: str = "td") -> str:
        cells = "".join(f'<{tag} style="{cell}">{number(v)}</{tag}>' for v in values)
        more = f"<br><small>{escape(note)}</small>" if note else ""
        return (
            f'<tr><{tag} style="{left}">{escape(name)}{more}</{tag}>'
            f'<{tag} style="{left}">{escape(op)}</{tag}>{cells}</tr>'
        )

    body = "".join(row(r.name, r.op, [r[c.name] for c in columns], r.note) for r in profile.layers)
    total = row("total", "", [profile[c.name] for c in columns], "", "th")
    below = [_extra(profile, c) for c in rest]
    below += [text for c in profile.columns if (text := _range(profile, c.name))]
    if profile.fit is not None:
        below += str(profile.fit).splitlines()
    below += profile.notes
    hows = "".join(
        f"<li><b>{escape(c.name)}</b> ({escape(c.unit)}, {c.provenance}): {escape(c.how)}</li>"
        for c in profile.columns
    )
    return (
        f"<div><p><b>{escape(_title(profile))}</b></p><table>"
        f'<thead><tr><th style="{left}">layer</th><th style="{left}">op</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody><tfoot>{total}</tfoot></table>"
        + "".join(f"<div>{escape(b)}</div>" for b in below)
        + f"<details><summary>where the numbers come from</summary><ul>{hows}</ul></details></div>"
    )
