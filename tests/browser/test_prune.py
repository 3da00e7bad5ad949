"""Prune as a person uses it, with the keyboard."""

from __future__ import annotations

import pytest

from tests.browser.driver import PATIENCE, Watched
from tests.browser.latency import measure
from tinykit.explore.prune import Prune


@pytest.fixture
def prune_page(page: Watched, index_address: str) -> Watched:
    page.page.goto(index_address, timeout=PATIENCE)
    page.page.get_by_role("link", name="Prune").click()
    page.page.wait_for_selector(".tinykit-figure svg", timeout=PATIENCE)
    page.wait_for_turn(1)
    return page


def test_ratios_by_layer_from_the_keyboard(prune_page: Watched) -> None:
    from playwright.sync_api import expect

    page, explorer = prune_page.page, Prune()
    assert prune_page.readout() == explorer.text(explorer.compute({}))
    page.get_by_role("button", name="by hand").press("Enter")
    prune_page.wait_for_turn(2)
    sliders = page.locator(".noUi-handle:visible")
    expect(sliders).to_have_count(5 + 1)  # one a layer, and which layer's weights are shown
    sliders.nth(3).focus()
    page.keyboard.press("ArrowRight")
    prune_page.wait_for_turn(3)
    now = explorer.compute({"how": "hand", "ratio3": 0.55})
    assert prune_page.readout() == explorer.text(now)
    assert "4 linear" in prune_page.figure("sensitivity")
    assert page.locator(".tinykit-panel pre").all_inner_texts() == list(
        explorer.panels(now).values()
    )

    page.get_by_role("button", name="FPGM").press("Enter")
    prune_page.wait_for_turn(4)
    assert "whole filters" in prune_page.alert()
    page.get_by_role("button", name="channels").press("Enter")
    prune_page.wait_for_turn(5)
    assert prune_page.alert() == ""
    # knobs change their names after the result is there
    expect(page.locator(".noUi-handle:visible")).to_have_count(4 + 1)
    assert page.get_by_text("Layer 4", exact=True).is_visible()
    assert prune_page.errors == []
    assert prune_page.outside == []


def test_the_network_is_measured_again_soon(prune_page: Watched) -> None:
    # as for the other apps: the promise is the benchmark's to measure
    assert measure(prune_page, presses=20, warm_up=5).median < 250
