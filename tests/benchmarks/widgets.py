"""Slider key press → redrawn figures in Chromium under Voila, and requests that leave the machine.

The peer is the same explorer on Plotly's own figure widgets, one a figure, updated in batches.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from tests.benchmarks._figure import Figure, at_most, plain
from tests.browser.driver import PATIENCE, browsing, open_app, serving_notebook, watched_page
from tests.browser.latency import Latency, measure
from tinykit.explore.app import write_notebook

#: milliseconds in which the second explorer builds ahead what is one technique away
AHEAD = 10_000
_PEER = """
import ipywidgets, plotly.graph_objects as go
from tinykit import explore
explorer = explore.load("compress-deploy")
width = explorer.controls[0]
slider = ipywidgets.SelectionSlider(
    options=[(text, value) for value, text in width.options], value=width.default)
def figures():
    return explorer.figures(explorer.compute({"width": slider.value}))
widgets = {name: go.FigureWidget(figure) for name, figure in figures().items()}
def turned(_):
    for name, figure in figures().items():
        with widgets[name].batch_update():
            for old, new in zip(widgets[name].data, figure.data):
                old.update(new.to_plotly_json())
            widgets[name].layout.title = figure.layout.title
slider.observe(turned, "value")
ipywidgets.VBox([slider, *widgets.values()])
"""


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, browsing() as browser:
        notebook = write_notebook("compress-deploy", Path(folder))
        with serving_notebook(notebook) as address:
            seen = watched_page(browser)
            open_app(seen, address)
            ours = measure(seen)
            load = os.getloadavg()[0] / (os.cpu_count() or 1)
            outside = len(seen.outside)
            seen.page.close()
        theirs = peer(notebook, browser)
        with serving_notebook(write_notebook("inside-engine", Path(folder))) as address:
            seen = watched_page(browser)
            open_app(seen, address)
            seen.page.wait_for_timeout(AHEAD)
            inside = measure(seen)
            outside += len(seen.outside)
            seen.page.close()
        with serving_notebook(write_notebook("prune", Path(folder))) as address:
            seen = watched_page(browser)
            open_app(seen, address)
            pruned = measure(seen)
            seen.page.get_by_role("button", name="ResNet-8").press("Enter")
            seen.wait_for_turn(seen.turn() + 1)
            largest = measure(seen)
            outside += len(seen.outside)
            seen.page.close()
        with serving_notebook(write_notebook("quantize", Path(folder))) as address:
            seen = watched_page(browser)
            open_app(seen, address)
            quantize = measure(seen, slider=1)
            outside += len(seen.outside)
            seen.page.close()
        with serving_notebook(write_notebook("combine", Path(folder))) as address:
            seen = watched_page(browser)
            open_app(seen, address)
            sums = measure(seen)
            outside += len(seen.outside)
            seen.page.close()
        with serving_notebook(write_notebook("federate", Path(folder))) as address:
            seen = watched_page(browser)
            open_app(seen, address)
            # the skew: another heat map at every turn
            federated = measure(seen, slider=1)
            outside += len(seen.outside)
            seen.page.close()
        with serving_notebook(write_notebook("round-cost", Path(folder))) as address:
            seen = watched_page(browser)
            open_app(seen, address)
            rounds = measure(seen)
            outside += len(seen.outside)
    name = "the same on four FigureWidgets"
    return [
        at_most("key press to redrawn figures, p95", round(ours.p95, 1), "ms", 100,
                {"name": name, "value": round(theirs.p95, 1)}),
        plain("key press to redrawn figures, median", round(ours.median, 1), "ms",
              {"name": name, "value": round(theirs.median, 1)}),
        # another layer's figures and code, of programs that are built already
        at_most("the same in Inside the engine, p95", round(inside.p95, 1), "ms", 100),
        # the test images go through the network that is cut, at every turn
        at_most("the same in Prune, p95", round(pruned.p95, 1), "ms", 100),
        at_most("the same in Prune, its slowest network, p95", round(largest.p95, 1), "ms", 100),
        # bits of all layers: everything is quantized again, and run on the test images
        at_most("the same in Quantize, p95", round(quantize.p95, 1), "ms", 100),
        at_most("the same in Combine, p95", round(sums.p95, 1), "ms", 100),
        at_most("the same in Federate, p95", round(federated.p95, 1), "ms", 100),
        # all settings of epochs and cut-off are modelled anew, or looked up from the turns before
        at_most("the same in What a round costs, p95", round(rounds.p95, 1), "ms", 100),
        at_most("requests outside the machine", outside, "requests", 0),
        # the limit is one for a quiet machine: what else ran while it was measured
        plain("load of the machine meanwhile", round(load, 2), "runnable processes a core"),
    ]  # fmt: skip


def peer(notebook: Path, browser: object) -> Latency:
    """The latency of Plotly's figure widgets, with our template and the same figures."""
    app = json.loads(notebook.read_text("utf-8"))
    app["cells"][-1]["source"] = _PEER
    notebook.write_text(json.dumps(app), "utf-8")
    with serving_notebook(notebook) as address:
        seen = watched_page(browser)
        seen.page.goto(address, timeout=PATIENCE)
        seen.page.wait_for_function(
            "document.querySelectorAll('.js-plotly-plot .main-svg').length >= 8", timeout=PATIENCE
        )
        return measure(seen, peer=True)
