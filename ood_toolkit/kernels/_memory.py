"""Where the vectors of `_simd` come from and go to; docs/kernels.md explains the file."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from ood_toolkit.kernels._platform import compresses
from ood_toolkit.kernels._simd import (
    FLOAT32,
    FLOAT64,
    INT64,
    LANES,
    Definition,
    call_llvm,
    llvm_type,
    shuffled,
)

__all__ = [
    "columns",
    "load",
    "offset",
    "pointer",
    "prefetch",
    "room",
    "store",
    "store_selected",
    "store_where",
    "zeros",
]

_I16, _I32, _I64 = (ir.IntType(width) for width in (16, 32, 64))
# How numbers lie in memory -> LLVM type of one, bytes.  float16 goes as its bits in uint16,
# bfloat16 in int16; both become float32 as they are loaded.
_STORED = {
    types.float32: (ir.FloatType(), 4),
    types.float64: (ir.DoubleType(), 8),
    types.uint16: (ir.HalfType(), 2),
    types.int16: (_I16, 2),
    types.int64: (_I64, 8),
}
_LOADED = {types.float64: FLOAT64, types.int64: INT64}


class Pointer(types.Type):  # type: ignore[misc]
    """An address of numbers as they are stored; the caller keeps them alive."""

    def __init__(self, stored: Any) -> None:
        self.stored = stored
        self.vector = _LOADED.get(stored, FLOAT32)
        super().__init__(name=f"Pointer({stored})")


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, pointer: Pointer) -> None:
        super().__init__(manager, pointer, _I64)


def _moved(builder: Any, base: Any, index: Any, size: int) -> Any:
    return builder.add(base, builder.mul(index, ir.Constant(_I64, size)))


def _read(builder: Any, kind: Pointer, base: Any, index: Any, count: int) -> Any:
    """`count` numbers from `index` on, widened to float32 where they are shorter."""
    element, size = _STORED[kind.stored]
    place = _moved(builder, base, index, size)
    raw = builder.load(
        builder.inttoptr(place, ir.VectorType(element, count).as_pointer()), align=size
    )
    wide = ir.VectorType(ir.FloatType(), count)
    if kind.stored == types.uint16:
        return builder.fpext(raw, wide)
    if kind.stored == types.int16:  # bfloat16 is the upper half of a float32
        bits = ir.VectorType(_I32, count)
        upper = builder.shl(builder.zext(raw, bits), ir.Constant(bits, [16] * count))
        return builder.bitcast(upper, wide)
    return raw


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing: Any, address: Any, stored: Any) -> Definition:
    """An integer address as the place of numbers stored like `stored`, a sample of them."""
    kind = Pointer(types.unliteral(stored))
    return kind(address, stored), lambda context, builder, sig, values: values[0]


@intrinsic  # type: ignore[untyped-decorator]
def room(typing: Any, address: Any, like: Any) -> Definition:
    """An integer address as a place for what `load` of another pointer gives."""
    kind = Pointer(like.vector.element)
    return kind(address, like), lambda context, builder, sig, values: values[0]


@intrinsic  # type: ignore[untyped-decorator]
def offset(typing: Any, base: Any, index: Any) -> Definition:
    """A pointer moved on by so many numbers."""
    size = _STORED[base.stored][1]
    code = lambda context, builder, sig, values: _moved(builder, values[0], values[1], size)  # noqa: E731
    return base(base, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def zeros(typing: Any, base: Any) -> Definition:
    """A vector of zeros of the type that `load` gives."""
    zero = ir.Constant(llvm_type(base.vector), [0.0] * LANES)
    return base.vector(base), lambda context, builder, sig, values: zero


@intrinsic  # type: ignore[untyped-decorator]
def load(typing: Any, base: Any, index: Any) -> Definition:
    """Sixteen numbers from `index` on, widened to float32 where they are shorter."""
    code = lambda context, builder, sig, values: _read(builder, base, values[0], values[1], LANES)  # noqa: E731
    return base.vector(base, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, base: Any, index: Any) -> Definition:
    """Fetch the number at `index` and its neighbours towards the processor; any place will do."""
    size = _STORED[base.stored][1]

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        place = _moved(builder, values[0], values[1], size)
        place = builder.inttoptr(place, ir.IntType(8).as_pointer())
        how = [ir.Constant(_I32, number) for number in (0, 3, 1)]  # to read, to keep, data
        call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), place, *how)
        return context.get_dummy_value()

    return types.void(base, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, base: Any, index: Any, x: Any) -> Definition:
    """Write a vector of the pointer's type to sixteen numbers from `index` on."""
    size = _STORED[base.stored][1]

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        place = _moved(builder, values[0], values[1], size)
        builder.store(values[2], builder.inttoptr(place, llvm_type(x).as_pointer()), align=size)
        return context.get_dummy_value()

    return (types.void(base, types.intp, x), generate) if x == base.vector else None


