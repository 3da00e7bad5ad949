"""The lessons' layer explorer, without a browser."""

from __future__ import annotations

import pytest

from tinykit.course import LayerExplorer, shipped
from tinykit.explore.explorer import SettingError
from tinykit.formats import tflite
from tinykit.targets import load


@pytest.fixture(scope="module")
def explorer() -> LayerExplorer:
    graph = tflite.read(shipped("slim_int8"))
    return LayerExplorer({"slim": graph}, ["stm32f103", "stm32f446"])


def test_figures_and_words_are_those_of_the_profile(explorer: LayerExplorer) -> None:
    settings = explorer.settings({"board": "stm32f446"})
    assert not explorer.instant(settings)
    result = explorer.compute(settings)
    assert explorer.instant(settings)
    wanted = load("stm32f446").profile(explorer.models["slim"], "slim")
    assert result.profile.totals == wanted.totals
    text = explorer.text(result)
    assert f"{wanted.instructions:,} instructions (counted)" in text
    assert "ms (modelled)" in text
    assert "\nFits ST NUCLEO-F446RE" in text
    figures = explorer.figures(result)
    assert set(figures) == {"instructions", "flash", "sram"}
    assert list(figures["instructions"].data[0].x) == [
        layer.instructions or 0 for layer in wanted.layers
    ]


def test_a_board_that_is_not_offered_is_refused(explorer: LayerExplorer) -> None:
    with pytest.raises(SettingError, match="rp2040"):
        explorer.settings({"board": "rp2040"})
