"""Two plain charts as SVG text, for a report that loads nothing: bars, and a scatter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

#: Okabe and Ito's palette, which colour-blind people can tell apart
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def bars(title: str, unit: str, values: Mapping[str, float], limit: float | None = None) -> str:
    """Horizontal bars, each with its number; a dashed line at `limit` where one is given."""
    width, row, left, right = 720, 30, 200, 110
    height = 34 + row * len(values) + (16 if limit is not None else 4)
    top = max([*values.values(), 1e-12])
    show_limit = limit is not None and limit <= 1.5 * top
    scale = (width - left - right) / (max(top, limit) if show_limit and limit else top)
    parts = [_open(width, height, f"{title}, {unit}"), _text(0, 16, f"{title} [{unit}]", bold=True)]
    for i, (name, value) in enumerate(values.items()):
        y = 28 + row * i
        colour = COLOURS[i % len(COLOURS)]
        parts.append(_text(left - 8, y + 17, name, anchor="end"))
        parts.append(
            f'<rect x="{left}" y="{y + 2}" width="{max(value * scale, 1):.1f}" '
            f'height="{row - 8}" fill="{colour}"/>'
        )
        parts.append(_text(left + value * scale + 6, y + 17, f"{value:,.0f}"))
    if limit is not None:
        if show_limit:
            x = left + limit * scale
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="26" y2="{height - 16}" '
                'stroke="#000" stroke-dasharray="5 4"/>'
            )
        parts.append(_text(left, height - 3, f"the board has {limit:,.0f} {unit}"))
    return "".join([*parts, "</svg>"])


def scatter(
    title: str, x_label: str, y_label: str, points: Mapping[str, tuple[float, float]]
) -> str:
    """Numbered points with a legend; x starts at 0, y near the lowest value."""
    width, height, left, bottom, top, right = 720, 320, 70, 48, 30, 230
    xs = [p[0] for p in points.values()]
    ys = [p[1] for p in points.values()]
    x_max = max(xs) * 1.25
    y_min, y_max = min(ys), max(ys)
    pad = max((y_max - y_min) * 0.25, 0.5)
    y_min, y_max = y_min - pad, y_max + pad

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + x / x_max * (width - left - right),
            top + (y_max - y) / (y_max - y_min) * (height - top - bottom),
        )

    parts = [_open(width, height, title), _text(0, 16, title, bold=True)]
    axis_y = height - bottom
    parts.append(f'<path d="M{left} {top}V{axis_y}H{width - right}" fill="none" stroke="#444"/>')
    for step in _ticks(0, x_max):
        x, _ = place(step, y_min)
        parts.append(_text(x, axis_y + 16, f"{step:,.0f}", anchor="middle"))
    for step in _ticks(y_min, y_max):
        _, y = place(0, step)
        parts.append(_text(left - 6, y + 4, f"{step:g}", anchor="end"))
        parts.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#ddd"/>')
    parts.append(_text((left + width - right) / 2, height - 8, x_label, anchor="middle"))
    parts.append(
        f'<text transform="rotate(-90)" x="{-(top + axis_y) / 2:.0f}" y="14" '
        f'text-anchor="middle" font-size="13">{escape(y_label)}</text>'
    )
    for i, (name, (px, py)) in enumerate(points.items()):
        legend = (width - right + 24.0, top + 16.0 + 26 * i)
        for x, y in (place(px, py), legend):
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{COLOURS[i % len(COLOURS)]}"/>'
                f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="11" '
                f'font-weight="700" fill="#fff" stroke="#000" stroke-width="2.5" '
                f'paint-order="stroke">{i + 1}</text>'
            )
        parts.append(_text(legend[0] + 16, legend[1] + 4, name))
    return "".join([*parts, "</svg>"])


def _ticks(low: float, high: float, about: int = 5) -> Sequence[float]:
    """Round numbers between `low` and `high`."""
    raw = (high - low) / about
    size = 10.0 ** len(str(int(raw))) / 10 if raw >= 1 else 0.1
    step = next(size * m for m in (0.5, 1, 2, 5, 10, 20) if size * m >= raw)
    first = -(-low // step)
    return [k * step for k in range(int(first), int(high // step) + 1)]


def _open(width: int, height: int, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label, quote=True)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="13">'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
