"""Combine as a person uses it: sliders, the other network, words that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.driver import Watched, open_app, serving_notebook
from tinykit import explore
from tinykit.explore.app import write_notebook


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder: Path = tmp_path_factory.mktemp("combine")
    with serving_notebook(write_notebook("combine", folder)) as found:
        yield found


def test_knobs_change_figures_and_words(page: Watched, address: str) -> None:
    explorer = explore.load("combine")
    open_app(page, address)
    assert page.readout() == explorer.text(explorer.compute({}))
    assert page.page.locator(".tinykit-figure").count() == 4
    page.page.locator(".noUi-handle").first.press("ArrowRight")
    page.wait_for_turn(2)
    keep = explorer.controls[1].values[1]  # type: ignore[union-attr]
    assert page.readout() == explorer.text(explorer.compute({"keep": keep}))
    page.page.get_by_role("button", name="direct", exact=True).press("Enter")
    page.wait_for_turn(3)
    only = explorer.compute({"keep": keep, "method": "direct"})
    assert page.readout() == explorer.text(only)
    assert not page.outside
