"""The device catalogue: complete, sourced, in step with what its sources can be recomputed from."""

from __future__ import annotations

import copy
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tinykit.federated.system import CatalogueError, UnknownDeviceError, catalogue, load, parse
from tinykit.federated.system.catalogue import DEVICE_NUMBERS, LINK_NUMBERS
from tinykit.federated.system.study import fit

FILE = "tinykit/federated/system/devices.toml"


@pytest.fixture
def table(root: Path) -> dict:
    return tomllib.loads((root / FILE).read_text("utf-8"))


def test_every_number_has_unit_origin_and_source() -> None:
    book = catalogue()
    kinds = [d.kind for d in book.devices.values()]
    assert kinds.count("phone") >= 4
    assert {"board", "microcontroller"} <= set(kinds)
    for numbers, things in ((DEVICE_NUMBERS, book.devices), (LINK_NUMBERS, book.links)):
        for thing in things.values():
            for name, unit in numbers.items():
                number = getattr(thing, name)
                assert number.unit == unit
                assert len(number.source) > 10
    for device in book.devices.values():
        assert device.compute_w.value > device.idle_w.value
        if device.by_hour:
            assert np.mean(device.by_hour) == pytest.approx(device.available.value, rel=0.1)


def test_names_are_found_however_they_are_written() -> None:
    assert load("Pixel 4") is load("pixel_4") is load("pixel-4")
    with pytest.raises(UnknownDeviceError, match="closest: jetson-nano"):
        load("jetson nan")
    with pytest.raises(UnknownDeviceError, match=r"there are: .*raspberry-pi-4"):
        load("qqqq")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("pixel-4", "idle_w"), None, "device 'pixel-4' lacks idle_w"),
        (("pixel-4", "idle_w"), 0.2, r"lacks idle_w as \{ value"),
        (("pixel-4", "idle_w", "value"), -1, "idle_w = -1 W cannot be"),
        (("pixel-4", "memory_bytes", "value"), 0, "memory_bytes = 0 B cannot be"),
        (("pixel-4", "memory_bytes", "value"), "4G", "memory_bytes is a number in B"),
        (("pixel-4", "idle_w", "source"), "", "idle_w needs a source"),
        (("pixel-4", "idle_w", "origin"), "guessed", "idle_w needs a source and an origin"),
        (("pixel-4", "available", "value"), 1.5, "available is a share"),
        (("pixel-4", "links"), [], "no links"),
        (("pixel-4", "links"), ["5g"], "no link '5g'; there are: ble"),
        (("pixel-4", "by_hour"), [0.5], "by_hour holds 24 shares"),
        (("pixel-4", "title"), "", "lacks title"),
    ],
)
def test_a_row_that_is_wrong_is_told(table: dict, path: tuple, value: object, words: str) -> None:
    table = copy.deepcopy(table)
    row = table["devices"]
    for key in path[:-1]:
        row = row[key]
    if value is None:
        del row[path[-1]]
    else:
        row[path[-1]] = value
    with pytest.raises(CatalogueError, match=words):
        parse(table)


def test_a_new_row_is_a_new_device(table: dict) -> None:
    table["devices"]["my-phone"] = copy.deepcopy(table["devices"]["pixel-4"])
    assert parse(table).device("My Phone").title == load("pixel-4").title


@pytest.mark.parametrize(
    ("name", "milliseconds"), [("nexus-6", 1642), ("redmi-note-8", 588), ("galaxy-note-10", 179)]
)
def test_the_phones_rate_is_that_of_their_source(name: str, milliseconds: float) -> None:
    """A batch of 10 of LEAF's FEMNIST CNN: 5x5x32, pool, 5x5x64, pool, 2048, 62, on 28x28."""
    forward = 28**2 * 25 * 32 + 14**2 * 25 * 32 * 64 + 7 * 7 * 64 * 2048 + 2048 * 62
    assert load(name).training_macs_per_s.value == pytest.approx(
        3 * 10 * forward / (milliseconds / 1e3), rel=0.01
    )


def test_the_tx2s_are_those_of_the_study() -> None:
    found = fit()
    macs = 37e6  # forward pass of a ResNet-18 on 32x32 pixels
    assert load("jetson-tx2-gpu").training_macs_per_s.value == pytest.approx(
        3 * macs * found.examples_per_s, rel=0.01
    )
    assert load("jetson-tx2-cpu").training_macs_per_s.value == pytest.approx(
        3 * macs * found.cpu_examples_per_s, rel=0.01
    )
    assert load("jetson-tx2-gpu").overhead_s.value == pytest.approx(found.overhead_s, rel=0.01)


def test_the_microcontrollers_rate_is_that_of_the_kits_own_kernels() -> None:
    """Instructions of a float32 convolution are counted, its cycles modelled, on a Cortex-M4."""
    from tinykit.engine import emulate
    from tinykit.graph.builder import GraphBuilder

    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.input("x", (1, 12, 12, 8), "float32")
    w = b.const(rng.normal(0, 0.3, (16, 3, 3, 8)).astype(np.float32))
    bias = b.const(np.zeros(16, np.float32))
    y = b.op("conv_2d", [x, w, bias], (1, 10, 10, 16), "float32", padding="valid", stride_w=1,
             stride_h=1)  # fmt: skip
    image = rng.normal(size=(1, 12, 12, 8)).astype(np.float32)
    found = emulate(b.finish([y]), [image], "cortex-m4", timing=True)
    assert found.cycles is not None
    cycles_a_mac = found.cycles[0].middle / (10 * 10 * 16 * 3 * 3 * 8)
    for name, hertz in (("stm32f446", 180e6), ("nrf52840", 64e6)):
        assert load(name).training_macs_per_s.value == pytest.approx(hertz / cycles_a_mac, rel=0.1)


def test_the_package_needs_no_torch() -> None:
    code = (
        "import sys, tinykit.federated.system as s; s.catalogue(); import "
        "tinykit.federated.system.study; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
