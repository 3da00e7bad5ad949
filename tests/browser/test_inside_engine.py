"""Inside the engine as a person uses it, from the page of all apps on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.driver import PATIENCE, Watched
from tests.browser.latency import measure
from tinykit import explore
from tinykit.explore.inside_engine import InsideEngine


@pytest.fixture(scope="module")
def explorer() -> InsideEngine:
    made = explore.load("inside-engine")
    assert isinstance(made, InsideEngine)
    return made


@pytest.fixture
def engine_page(page: Watched, index_address: str) -> Watched:
    """The app, opened by its link on the page of all apps."""
    page.page.goto(index_address, timeout=PATIENCE)
    assert page.page.title() == "tinykit"
    assert page.page.locator("li a").count() == len(explore.names())
    page.page.get_by_role("link", name="Inside the engine").click()
    page.page.wait_for_selector(".tinykit-figure svg", timeout=PATIENCE)
    page.wait_for_turn(1)
    return page


def test_knobs_change_numbers_figures_and_code(
    engine_page: Watched, explorer: InsideEngine
) -> None:
    page = engine_page.page
    whole = explorer.compute({})
    assert engine_page.readout() == explorer.text(whole)
    panels = page.locator(".tinykit-panel pre")
    assert panels.all_inner_texts() == list(explorer.panels(whole).values())
    assert "smlad" in panels.nth(1).inner_text()
    # the busiest line is in sight
    assert panels.nth(1).evaluate("e => e.scrollTop") > 0
    widths = page.evaluate(
        "[...document.querySelectorAll('.tinykit-figure')].map(f => f.clientWidth)"
    )
    drawn = page.evaluate(
        "[...document.querySelectorAll('.tinykit-figure svg')].map(s => s.viewBox.baseVal.width)"
    )
    assert drawn == pytest.approx(widths, abs=2), "each is drawn at the size that it is shown at"

    page.get_by_role("button", name="off", exact=True).first.press("Enter")  # own kernels
    engine_page.wait_for_turn(2)
    shared = explorer.compute({"specialise": False})
    assert engine_page.readout() == explorer.text(shared)
    assert panels.all_inner_texts() == list(explorer.panels(shared).values())
    assert "tk_conv" in panels.nth(0).inner_text()

    page.locator("select").nth(2).select_option(label="4 strips, overlap kept")
    engine_page.wait_for_turn(3)
    strips = explorer.compute({"specialise": False, "patches": "keep-4"})
    assert engine_page.readout() == explorer.text(strips)
    assert f"arena of {strips.built.arena_bytes:,} B" in engine_page.figure("sram")
    assert engine_page.errors == []
    assert engine_page.outside == []


def test_a_damaged_model_is_told_in_words_and_the_app_goes_on(
    engine_page: Watched, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"TFL3 nothing that follows makes sense")
    engine_page.choose_file("Your own .tflite", broken)
    engine_page.wait_for_turn(2)
    assert re.search(r"\w+ \w+", engine_page.alert())
    assert "Traceback" not in engine_page.page.inner_text("body")
    engine_page.page.get_by_role("button", name="Remove the file").press("Enter")
    engine_page.wait_for_turn(3)
    assert engine_page.alert() == ""


def test_the_code_of_another_layer_comes_soon(engine_page: Watched) -> None:
    # as for the other app: the promise is the benchmark's to measure
    assert measure(engine_page, presses=20, warm_up=5).median < 250
