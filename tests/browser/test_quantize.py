"""Quantize as a person uses it: what the page shows is what the explorer computes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import Watched, open_app, serving_notebook
from tests.browser.latency import measure
from tinykit import explore
from tinykit.explore.app import write_notebook


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("quantize")
    with serving_notebook(write_notebook("quantize", folder)) as found:
        yield found


def test_knobs_change_numbers_and_figures(page: Watched, address: str) -> None:
    explorer = explore.load("quantize")
    open_app(page, address)
    assert page.readout() == explorer.text(explorer.compute({}))
    page.page.get_by_role("button", name="each channel").press("Enter")
    page.wait_for_turn(2)
    assert page.readout() == explorer.text(explorer.compute({"scales": "channel"}))
    assert "a scale each" in page.figure("channels")
    page.page.locator("select").first.select_option(label="by hand")
    page.wait_for_turn(3)
    wanted = {"scales": "channel", "observer": "hand"}
    assert page.readout() == explorer.text(explorer.compute(wanted))
    assert page.page.locator(".tinykit-figure svg").count() == 5
    assert page.errors == []
    assert page.outside == []


def test_another_layer_comes_soon(page: Watched, address: str) -> None:
    open_app(page, address)
    # as for the other apps: the promise is the benchmark's to measure
    assert measure(page, presses=20, warm_up=5).median < 250
