"""Plain values and arrays out of a pickle, read as data: no name in it is imported or called.

CIFAR's "python version" consists of pickles, and unpickling runs what a file says.  This module
walks the opcodes itself and knows lists, dicts, numbers, texts, bytes and the few callables by
which numpy writes an array; any other name is refused.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import readable_file, refusing, size_text
from ood_toolkit.outputs import Array

__all__ = ["read_pickled"]

_LARGEST = 1 << 30
_DTYPE = re.compile(r"[<>|=]?[biuf][1248]")

_CALLABLES = {
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


@dataclass(slots=True)
class _Name:
    """A callable that the file names; never looked up."""

    role: str


@dataclass(slots=True)
class _Dtype:
    text: str
    order: str = "|"

    def numpy(self) -> np.dtype[Any]:
        text = self.text.lstrip("<>|=")
        order = self.text[0] if self.text[0] in "<>" else self.order
        return np.dtype(order + text if order in "<>" else text)


@dataclass(slots=True)
class _ArrayStub:
    """An array of which only the parts are known so far."""

    parts: tuple[Any, ...] = field(default=())


def read_pickled(path: str) -> Any:
    """What a pickle of plain values and numpy arrays holds; nothing in it is run.

    Parameters
    ----------
    path : str
        Of at most 1 GiB.

    Returns
    -------
    object
        Dicts, lists, tuples, numbers, texts, bytes and numeric arrays.  Byte strings of
        Python 2 come as texts, one character a byte.

    Raises
    ------
    DataError
        If the file names anything but what numpy arrays are made of, or is damaged.

    Examples
    --------
    >>> import os, pickle, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "batch")
    ...     with open(path, "wb") as file:
    ...         pickle.dump({"labels": [3, 1]}, file)
    ...     read_pickled(path)
    {'labels': [3, 1]}
    """
    size = readable_file(path).st_size
    if size > _LARGEST:
        raise DataError(path, "", f"{size_text(size)} are more than a batch of images has")
    with refusing(path), open(path, "rb") as file:
        return _Reader(path).run(file.read())


class _Reader:
    """The stack, the marks and the memo of a pickle."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def refuse(self, why: str) -> DataError:
        return DataError(self.path, "", f"{why}; only plain values and arrays are read")

    def run(self, content: bytes) -> Any:
        for opcode, value, place in pickletools.genops(content):
            name = opcode.name
            if name == "STOP":
                if len(self.stack) != 1 or self.marks:
                    raise self.refuse("the pickle leaves its stack in disorder")
                return _finished(self, self.stack[0])
            self.step(name, value, place)
        raise self.refuse("the pickle has no end")

    def step(self, name: str, value: Any, place: int | None) -> None:
        if name in ("PROTO", "FRAME"):
            return
        if name in _VALUES:
            self.stack.append(value)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[value] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[value])
        else:
            self.build(name, value, place)

    def build(self, name: str, value: Any, place: int | None) -> None:
        if name in _TUPLES:
            items = self.pop(_TUPLES[name])
            self.stack.append(tuple(items))
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self.since_mark()
            made = {"TUPLE": tuple, "LIST": list}.get(name)
            self.stack.append(made(items) if made else self.pairs({}, items))
        elif name in ("APPEND", "APPENDS"):
            items = self.pop(1) if name == "APPEND" else self.since_mark()
            self.top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.pop(2) if name == "SETITEM" else self.since_mark()
            self.pairs(self.top(dict), items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = value.split(" ", 1) if name == "GLOBAL" else self.pop(2)
            self.stack.append(self.named(*words))
        elif name == "REDUCE":
            function, given = self.pop(2)
            self.stack.append(self.called(function, given))
        elif name == "BUILD":
            (state,) = self.pop(1)
            self.completed(self.stack[-1], state)
        else:
            raise self.refuse(f"the pickle does {name} at byte {place}")

    def pop(self, count: int) -> list[Any]:
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) - count < floor:
            raise self.refuse("the pickle takes more from its stack than is there")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise self.refuse("the pickle closes a list that it did not open")
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise self.refuse(f"the pickle adds to what is no {kind.__name__}")
        return self.stack[-1]

    def pairs(self, target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
        keys, values = items[::2], items[1::2]
        if len(keys) != len(values) or not all(isinstance(k, str | bytes | int) for k in keys):
            raise self.refuse("the pickle has a dict with keys that are no texts")
        target.update(zip(keys, values, strict=True))
        return target

    def named(self, module: Any, name: Any) -> _Name:
        role = _CALLABLES.get((module, name))
        if role is None:
            shown = f"{module}.{name}"[:80]
            raise self.refuse(f"the pickle would call {shown!r}, which may run anything")
        return _Name(role)

    def called(self, function: Any, given: Any) -> Any:
        if not isinstance(function, _Name) or not isinstance(given, tuple):
            raise self.refuse("the pickle calls what is no function")
        if function.role == "reconstruct":
            return _ArrayStub()
        if function.role == "dtype" and given and isinstance(given[0], str):
            return _Dtype(given[0])
        if function.role == "frombuffer" and len(given) == 4:
            raw, dtype, shape, order = given
            return _ArrayStub((1, shape, dtype, order == "F", raw))
        if function.role == "bytes" and given == ():
            return b""
        if function.role == "encode" and given[1:] in (("latin1",), ("latin-1",)):
            return given[0].encode("latin-1")
        raise self.refuse(f"the pickle calls {function.role} in a way that numpy does not")

    def completed(self, target: Any, state: Any) -> None:
        if isinstance(target, _Dtype) and isinstance(state, tuple) and len(state) > 4:
            target.order = state[1]
            if state[2] is not None or state[4] is not None:
                raise self.refuse("the pickle has an array of records")
        elif isinstance(target, _ArrayStub) and isinstance(state, tuple) and len(state) == 5:
            target.parts = state
        else:
            raise self.refuse("the pickle sets the state of an object")

    def array(self, stub: _ArrayStub) -> Array:
        if not stub.parts:
            raise self.refuse("an array has no contents")
        _, shape, dtype, fortran, raw = stub.parts
        if not isinstance(dtype, _Dtype) or not _DTYPE.fullmatch(dtype.text):
            shown = dtype.text if isinstance(dtype, _Dtype) else "unknown"
            raise self.refuse(f"an array is of type {shown}, not of numbers")
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        kind = dtype.numpy()
        whole = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
        if not whole or not isinstance(raw, bytes | bytearray):
            raise self.refuse("an array has no shape or no bytes")
        if math.prod(shape) * kind.itemsize != len(raw):
            raise self.refuse(f"an array of shape {shape} of {kind} has {len(raw)} bytes")
        values = np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
        return values.astype(kind.newbyteorder("="))


def _finished(reader: _Reader, value: Any) -> Any:
    """Arrays in place of what stood for them, two levels deep, where data sets have them."""
    if isinstance(value, dict):
        return {key: _one(reader, v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_one(reader, v) for v in value)
    return _one(reader, value)


def _one(reader: _Reader, value: Any) -> Any:
    if isinstance(value, _ArrayStub):
        return reader.array(value)
    if isinstance(value, _Name | _Dtype):
        raise reader.refuse("the pickle holds a function or a type")
    return value
