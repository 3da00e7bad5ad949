"""The device catalogue: complete rows, a source for each number, names that are found."""

from __future__ import annotations

import copy
import tomllib
from importlib.resources import files

import pytest

from tinykit.engine import CORES
from tinykit.targets import UnknownTargetError, boards, load, names, profile
from tinykit.targets.boards import NUMBERS, OPTIONAL, Board, parse

RAW = tomllib.loads(files("tinykit.targets").joinpath("boards.toml").read_text("utf-8"))


def test_twelve_boards_from_m0plus_to_m7() -> None:
    assert len(boards()) >= 12
    assert {b.core.name for b in boards()} == set(CORES) - {"cortex-m55"}


@pytest.mark.parametrize("board", boards(), ids=names())
def test_row_is_complete_and_plausible(board: Board) -> None:
    for number in NUMBERS:
        assert len(board.sources[number]) > 20, f"{number} has no real source"
    assert set(board.unchecked) <= {*NUMBERS, *OPTIONAL}
    if (flash := board.flash_timing) is not None:
        assert len(board.sources["flash_timing"]) > 20
        assert board.core.name == "cortex-m4", "nothing reads it for other cores"
        assert 1 <= flash.wait_states <= 10
    assert 8 <= board.mhz <= 1000
    assert 16 * 1024 <= board.flash_bytes <= 16 * 2**20
    assert 4 * 1024 <= board.sram_bytes <= board.sram_total_bytes <= 4 * 2**20
    assert board.fpu in ("none", "single", "double")
    # C is built with hardware floats for cores that have them: the boards must have them too
    assert (board.fpu != "none") == CORES[board.core.name].fpu


def test_time_models_state_themselves() -> None:
    for board in boards():
        core = board.core
        assert 0 < core.cpi_low < core.cpi < core.cpi_high
        assert core.model.startswith("calibrated" if core.calibrated else "not calibrated")
    assert {b.core.name for b in boards() if b.core.calibrated} == {"cortex-m4"}


def test_figures_that_others_publish() -> None:
    """Spot checks against the vendors' own part names and headlines."""
    assert load("stm32f446").flash_bytes == 512 * 1024
    assert load("stm32f103").sram_bytes == 20 * 1024
    assert (load("rp2040").mhz, load("rp2040").sram_bytes) == (133, 264 * 1024)
    assert load("stm32l4r5").mhz == 120
    assert load("teensy41").mhz == 600


@pytest.mark.parametrize("name", ["STM32F446", "stm32-f446", "ST NUCLEO-F446RE"])
def test_names_are_forgiving(name: str) -> None:
    assert load(name).name == "stm32f446"


def test_an_unknown_name_gets_the_closest() -> None:
    with pytest.raises(UnknownTargetError, match="stm32f446"):
        load("stm32f445")
    with pytest.raises(UnknownTargetError, match="samd21"):
        load("zzzzzz")  # nothing is close: all are named


def test_a_target_of_the_wrong_kind_is_said() -> None:
    with pytest.raises(UnknownTargetError, match=r"a board.s name.*not 3; boards: .*stm32f446"):
        profile("any.tflite", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["core", "mhz", "flash_bytes", "sram_bytes", "fpu"])
def test_a_row_that_lacks_a_number_is_refused(number: str) -> None:
    raw = copy.deepcopy(RAW)
    del raw["boards"]["samd21"][number]
    with pytest.raises(ValueError, match=f"samd21.*{number}"):
        parse(raw)


def test_flash_needs_a_source_and_sense() -> None:
    raw = copy.deepcopy(RAW)
    del raw["boards"]["stm32l4r5"]["sources"]["flash_timing"]
    with pytest.raises(ValueError, match=r"stm32l4r5.*source for flash_timing"):
        parse(raw)
    raw = copy.deepcopy(RAW)
    raw["boards"]["stm32l4r5"]["flash_timing"]["read_bytes"] = 12
    with pytest.raises(ValueError, match="power of two"):
        parse(raw)


def test_a_row_without_source_or_with_unknown_core_is_refused() -> None:
    raw = copy.deepcopy(RAW)
    del raw["boards"]["due"]["sources"]
    with pytest.raises(ValueError, match="due"):
        parse(raw)
    raw = copy.deepcopy(RAW)
    raw["boards"]["due"]["core"] = "cortex-m99"
    with pytest.raises(ValueError, match="cortex-m99"):
        parse(raw)
