"""From the lanes of vectors to single numbers and back; docs/kernels.md explains the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ood_toolkit.kernels._simd import LANES, MASK, Definition, call_llvm, llvm_type, shuffled

__all__ = [
    "count_bits",
    "first_bit",
    "first_lane",
    "huge_lanes",
    "lane_bits",
    "lanes_from",
    "largest_lane",
    "sum_lanes",
]

_I1, _I16, _I32, _I64 = (ir.IntType(width) for width in (1, 16, 32, 64))


def _folded(builder: Any, x: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """One number from sixteen: of neighbours, of neighbouring pairs, fours and eights."""
    for distance in (1, 2, 4, 8):
        order = [lane ^ distance for lane in range(LANES)]
        x = combine(x, shuffled(builder, x, x, order))
    return builder.extract_element(x, ir.Constant(_I32, 0))


@intrinsic  # type: ignore[untyped-decorator]
def sum_lanes(typing: Any, x: Any) -> Definition:
    """The sum of a vector's lanes, always in the same order."""
    return x.element(x), lambda context, b, sig, values: _folded(b, values[0], b.fadd)


@intrinsic  # type: ignore[untyped-decorator]
def largest_lane(typing: Any, x: Any) -> Definition:
    """The largest of a vector's lanes, none of them NaN."""

    def generate(context: Any, b: Any, sig: Any, values: Any) -> Any:
        compare = b.fcmp_ordered if isinstance(x.element, types.Float) else b.icmp_signed
        return _folded(b, values[0], lambda u, v: b.select(compare(">", u, v), u, v))

    return x.element(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def first_lane(typing: Any, x: Any) -> Definition:
    """Lane 0."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return builder.extract_element(values[0], ir.Constant(_I32, 0))

    return x.element(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def lanes_from(typing: Any, first: Any) -> Definition:
    """The mask of lanes first ... 15."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        bits = builder.shl(ir.Constant(_I64, 0xFFFF), values[0])
        return builder.bitcast(builder.trunc(bits, _I16), llvm_type(MASK))

    return MASK(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def huge_lanes(typing: Any, bits: Any) -> Definition:
    """The lanes that are the bits of NaN, infinity or a number of at least 2."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        kind, width = llvm_type(bits), bits.element.bitwidth
        high = ir.Constant(kind, [1 << (width - 2)] * LANES)
        return builder.icmp_signed("!=", builder.and_(values[0], high), ir.Constant(kind, None))

    return MASK(bits), generate


@intrinsic  # type: ignore[untyped-decorator]
def lane_bits(typing: Any, mask: Any) -> Definition:
    """A mask as an integer: bit i is lane i."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], _I16), _I64)

    return types.int64(mask), generate


@intrinsic  # type: ignore[untyped-decorator]
def first_bit(typing: Any, bits: Any) -> Definition:
    """The place of the lowest set bit."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return call_llvm(builder, "llvm.cttz.i64", _I64, values[0], ir.Constant(_I1, 0))

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def count_bits(typing: Any, bits: Any) -> Definition:
    """How many bits are set."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return call_llvm(builder, "llvm.ctpop.i64", _I64, values[0])

    return types.int64(types.int64), generate
