"""Vectors of sixteen numbers inside compiled kernels; docs/kernels.md explains the file.

A `Vector` is a numba type whose data model is an LLVM vector, which LLVM turns into one
AVX-512 register, two of AVX2 or four of NEON.  Operators work lane by lane, a plain number
beside a vector is spread over its lanes.  All of it exists only inside kernels.  What
operators cannot say is in `_lanewise`, memory and moves across lanes in `_lanes`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

__all__ = [
    "FLOAT32",
    "FLOAT64",
    "INT64",
    "LANES",
    "MASK",
    "Definition",
    "Instruction",
    "Vector",
    "bits_of",
    "call_llvm",
    "common_kind",
    "floats_of",
    "lanewise",
    "llvm_type",
    "shuffled",
    "spread_value",
]

LANES = 16


class Vector(types.Type):  # type: ignore[misc]
    """Sixteen numbers of one element type; of booleans, a mask."""

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"Vector({element})")


FLOAT32, FLOAT64 = Vector(types.float32), Vector(types.float64)
INT32, INT64 = Vector(types.int32), Vector(types.int64)
MASK = Vector(types.boolean)

_INDEX = ir.IntType(32)
_ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
    types.boolean: ir.IntType(1),
}
# Floats and the integers of their width, as vectors and as single numbers.
bits_of = {FLOAT32: INT32, FLOAT64: INT64, types.float32: types.int32, types.float64: types.int64}
floats_of = {bits: floats for floats, bits in bits_of.items()}


def llvm_type(kind: Any) -> Any:
    """The LLVM type of a `Vector` or of a single number."""
    if isinstance(kind, Vector):
        return ir.VectorType(_ELEMENTS[kind.element], LANES)
    return _ELEMENTS[kind]


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, llvm_type(vector))


# ---- operations on operands of one kind ----------------------------------------------

Instruction = Callable[..., Any]
"""(builder, kind, *operands) -> LLVM value."""
Definition = tuple[Any, Callable[..., Any]] | None
"""What numba wants of an intrinsic: signature and code; None where the types are wrong."""


def shuffled(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    """The lanes of a and b, counted on from a's, in another order."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, len(order)), order))


def call_llvm(builder: Any, name: str, result: Any, *values: Any) -> Any:
    """Call an LLVM intrinsic of a given full name."""
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def spread_value(context: Any, builder: Any, value: Any, kind: Any, wanted: Any) -> Any:
    """A value converted to the element type of `wanted`, and spread where that is a vector."""
    if isinstance(kind, Vector):
        return value
    scalar = context.cast(builder, value, kind, getattr(wanted, "element", wanted))
    if not isinstance(wanted, Vector):
        return scalar
    empty = ir.Constant(llvm_type(wanted), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(_INDEX, 0))
    return shuffled(builder, first, empty, [0] * LANES)


def common_kind(kinds: list[Any]) -> Any:
    """The one kind of the operands, among which numbers may stand beside a vector; or None."""
    vectors = {kind for kind in kinds if isinstance(kind, Vector)}
    if not all(isinstance(kind, Vector | types.Number) for kind in kinds):
        return None
    found = vectors or set(kinds)
    return found.pop() if len(found) == 1 else None


def _same(kind: Any) -> Any:
    return kind


def lanewise(
    kinds: tuple[Any, ...], instruction: Instruction, result: Callable[[Any], Any] = _same
) -> Definition:
    plain = [types.unliteral(kind) for kind in kinds]
    common = common_kind(plain)
    if common is None or result(common) is None:
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        pairs = zip(values, sig.args, strict=True)
        operands = [spread_value(context, builder, value, kind, common) for value, kind in pairs]
        return instruction(builder, common, *operands)

    return signature(result(common), *plain), generate


# ---- operators -----------------------------------------------------------------------


def _define_operator(symbol: Any, instruction: Instruction, result: Callable[[Any], Any]) -> None:
    @infer_global(symbol)
    class _Typing(AbstractTemplate):  # type: ignore[misc]
        def generic(self, kinds: Any, keywords: Any) -> Any:
            if not any(isinstance(kind, Vector) for kind in kinds):
                return None  # numba's own
            found = lanewise(kinds, instruction, result)
            return found and found[0]

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        found = lanewise(sig.args, instruction, result)
        assert found is not None
        return found[1](context, builder, sig, values)

    if symbol in (operator.neg, operator.invert):
        lower_builtin(symbol, Vector)(generate)
    else:
        for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
            lower_builtin(symbol, *kinds)(generate)


def _arithmetic(of_floats: str, of_integers: str) -> Instruction:
    def instruction(builder: Any, kind: Any, *operands: Any) -> Any:
        real = isinstance(kind.element, types.Float)
        return getattr(builder, of_floats if real else of_integers)(*operands)

    return instruction


def _comparison(sign: str) -> Instruction:
    def instruction(builder: Any, kind: Any, a: Any, b: Any) -> Any:
        real = isinstance(kind.element, types.Float)
        # ordered: false where either is NaN
        return (builder.fcmp_ordered if real else builder.icmp_signed)(sign, a, b)

    return instruction


for _symbol, _of_floats, _of_integers in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", ""),
    (operator.neg, "fneg", "neg"),
    (operator.and_, "", "and_"),
    (operator.or_, "", "or_"),
    (operator.xor, "", "xor"),
    (operator.lshift, "", "shl"),
    (operator.rshift, "", "ashr"),
    (operator.invert, "", "not_"),
):
    _define_operator(_symbol, _arithmetic(_of_floats, _of_integers), _same)
for _symbol, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _define_operator(_symbol, _comparison(_sign), lambda vector: MASK)
