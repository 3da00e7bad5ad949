""" "Compress and deploy": the numbers it speaks of are the table's and the board's."""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit import targets
from tinykit.explore.compress_deploy import CompressDeploy, Outcome
from tinykit.explore.explorer import Cancelled, File
from tinykit.formats import tflite
from tinykit.graph import GraphBuilder, ModelFormatError
from tinykit.plots.style import kib


@pytest.fixture(scope="module")
def explorer() -> CompressDeploy:
    return CompressDeploy()


def outcome(explorer: CompressDeploy, **changes: object) -> Outcome:
    return explorer.compute(explorer.settings(changes))


def own_model(classes: int = 5) -> File:
    b = GraphBuilder("mine")
    x = b.input("x", (1, 8), "float32")
    w = b.const(np.linspace(-1, 1, classes * 8, dtype=np.float32).reshape(classes, 8))
    y = b.op("fully_connected", [x, w], (1, classes), "float32")
    return File("mine.tflite", tflite.write(b.finish([y])))


def test_knobs_choose_the_network(explorer: CompressDeploy) -> None:
    result = outcome(explorer, width=0.5, bits=8, method="qat")
    assert result.net.key == (0.5, 0.0, 8, "qat")
    floats = [outcome(explorer, bits=32, method=m) for m in ("ptq", "qat")]
    assert floats[0] == floats[1]
    assert floats[0].net.method == ""
    assert "PTQ/QAT knob does nothing" in explorer.text(floats[0])


@pytest.mark.parametrize("board", targets.names())
def test_every_board_is_answered(explorer: CompressDeploy, board: str) -> None:
    result = outcome(explorer, board=board)
    cost = result.net.cores[result.board.core.name]
    words = explorer.text(result)
    assert result.board.title in words
    assert kib(cost.flash_bytes) in words
    assert result.chosen.total_instructions == cost.instructions
    core, timing = result.board.core, result.board.flash_timing
    ends = [cost.instructions * cpi for cpi in (core.cpi, core.cpi_low, core.cpi_high)]
    if core.name == "cortex-m4":  # whose cycles are modelled, and the waits of flash that is known
        ends = cost.cycles["/".join(map(str, asdict(timing).values())) if timing else ""]
    middle, low, high = (cycles / result.board.mhz / 1e3 for cycles in ends)
    assert f"about {middle:.3g} ms" in words
    assert f"{low:.3g} ms to {high:.3g} ms" in words
    for word in ("measured", "counted", "modelled"):
        assert word in words


def test_what_does_not_fit_is_told_by_how_much_and_where(explorer: CompressDeploy) -> None:
    result = outcome(
        explorer, board="stm32f103", width=max(explorer.table.values("width")), bits=32
    )
    cost = result.net.cores["cortex-m3"]
    over = cost.flash_bytes - result.board.flash_bytes
    assert over > 0
    words = explorer.text(result)
    assert "Does NOT fit" in words
    assert f"{kib(over)} of flash too much" in words
    largest = max(range(len(result.net.layers)), key=result.net.constant_bytes.__getitem__)
    assert f"layer {result.net.layers[largest]}" in words
    figure = explorer.figures(result)["flash"]
    unfit = next(t for t in figure.data if t.name == "does not fit")
    assert len(unfit.x) == sum(not fit for fit in result.fits)


def test_fits_is_need_against_have(explorer: CompressDeploy) -> None:
    result = outcome(explorer, board="stm32f103")
    for net, fits in zip(result.nets, result.fits, strict=True):
        cost = net.cores["cortex-m3"]
        sram = cost.arena_bytes + cost.stack + cost.static
        assert fits == (cost.flash_bytes <= 65536 and sram <= 20480)
    assert 0 < sum(result.fits) < len(result.fits), "the board separates the networks"


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("bits", [32, 8, 4])
def test_the_better_network_is_better(explorer: CompressDeploy, width: float, bits: int) -> None:
    result = outcome(explorer, width=width, bits=bits, board="stm32f103")

    def size(net: object) -> int:
        return net.cores["cortex-m3"].flash_bytes  # type: ignore[attr-defined]

    rivals = [
        net
        for net, fits in zip(result.nets, result.fits, strict=True)
        if fits
        and (size(net), -net.accuracy) != (size(result.net), -result.net.accuracy)
        and size(net) <= size(result.net)
        and net.accuracy >= result.net.accuracy
    ]
    if not rivals:
        assert result.better is None
    else:
        assert result.better in rivals
        assert result.better.accuracy == max(net.accuracy for net in rivals)


