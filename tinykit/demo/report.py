"""The main job's HTML report: one file that loads nothing from anywhere."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tinykit import __version__
from tinykit.demo import svg
from tinykit.targets.boards import load as load_board

if TYPE_CHECKING:
    from tinykit.demo.job import DemoResult

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#111}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{border-bottom:1px solid #ddd;vertical-align:top}
thead small{font-weight:400;color:#444}
svg{max-width:100%;height:auto;display:block;margin:1rem 0}
.measured{background:#e8f3ec}.counted{background:#e9f0f8}.modelled{background:#fbf1de}
.key span{padding:2px 8px;margin-right:8px}
.wide{overflow-x:auto}
summary{cursor:pointer;padding:4px 0}
"""


def write_report(result: DemoResult, out: Path) -> Path:
    """Write ``index.html`` into `out`; its path."""
    page = out / "index.html"
    page.write_text(report_html(result), encoding="utf-8")
    return page


def report_html(result: DemoResult) -> str:
    """The whole page."""
    from tinykit.demo.job import findings

    board = load_board(result.target)
    parts = [
        f"<h1>{escape(result.model)} on {escape(result.dataset)}, from a notebook to a chip</h1>",
        f"<p>Target: {escape(board.about)}. Nothing here ran on that board: accuracy was measured "
        "in TFLite Micro on this machine, sizes and instructions were counted on an emulated "
        f"{escape(board.core.title)}, time is modelled.</p>",
        '<p class="key"><span class="measured">measured</span>'
        '<span class="counted">counted</span><span class="modelled">modelled</span></p>',
        _table(result),
        "<ul>" + "".join(f"<li>{escape(f)}</li>" for f in findings(result)) + "</ul>",
        svg.scatter(
            "accuracy against flash",
            "flash [B, counted]",
            "accuracy [%, measured]",
            {r.name: (float(r.profile.flash_bytes or 0), 100 * r.accuracy) for r in result.rows},
        ),
        svg.bars("flash, counted", "B", _totals(result, "flash_bytes"), board.flash_bytes),
        svg.bars("SRAM, counted", "B", _totals(result, "sram_bytes"), board.sram_bytes),
        svg.bars("one inference, counted", "instructions", _totals(result, "instructions")),
        "<h2>Layer by layer</h2>",
    ]
    for row in result.rows:
        parts.append(
            f'<details><summary>{escape(row.name)}</summary><div class="wide">'
            f"{row.profile._repr_html_()}</div></details>"
        )
    parts.append("<h2>Where the numbers come from</h2><dl>")
    for column in result.comparison().columns:
        parts.append(
            f"<dt><b>{escape(column.name)}</b> ({escape(column.unit)}, {column.provenance})</dt>"
            f"<dd>{escape(column.how)}</dd>"
        )
    parts.append("</dl><h2>Training</h2><ul>")
    parts += [f"<li>{escape(line)}</li>" for line in result.training]
    parts.append(f"</ul><p>tinykit {__version__}, {result.seconds:.0f} s in all.</p>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>tinykit: {escape(result.model)} on {escape(result.dataset)}</title>"
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>"
    )


def _table(result: DemoResult) -> str:
    table = result.comparison()
    notes = "".join(f"<p>{escape(n)}</p>" for n in table.notes)
    return f'<div class="wide">{table.html_table()}</div>{notes}'


def _totals(result: DemoResult, column: str) -> dict[str, float]:
    return {r.name: float(r.profile[column] or 0) for r in result.rows}