@intrinsic  # type: ignore[untyped-decorator]
def store_where(typing: Any, base: Any, index: Any, x: Any, mask: Any) -> Definition:
    """As `store`, of those lanes alone that the mask selects."""
    _, size = _STORED[base.stored]

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        place = _moved(builder, values[0], values[1], size)
        place = builder.inttoptr(place, llvm_type(x).as_pointer())
        kind = f"v{LANES}{'i' if base.stored == types.int64 else 'f'}{8 * size}"
        name = f"llvm.masked.store.{kind}.p0"
        align = ir.Constant(_I32, size)
        call_llvm(builder, name, ir.VoidType(), values[2], place, align, values[3])
        return context.get_dummy_value()

    return (types.void(base, types.intp, x, mask), generate) if x == base.vector else None


@intrinsic  # type: ignore[untyped-decorator]
def columns(typing: Any, base: Any, index: Any, stride: Any) -> Definition:
    """Four columns of sixteen rows, from `index` on: a vector a column, a lane a row."""

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        start, index, stride = values
        rows = []
        for _ in range(LANES):
            rows.append(_read(builder, base, start, index, 4))
            index = builder.add(index, stride)
        return context.make_tuple(builder, sig.return_type, _transposed(builder, rows))

    return types.UniTuple(base.vector, 4)(base, types.intp, types.intp), generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Sixteen vectors of four -> four vectors of sixteen.

    Rows i, 4 + i, 8 + i and 12 + i first become one vector.  Four such vectors hold four
    4 x 4 matrices side by side, which two rounds of pairing transpose.
    """
    halves = [shuffled(builder, rows[i], rows[i + 4], list(range(8))) for i in (0, 1, 2, 3)]
    others = [shuffled(builder, rows[i], rows[i + 4], list(range(8))) for i in (8, 9, 10, 11)]
    quads = [
        shuffled(builder, low, high, list(range(LANES)))
        for low, high in zip(halves, others, strict=True)
    ]

    def paired(a: Any, b: Any, picks: tuple[int, ...]) -> Any:
        # in each quarter, 0-3 picks from a, 4-7 from b
        order = [p % 4 + LANES * (p // 4) + 4 * q for q in range(4) for p in picks]
        return shuffled(builder, a, b, order)

    result = []
    for picks in ((0, 4, 1, 5), (2, 6, 3, 7)):
        left, right = paired(quads[0], quads[1], picks), paired(quads[2], quads[3], picks)
        result += [paired(left, right, (0, 1, 4, 5)), paired(left, right, (2, 3, 6, 7))]
    return result


@intrinsic  # type: ignore[untyped-decorator]
def store_selected(typing: Any, base: Any, index: Any, x: Any, mask: Any) -> Definition:
    """Write the lanes that the mask selects from `index` on; how many there are.

    Up to sixteen places behind them may be written too.
    """

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        start, index, x, mask = values
        _, size = _STORED[base.stored]
        # A register at a time: of a longer vector LLVM 22 writes the second half with an
        # instruction that faults unless the place happens to be aligned.
        lanes = 512 // (8 * size) if compresses() else 1
        for first in range(0, LANES, lanes):
            place = builder.inttoptr(
                _moved(builder, start, index, size), _part(x.type, lanes).as_pointer()
            )
            chosen = list(range(first, first + lanes))
            part, bits = shuffled(builder, x, x, chosen), shuffled(builder, mask, mask, chosen)
            if lanes > 1:
                rest = ir.Constant(part.type, ir.Undefined)
                name = f"llvm.experimental.vector.compress.v{lanes}f{8 * size}"
                part = call_llvm(builder, name, part.type, part, bits, rest)
            builder.store(part, place, align=size)
            flags = builder.zext(builder.bitcast(bits, ir.IntType(lanes)), _I64)
            index = builder.add(index, call_llvm(builder, "llvm.ctpop.i64", _I64, flags))
        return builder.sub(index, values[1])

    return types.int64(base, types.intp, x, mask), generate


def _part(vector: ir.VectorType, lanes: int) -> ir.VectorType:
    return ir.VectorType(vector.element, lanes)
