"""Functions of the vectors of `_simd`, lane by lane; docs/kernels.md explains them.

Single numbers will do for them too, so that a function made of them can be used on either.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ood_toolkit.kernels._simd import (
    FLOAT32,
    FLOAT64,
    INT64,
    Definition,
    Instruction,
    Vector,
    bits_of,
    call_llvm,
    common_kind,
    floats_of,
    lanewise,
    llvm_type,
    spread_value,
)

__all__ = [
    "add_exponent",
    "as_bits",
    "as_floats",
    "exponent",
    "fma",
    "larger",
    "magnitude_bits",
    "mantissa",
    "narrow",
    "polynomial",
    "select",
    "smaller",
    "spread",
    "to_integers",
    "widen",
]


def _element(kind: Any) -> Any:
    return kind.element if isinstance(kind, Vector) else kind


def _fused(builder: Any, kind: Any, a: Any, b: Any, c: Any) -> Any:
    suffix = f"{'v16' if isinstance(kind, Vector) else ''}f{_element(kind).bitwidth}"
    return call_llvm(builder, f"llvm.fma.{suffix}", a.type, a, b, c)


def _picked(sign: str) -> Instruction:
    def instruction(builder: Any, kind: Any, a: Any, b: Any) -> Any:
        real = isinstance(_element(kind), types.Float)
        compare = builder.fcmp_ordered if real else builder.icmp_signed
        return builder.select(compare(sign, a, b), a, b)

    return instruction


@intrinsic  # type: ignore[untyped-decorator]
def fma(typing: Any, a: Any, b: Any, c: Any) -> Definition:
    """A b + c, rounded once."""
    return lanewise((a, b, c), _fused)


@intrinsic  # type: ignore[untyped-decorator]
def polynomial(typing: Any, x: Any, coefficients: Any) -> Definition:
    """c_0 + c_1 x + c_2 x^2 + ... by fused multiply-adds, from a tuple of float64."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        terms = [
            spread_value(context, builder, number, types.float64, x)
            for number in cgutils.unpack_tuple(builder, values[1])
        ]
        result = terms.pop()
        while terms:
            result = _fused(builder, x, result, values[0], terms.pop())
        return result

    return x(x, coefficients), generate


@intrinsic  # type: ignore[untyped-decorator]
def larger(typing: Any, a: Any, b: Any) -> Definition:
    """A where a > b, else b: NaN in a is dropped, NaN in b kept."""
    return lanewise((a, b), _picked(">"))


@intrinsic  # type: ignore[untyped-decorator]
def smaller(typing: Any, a: Any, b: Any) -> Definition:
    """A where a < b, else b: NaN in a is dropped, NaN in b kept."""
    return lanewise((a, b), _picked("<"))


@intrinsic  # type: ignore[untyped-decorator]
def as_bits(typing: Any, x: Any) -> Definition:
    """The bit patterns of floats, as integers."""
    return lanewise((x,), lambda b, kind, v: b.bitcast(v, llvm_type(bits_of[kind])), bits_of.get)


@intrinsic  # type: ignore[untyped-decorator]
def as_floats(typing: Any, x: Any) -> Definition:
    """The floats that have these bit patterns."""
    return lanewise(
        (x,), lambda b, kind, v: b.bitcast(v, llvm_type(floats_of[kind])), floats_of.get
    )


@intrinsic  # type: ignore[untyped-decorator]
def to_integers(typing: Any, x: Any) -> Definition:
    """Floats without a fraction as int64."""
    return INT64(x), lambda context, b, sig, values: b.fptosi(values[0], llvm_type(INT64))


@intrinsic  # type: ignore[untyped-decorator]
def select(typing: Any, mask: Any, a: Any, b: Any) -> Definition:
    """Lanes of a where the mask is set, of b elsewhere."""
    vector = common_kind([types.unliteral(a), types.unliteral(b)])

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        pairs = zip(values[1:], sig.args[1:], strict=True)
        chosen = [spread_value(context, builder, value, kind, vector) for value, kind in pairs]
        return builder.select(values[0], *chosen)

    return vector and (vector(mask, a, b), generate)


