"""Put tables into the README: that of the main job, and that of the LC algorithm.

``make demo``, then ``python docs/make_readme.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

from tinykit.explore._lc_table import PUBLISHED, PUBLISHED_REFERENCE
from tinykit.explore._shipped import stored

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


FLOAT = ("reference", "float32")
#: scheme in the table of `tinykit.explore.sweep.lc_mnist` → as the API says it
SCHEMES = {
    "two levels a layer": "`Codebook(2)`",
    "5 % of the weights": "`Sparsify(keep=0.05)`",
    "rank selection": '`LowRank("auto", alpha=1e-6)`',
    "rank selection, 4 times the price": '`LowRank("auto", alpha=4e-6)`',
    "two levels + 1 %": "`Codebook(2, shared=True) + Sparsify(keep=0.01)`",
    "1 % + rank 4 + two levels": "`Sparsify(keep=0.01, shared=False) + LowRank(4) + Codebook(2)`",
}


def lc_table() -> str:
    """LeNet300 on MNIST, means over the seeds of the shipped table, as a Markdown table."""
    table = stored("lc_mnist")
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table["rows"]:
        found.setdefault((row["scheme"], row["method"]), []).append(row)

    def error(scheme: str, method: str) -> str:
        return f"{mean(row['error'] for row in found[scheme, method]):.2f}"

    def size(scheme: str, method: str) -> str:
        return f"{round(mean(row['bytes'] for row in found[scheme, method])):,}"

    rows = [
        "| weights | direct | retrained as long | LC | published | file, B *counted* |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        f"| float32 | {error(*FLOAT)} | | | {PUBLISHED_REFERENCE} | {size(*FLOAT)} |",
    ]
    for scheme, said in SCHEMES.items():
        published = f"{PUBLISHED[scheme]:.2f}" if scheme in PUBLISHED else ""
        errors = " | ".join(error(scheme, method) for method in ("direct", "retrained", "lc"))
        rows.append(f"| {said} | {errors} | {published} | {size(scheme, 'lc')} |")
    return "\n".join(rows)


def main() -> None:
    report = json.loads((ROOT / "report" / "demo.json").read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    text = _fill(text, "<!-- docs/make_readme.py -->", table(report))
    text = _fill(text, "<!-- docs/make_readme.py: LC -->", lc_table())
    readme.write_text(text, encoding="utf-8")


def _fill(text: str, begin: str, content: str) -> str:
    """`text` with `content` between `begin` and the end after it."""
    end = "<!-- end -->"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)


if __name__ == "__main__":
    main()
