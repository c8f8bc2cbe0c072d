"""Loads, stores and moves of explicit vectors against numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from ood_toolkit.kernels._jit import exact_kernel
from ood_toolkit.kernels._lanes import (
    first_bit,
    lane_bits,
    lanes_from,
    largest_lane,
    sum_lanes,
)
from ood_toolkit.kernels._memory import (
    columns,
    load,
    pointer,
    store,
    store_selected,
    store_where,
)
from ood_toolkit.kernels._simd import LANES

FLOATS = [np.float32, np.float64]


@exact_kernel
def _select(source, target, kind, limit, count):
    x, y, found = pointer(source, kind), pointer(target, kind), 0
    for i in range(0, count, LANES):
        v = load(x, i)
        found += store_selected(y, found, v, v < limit)
    return found


@pytest.mark.parametrize("dtype", FLOATS)
def test_selected_lanes_move_together(dtype) -> None:
    """At every alignment: a longer vector than a register once faulted at most of them."""
    rng = np.random.default_rng(0)
    for shift in range(9):
        x = rng.standard_normal(64 * LANES).astype(dtype)
        y = np.empty(x.size + 2 * LANES, dtype)[shift:]
        for limit in (-9.0, -1.0, 0.0, 0.3, 9.0):
            found = _select(x.ctypes.data, y.ctypes.data, dtype(0), limit, x.size)
            np.testing.assert_array_equal(y[:found], x[x < limit])


@exact_kernel
def _widen(source, target, kind, like):
    store(pointer(target, like), 0, load(pointer(source, kind), 0))


@pytest.mark.parametrize(
    ("dtype", "kind"), [(np.float16, np.uint16(0)), (ml_dtypes.bfloat16, np.int16(0))]
)
def test_short_floats_are_widened_exactly(dtype, kind) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    wide = np.empty(every.size, np.float32)
    for i in range(0, every.size, LANES):
        _widen(every.ctypes.data + 2 * i, wide.ctypes.data + 4 * i, kind, np.float32(0))
    np.testing.assert_array_equal(wide, every.astype(np.float32))


@exact_kernel
def _transpose(source, target, kind, stride):
    x, y = pointer(source, kind), pointer(target, kind)
    a, b, c, d = columns(x, 0, stride)
    store(y, 0, a)
    store(y, LANES, b)
    store(y, 2 * LANES, c)
    store(y, 3 * LANES, d)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("stride", [4, 7, 100])
def test_columns(dtype, stride) -> None:
    x = np.arange(LANES * stride, dtype=dtype).reshape(LANES, stride)
    y = np.empty((4, LANES), dtype)
    _transpose(x.ctypes.data, y.ctypes.data, dtype(0), stride)
    np.testing.assert_array_equal(y, x[:, :4].T)


@exact_kernel
def _across(source, kind):
    v = load(pointer(source, kind), 0)
    top = largest_lane(v)
    return sum_lanes(v), top, first_bit(lane_bits(v >= top))


@pytest.mark.parametrize("dtype", FLOATS)
def test_across_lanes(dtype) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        x = rng.standard_normal(LANES).astype(dtype)
        total, top, at = _across(x.ctypes.data, dtype(0))
        pairs = x
        while pairs.size > 1:
            pairs = pairs[::2] + pairs[1::2]
        assert (total, top, at) == (pairs[0], x.max(), x.argmax())


@exact_kernel
def _store_some(source, target, kind, first, after):
    mask = lanes_from(first) & ~lanes_from(after)
    store_where(pointer(target, kind), 0, load(pointer(source, kind), 0), mask)
    return lane_bits(mask)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_masked_stores_touch_nothing_else(dtype) -> None:
    x = np.arange(LANES, dtype=dtype)
    for first in range(LANES):
        for after in range(first, LANES + 1):
            y = np.full(LANES, -1, dtype)
            bits = _store_some(x.ctypes.data, y.ctypes.data, dtype(0), first, after)
            assert bits == (1 << after) - (1 << first)
            expected = np.where((x >= first) & (x < after), x, -1)
            np.testing.assert_array_equal(y, expected)