@intrinsic  # type: ignore[untyped-decorator]
def spread(typing: Any, x: Any, like: Any) -> Definition:
    """One number in all lanes of a vector like another."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return spread_value(context, builder, values[0], sig.args[0], like)

    return like(types.unliteral(x), like), generate


@intrinsic  # type: ignore[untyped-decorator]
def widen(typing: Any, x: Any) -> Definition:
    """To float64."""
    if x == FLOAT64:
        return x(x), lambda context, builder, sig, values: values[0]
    return FLOAT64(x), lambda context, b, sig, values: b.fpext(values[0], llvm_type(FLOAT64))


@intrinsic  # type: ignore[untyped-decorator]
def narrow(typing: Any, x: Any, like: Any) -> Definition:
    """Float64 to the type of a vector like another."""
    if like == FLOAT64:
        return x(x, like), lambda context, builder, sig, values: values[0]
    return FLOAT32(x, like), lambda context, b, sig, values: b.fptrunc(values[0], llvm_type(like))


# ---- the parts of a float ------------------------------------------------------------

_FRACTION_BITS = {types.float32: 23, types.float64: 52}
_ROOT_HALF_BITS = {types.float32: 0x3F3504F3, types.float64: 0x3FE6A09E667F3BCD}


def _constant(kind: Any, value: int) -> Any:
    """An integer constant of the width of a kind of float, in every lane."""
    bits = llvm_type(bits_of[kind])
    return ir.Constant(bits, [value] * bits.count if isinstance(kind, Vector) else value)


@intrinsic  # type: ignore[untyped-decorator]
def magnitude_bits(typing: Any, x: Any) -> Definition:
    """The bits of |x|, which as integers have the order of |x| with NaN above infinity."""

    def instruction(b: Any, kind: Any, x: Any) -> Any:
        width = _element(kind).bitwidth
        bits = b.bitcast(x, llvm_type(bits_of[kind]))
        return b.and_(bits, _constant(kind, (1 << (width - 1)) - 1))

    return lanewise((x,), instruction, bits_of.get)


@intrinsic  # type: ignore[untyped-decorator]
def add_exponent(typing: Any, x: Any, shifted: Any) -> Definition:
    """X times 2^n, where the last bits of `shifted` are n and the result is a normal float."""

    def instruction(b: Any, kind: Any, x: Any, shifted: Any) -> Any:
        bits = llvm_type(bits_of[kind])
        place = _constant(kind, _FRACTION_BITS[_element(kind)])
        raised = b.add(b.bitcast(x, bits), b.shl(b.bitcast(shifted, bits), place))
        return b.bitcast(raised, x.type)

    return lanewise((x, shifted), instruction)


def _offset_bits(b: Any, kind: Any, x: Any) -> Any:
    """Bits counted from sqrt(1/2), so that mantissas lie in [sqrt(1/2), sqrt(2))."""
    root = _constant(kind, _ROOT_HALF_BITS[_element(kind)])
    return b.sub(b.bitcast(x, llvm_type(bits_of[kind])), root)


@intrinsic  # type: ignore[untyped-decorator]
def exponent(typing: Any, x: Any) -> Definition:
    """E of x = m 2^e with m in [sqrt(1/2), sqrt(2)); x positive and normal."""

    def instruction(b: Any, kind: Any, x: Any) -> Any:
        place = _constant(kind, _FRACTION_BITS[_element(kind)])
        return b.sitofp(b.ashr(_offset_bits(b, kind, x), place), x.type)

    return lanewise((x,), instruction)


@intrinsic  # type: ignore[untyped-decorator]
def mantissa(typing: Any, x: Any) -> Definition:
    """M of x = m 2^e with m in [sqrt(1/2), sqrt(2)); x positive and normal."""

    def instruction(b: Any, kind: Any, x: Any) -> Any:
        root, places = _ROOT_HALF_BITS[_element(kind)], _FRACTION_BITS[_element(kind)]
        fraction = b.and_(_offset_bits(b, kind, x), _constant(kind, (1 << places) - 1))
        return b.bitcast(b.add(fraction, _constant(kind, root)), x.type)

    return lanewise((x,), instruction)
