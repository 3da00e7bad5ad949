"""The federated explorers as a person uses them: knobs, a run that is drawn while it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.driver import PATIENCE, Watched, open_app, serving_notebook
from tinykit import explore
from tinykit.explore.app import write_notebook
from tinykit.explore.federate import HERE


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder: Path = tmp_path_factory.mktemp("federated")
    for name in ("federate", "round-cost"):
        write_notebook(name, folder)
    with serving_notebook(folder) as found:
        yield {name: f"{found}voila/render/{name}.ipynb" for name in ("federate", "round-cost")}


def test_a_simulation_is_drawn_while_it_runs(page: Watched, addresses: dict[str, str]) -> None:
    explorer = explore.load("federate")
    open_app(page, addresses["federate"])
    assert page.readout() == explorer.text(explorer.compute({}))
    assert page.page.locator(".tinykit-figure").count() == 4
    assert "of the device" not in page.figure("holdings")
    assert page.figure("holdings").count("<rect") > 500, "a cell for each device and class"
    page.page.locator(".noUi-handle").first.press("ArrowLeft")
    page.wait_for_turn(2)
    few = explorer.controls[0].values[0]  # type: ignore[union-attr]
    assert page.readout() == explorer.text(explorer.compute({"participation": few}))
    # notes each drawing of the run, by the length of its line
    page.page.evaluate(
        """() => {
            window.__lines = [];
            const box = document.querySelector('[data-figure=accuracy]');
            new MutationObserver(() => {
                const path = [...box.querySelectorAll('path[stroke-width="2.5"]')].pop();
                const view = document.querySelector('.tinykit-view');
                window.__lines.push([(path?.getAttribute('d').match(/L/g) ?? []).length,
                                     view.classList.contains('tinykit-stale')]);
            }).observe(box, {childList: true});
        }"""
    )
    page.page.get_by_role("button", name=f"seed {HERE[0]}", exact=True).press("Enter")
    page.page.wait_for_function(
        "() => document.querySelector('.tinykit-readout').textContent.includes('just now')",
        timeout=PATIENCE,
    )
    lines = page.page.evaluate("window.__lines")
    rounds = explorer.table.about["rounds"]  # type: ignore[attr-defined]
    assert len({length for length, _ in lines}) > 2, "it grew before the eyes"
    assert lines[-1][0] == rounds - 1
    assert not any(stale for _, stale in lines[1:]), "what grows is not greyed"
    assert not page.alert()
    assert not page.outside
    assert not page.errors


def test_round_cost_follows_its_knobs(page: Watched, addresses: dict[str, str]) -> None:
    explorer = explore.load("round-cost")
    open_app(page, addresses["round-cost"])
    assert page.readout() == explorer.text(explorer.compute({}))
    page.page.locator(".noUi-handle").nth(1).press("ArrowRight")
    page.wait_for_turn(2)
    assert page.readout() == explorer.text(explorer.compute({"cutoff": 1}))
    assert "of 25 steps" in page.figure("round")
    page.page.locator("select").first.select_option(label="Raspberry Pi 4s")
    page.wait_for_turn(3)
    assert page.readout() == explorer.text(explorer.compute({"fleet": "pis", "cutoff": 1}))
    assert page.page.get_by_text("Cut-off", exact=True).is_hidden()
    assert not page.outside
    assert not page.errors