def test_figures_show_the_chosen_numbers(explorer: CompressDeploy) -> None:
    result = outcome(explorer, width=0.5)
    cost = result.net.cores["cortex-m4"]
    figures = {k: go.Figure(f.to_plotly_json()) for k, f in explorer.figures(result).items()}
    for name, value in (
        ("flash", cost.flash_bytes / 1024),
        ("instructions", cost.instructions / 1e6),
    ):
        ring = next(t for t in figures[name].data if t.name == "your choice")
        assert ring.x[0] == value
        assert ring.y[0] == pytest.approx(100 - 100 * result.net.accuracy)
    (bars,) = figures["layers"].data
    unit = 1e6 if "million" in figures["layers"].layout.xaxis.title.text else 1e3
    assert [round(x * unit) for x in bars.x] == list(cost.per_op)
    (boxes,) = figures["sram"].data
    top = max(base + size for base, size in zip(boxes.base, boxes.y, strict=True)) * 1024
    assert 0 <= result.chosen.sram_bytes - top < 16
    for figure in figures.values():
        assert re.search("counted|measured", figure.layout.title.subtitle.text)


def test_ones_own_file_is_profiled_once_for_a_board() -> None:
    explorer = CompressDeploy()
    settings = explorer.settings({"model": own_model()})
    steps: list[str] = []
    assert not explorer.instant(settings)
    result = explorer.compute(settings, lambda share, what: steps.append(what))
    assert any("mine.tflite" in step for step in steps)
    assert result.upload is not None
    assert result.upload.macs == (40,)
    assert result.shown is result.upload
    words = explorer.text(result)
    assert words.startswith("Your file: Fits")
    assert "accuracy is unknown" in words
    figures = explorer.figures(result)
    assert figures["flash"].layout.shapes[0].x0 == result.upload.flash_bytes / 1024
    assert list(figures["layers"].data[0].y) == ["0:fully_connected"]
    assert explorer.instant(settings)
    assert explorer.compute(settings) == result
    assert not explorer.instant({**settings, "board": "samd21"})


def test_a_file_with_an_unknown_op_is_shown_as_far_as_it_goes() -> None:
    from tinykit.graph import Op, Tensor

    b = GraphBuilder("odd")
    x = b.input("x", (1, 8), "float32")
    y = b.op("relu", [x], (1, 8), "float32")
    b.tensors.append(Tensor("z", (1, 8), "float32"))
    b.ops.append(Op("elu", (y,), (2,), {}, "1:elu"))
    from tinykit.explore._deployment import from_graph

    explorer = CompressDeploy()
    board = targets.load("stm32f446")
    found = from_graph(b.finish([2]), board, "odd")
    assert not found.complete
    assert found.instructions[1] is None
    result = outcome(explorer)
    with_it = Outcome(**{**vars(result), "upload": found})
    assert "elu" in explorer.text(with_it)
    assert "at least" in explorer.text(with_it)
    assert list(explorer.figures(with_it)["layers"].data[0].text)[1] == "unknown"


def test_a_damaged_file_is_a_model_format_error(explorer: CompressDeploy) -> None:
    whole = own_model().content
    for content in (b"", b"no model", whole[: len(whole) // 2]):
        with pytest.raises(ModelFormatError):
            outcome(explorer, model=File("x.tflite", content))


def test_profiling_stops_when_a_knob_turns() -> None:
    explorer = CompressDeploy()

    def turned(share: float | None, what: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        explorer.compute(explorer.settings({"model": own_model(6)}), turned)
