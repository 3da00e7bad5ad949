"""The C arithmetic against numpy's, at the edges of its ranges and in between."""

from __future__ import annotations

import ctypes
import functools

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tinykit.engine.build import c_source, compile_host
from tinykit.engine.kernels.conv import window_fields
from tinykit.graph import Op, Tensor, fixedpoint

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
MANTISSA = st.one_of(st.just(0), st.integers(1 << 30, (1 << 31) - 1))


@functools.cache
def library() -> ctypes.CDLL:
    text = """
#include "fixedpoint.h"
int32_t scale(int32_t x, int32_t m, int32_t s) { return tk_scale(x, m, s); }
int32_t scale64(int64_t x, int32_t m, int32_t s) { return tk_scale64(x, m, s); }
int32_t shift(int32_t x, int32_t e) { return tk_rounding_shift_right(x, e); }
int32_t high(int32_t a, int32_t b) { return tk_saturating_doubling_high_mul(a, b); }
int32_t clamp(int32_t x, int32_t low, int32_t high) { return tk_clamp(x, low, high); }
"""
    files = {"probe.c": text, "fixedpoint.h": c_source("fixedpoint.h")}
    made = ctypes.CDLL(str(compile_host(files)))
    made.scale64.argtypes = [ctypes.c_int64, ctypes.c_int32, ctypes.c_int32]
    return made


@given(INT32, MANTISSA, st.integers(-31, 30))
@example(-(1 << 31), (1 << 31) - 1, 0)
@example((1 << 31) - 1, (1 << 31) - 1, 30)
@example(-3, 1 << 30, 0)
@example(-(1 << 31), 1 << 30, -31)
def test_scale(x: int, mantissa: int, shift: int) -> None:
    expected = fixedpoint.multiply_by_quantized_multiplier(x, mantissa, shift)
    assert library().scale(x, mantissa, shift) == int(expected)


@given(st.integers(-(1 << 47), (1 << 47) - 1), MANTISSA, st.integers(-31, 7))
@example((1 << 47) - 1, (1 << 31) - 1, -16)
def test_scale64(x: int, mantissa: int, shift: int) -> None:
    expected = fixedpoint.multiply_by_quantized_multiplier_int64(x, mantissa, shift)
    assert library().scale64(x, mantissa, shift) == int(expected)


@given(INT32, st.integers(0, 31))
@example(-(1 << 31), 31)
@example((1 << 31) - 1, 31)
@example(-2, 2)
@example(2, 2)
def test_rounding_shift(x: int, exponent: int) -> None:
    assert library().shift(x, exponent) == int(fixedpoint.rounding_divide_by_pot(x, exponent))


@given(INT32, INT32)
@example(-(1 << 31), -(1 << 31))
@example(-(1 << 31), (1 << 31) - 1)
def test_high_multiply(a: int, b: int) -> None:
    assert library().high(a, b) == int(fixedpoint.saturating_rounding_doubling_high_mul(a, b))


@given(INT32, INT32, INT32)
def test_clamp(x: int, low: int, more: int) -> None:
    high = max(low, more)
    assert library().clamp(x, low, high) == min(max(x, low), high)


@functools.cache
def windows() -> ctypes.CDLL:
    text = """
#include "window.h"
struct probe { struct tk_window w; };
static int32_t *row;
static void pixel(const void *p, const struct tk_taps *t, const void *in, void *out)
{
    (void)p; (void)in; (void)out;
    int32_t put[7] = {t->first_row, t->first_col, t->rows, t->cols, t->at, t->row_step,
                      t->col_step};
    for (int i = 0; i < 7; i++) *row++ = put[i];
}
void probe(const struct tk_window *w, int32_t *to) { row = to; tk_slide(w, pixel, 0, 0, 0, 0); }
"""
    names = ("window.h", "window.c")
    return ctypes.CDLL(str(compile_host({"probe.c": text, **{n: c_source(n) for n in names}})))


#: fields of struct tk_window, in order
FIELDS = [
    *("batches", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "filter_h", "filter_w"),
    *("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_h", "pad_w"),
]


@given(st.data())
def test_windows_see_the_taps_that_lie_inside(data: st.DataObject) -> None:
    """`tk_slide` clips ranges of taps; here every tap is looked at."""
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    shape = (draw(1, 2), draw(1, 9), draw(1, 9), draw(1, 3))
    size = (draw(1, 5), draw(1, 5))
    attrs = {"padding": data.draw(st.sampled_from(["same", "valid"]))}
    attrs |= {k: draw(1, 4) for k in ("stride_h", "stride_w")}
    attrs |= {k: draw(1, 3) for k in ("dilation_h_factor", "dilation_w_factor")}
    out = tuple(
        fixedpoint.out_size(
            shape[1 + i], size[i], attrs[f"stride_{a}"], attrs["padding"],
            attrs[f"dilation_{a}_factor"],
        )
        for i, a in enumerate("hw")
    )  # fmt: skip
    if min(out) < 1:
        return
    source, sink = Tensor("x", shape, "int8"), Tensor("y", (shape[0], *out, 1), "int8")
    fields = window_fields(source, sink, size, Op("conv_2d", (0,), (1,), attrs))
    packed = np.array([fields[name] for name in FIELDS], np.int32)
    found = np.full((shape[0], *out, 7), -99, np.int32)
    windows().probe(packed.ctypes.data_as(ctypes.c_void_p), found.ctypes.data_as(ctypes.c_void_p))
    for where in np.ndindex(shape[0], *out):
        first_row, first_col, rows, cols, at, row_step, col_step = found[where].tolist()
        mine = np.full(size, -1, np.int64)
        for i in range(rows):
            for j in range(cols):
                mine[first_row + i, first_col + j] = at + i * row_step + j * col_step
        assert mine.tolist() == taps_by_hand(where, shape, size, fields)


def taps_by_hand(
    where: tuple[int, ...], shape: tuple[int, ...], size: tuple[int, int], fields: dict[str, int]
) -> list[list[int]]:
    """Element under each tap of the window at `where`, channel 0; -1 outside the image."""
    batch, oy, ox = where
    rows = []
    for i in range(size[0]):
        y = oy * fields["stride_h"] - fields["pad_h"] + i * fields["dilation_h"]
        row = []
        for j in range(size[1]):
            x = ox * fields["stride_w"] - fields["pad_w"] + j * fields["dilation_w"]
            inside = 0 <= y < shape[1] and 0 <= x < shape[2]
            element = np.ravel_multi_index((batch, y, x, 0), shape) if inside else -1
            row.append(int(element))
        rows.append(row)
    return rows
