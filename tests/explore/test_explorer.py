"""The contract of explorers, and how they are found."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest

from tinykit import explore
from tinykit.explore.explorer import (
    Choice,
    Control,
    Explorer,
    File,
    SettingError,
    Settings,
    Tick,
    Upload,
    quiet,
)
from tinykit.graph.errors import TinykitError


class Doubling(Explorer[int]):
    """Doubles a number; 13 is refused, 14 breaks, "slow" runs off the main thread."""

    name = "doubling"
    title = "Doubling"

    @property
    def controls(self) -> tuple[Control, ...]:
        return (
            Choice("number", "Number", tuple((n, str(n)) for n in (1, 2, 13, 14)), 1, "slider"),
            Choice("slow", "Slow", ((False, "no"), (True, "yes")), False, "buttons"),
            Upload("file", "File", ".bin", 10),
        )

    def instant(self, settings: Settings) -> bool:
        return not settings["slow"]

    def compute(self, settings: Settings, tick: Tick = quiet) -> int:
        settings = self.settings(settings)
        tick(None, "doubling")
        if settings["number"] == 13:
            raise TinykitError("13 cannot be doubled: choose another number")
        return 2 * settings["number"] // (14 - settings["number"])

    def figures(self, result: int) -> dict[str, go.Figure]:
        return {"value": go.Figure(go.Bar(y=[result]))}

    def text(self, result: int) -> str:
        return f"twice that is {result}"


def test_settings_are_completed_and_checked() -> None:
    explorer = Doubling()
    assert explorer.settings({"number": 2}) == {"number": 2, "slow": False, "file": None}
    with pytest.raises(SettingError, match=r"Number \(number\) cannot be 3; choose from 1, 2"):
        explorer.settings({"number": 3})
    with pytest.raises(SettingError, match="no setting nummer; it has number, slow, file"):
        explorer.settings({"nummer": 3})
    with pytest.raises(SettingError, match=r"a\.bin has 11 bytes; at most 10"):
        explorer.settings({"file": File("a.bin", bytes(11))})
    with pytest.raises(SettingError, match="takes a File, got bytes"):
        explorer.settings({"file": b"abc"})
    with pytest.raises(SettingError, match="cannot be 1"):
        explorer.settings({"slow": 1})  # a bool's control is not a number's


def test_explorers_are_found_by_name() -> None:
    assert "compress-deploy" in explore.names()
    assert type(explore.load("compress_deploy")) is explore.explorers()["compress-deploy"]
    with pytest.raises(explore.UnknownExplorerError, match=r"there are: .*compress-deploy"):
        explore.load("nonsense")


def test_every_explorer_keeps_the_contract() -> None:
    for name in explore.names():
        explorer: Explorer[Any] = explore.load(name)
        settings = explorer.settings()
        assert explorer.title
        told: list[str] = []
        slow = not explorer.instant(settings)
        result = explorer.compute(settings, lambda share, what, told=told: told.append(what))
        assert not slow or told, "who has to wait is told for what"
        assert explorer.instant(settings), "what was computed once comes at once"
        assert explorer.compute(settings) == result, "compute is pure"
        for figure in explorer.figures(result).values():
            go.Figure(figure.to_plotly_json())  # Plotly's own validation
            assert figure.layout.xaxis.title.text
            assert figure.layout.yaxis.title.text
        assert any(c.isdigit() for c in explorer.text(result))
