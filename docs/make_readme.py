"""Put the main job's table into the README: ``make demo``, then ``python docs/make_readme.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {
    "accuracy": ("accuracy, %", "measured"),
    "flash_bytes": ("flash, B", "counted"),
    "sram_bytes": ("SRAM, B", "counted"),
    "instructions": ("instructions", "counted"),
    "estimated_ms": ("ms", "modelled"),
}


def table(report: dict[str, Any]) -> str:
    """The rows of ``report/demo.json`` as a Markdown table."""
    head = ["network", *(f"{name} *{how}*" for name, how in COLUMNS.values())]
    rows = [head, ["---", *["---:"] * len(COLUMNS)]]
    for row in report["table"]["rows"]:
        numbers = [row[column] for column in COLUMNS]
        shown = [f"{n:,}" if isinstance(n, int) else f"{n:.4g}" for n in numbers]
        rows.append([row["model"], *shown])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    about = f"{report['model']} on {report['dataset']}; {report['table']['target']}."
    return "\n".join([f"The table of `make demo`: {about}", "", *lines])


def main() -> None:
    report = json.loads((ROOT / "report" / "demo.json").read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    begin, end = "<!-- docs/make_readme.py -->", "<!-- end -->"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    filled = f"{begin}\n{table(report)}\n{end}"
    readme.write_text(re.sub(pattern, lambda _: filled, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
