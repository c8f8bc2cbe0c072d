"""The record every part of the toolkit passes on: what a classifier said about N inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ood_toolkit.composed import MappedRows
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.products import CHUNK, product_rows
from ood_toolkit.streamed import as_streamed
from ood_toolkit.tensors import untracked

__all__ = ["FLOATS", "Array", "Head", "Outputs"]

Array = npt.NDArray[Any]
"""Any numpy array; docstrings say which shape and type."""

FLOATS = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype("f4"), np.dtype("f8"))
"""Types that logits and features may have."""


def _floats(name: str, values: Any, shape: str) -> Array:
    array: Any = as_streamed(values)
    array = np.asanyarray(untracked(name, values)) if array is None else array
    native = array.dtype in FLOATS
    if not native and array.dtype.newbyteorder("=") not in FLOATS:
        raise InputError(
            f"{name}: dtype {array.dtype} is not one of float16, bfloat16, float32, float64; "
            f"convert it first, e.g. {name}.astype('float32')"
        )
    if array.ndim != len(shape.split(", ")):
        raise InputError(f"{name} must be ({shape}), got shape {array.shape}")
    # a swapped float64 is not equal to np.float64: what asks for the width would take it for less
    kept = array if native else array.astype(array.dtype.newbyteorder("="))
    return kept  # type: ignore[no-any-return]


def _integers(name: str, values: Any) -> Array:
    if as_streamed(values) is not None:
        return values  # type: ignore[no-any-return]  # its reader has looked at all of them
    array: Array = np.asanyarray(untracked(name, values))
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers, got dtype {array.dtype}")
    if array.dtype.kind == "u" and (wrapped := array > np.iinfo(np.int64).max).any():
        row = np.argwhere(wrapped)[0]
        raise InputError(
            f"{name}: row {row[0]} is {array[tuple(row)]}, more than any class (a -1 that wrapped?)"
        )
    return array.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The last, linear layer of a classifier: logits = features @ weight.T + bias.

    Parameters
    ----------
    weight : (C, D) array of float
        One row a class.
    bias : (C,) array of float, optional
        Zeros if the layer has none.

    Raises
    ------
    InputError
        If a shape, a dtype or a value (NaN, infinity) cannot be a linear layer's.

    Examples
    --------
    >>> import numpy as np
    >>> head = Head(weight=np.eye(2), bias=np.zeros(2))
    >>> head.logits(np.array([[3.0, 1.0]]))
    array([[3., 1.]])
    """

    weight: Array
    bias: Array

    def __init__(self, weight: Any, bias: Any = None) -> None:
        w = _floats("head_weight", weight, "C, D")
        b = np.zeros(w.shape[0], w.dtype) if bias is None else _floats("head_bias", bias, "C")
        if b.shape[0] != w.shape[0]:
            raise InputError(
                f"head_bias has {b.shape[0]} entries but head_weight has {w.shape[0]} rows"
            )
        for name, array in (("head_weight", w), ("head_bias", b)):
            if not np.isfinite(array.astype(np.float64)).all():
                raise InputError(f"{name} holds NaN or infinity")
        object.__setattr__(self, "weight", w)
        object.__setattr__(self, "bias", b)

    def logits(self, features: Array) -> Array:
        """Logits of (N, D) features: (N, C), float64 if any operand is, else float32."""
        if features.shape[1] != self.weight.shape[1]:
            raise InputError(
                f"features have {features.shape[1]} columns but head_weight has "
                f"{self.weight.shape[1]}"
            )
        operands = (features.dtype, self.weight.dtype, self.bias.dtype)
        wide = np.float64 if np.float64 in operands else np.float32
        if (rows := as_streamed(features)) is not None:
            made: Any = MappedRows(
                rows, self.logits, (len(rows), len(self.weight)), np.dtype(wide), CHUNK
            )
            return made  # type: ignore[no-any-return]
        product = product_rows(features, self.weight.astype(wide, copy=False).T)
        product += self.bias.astype(wide)
        return product


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Outputs of one classifier for N inputs, checked when the object is made.

    Parameters
    ----------
    logits : (N, C) array of float16, bfloat16, float32 or float64, optional
        Pre-softmax outputs; -inf marks a masked class.  Computed from `features` and
        `head` where both are given and `logits` is not.
    features : (N, D) array of float, optional
        Penultimate features: what the head multiplies.
    layers : mapping of str to (N, D_l) arrays, optional
        Pooled features of further layers.
    labels : (N,) array of int, optional
        Classes 0 ... C-1; -1 where unknown.
    head : Head, optional
        The last layer.
    members : (M, N, C) array of float, optional
        Logits of ensemble members, dropout passes or augmentations.
    token_logits, token_mask, token_ids : arrays, optional
        (N, T, V), (N, T) and (N, T): the outputs of a sequence model.
    thumbnails : (N, H, W) or (N, H, W, 3) array of uint8, optional
        The picture a report shows for a row.
    text : (N,) array of str, optional
        The text a report shows for a row.
    source : str
        Where the arrays came from; error messages begin with it.

    Raises
    ------
    InputError
        If a shape, dtype or label contradicts the others.

    Examples
    --------
    >>> import numpy as np
    >>> x = Outputs(logits=np.array([[2.0, 1.0, 0.1]]), labels=[0])
    >>> len(x), x.classes, sorted(x.has())
    (1, 3, ['labels', 'logits'])
    """

    logits: Array | None = None
    features: Array | None = None
    layers: Mapping[str, Array] = field(default_factory=dict)
    labels: Array | None = None
    head: Head | None = None
    members: Array | None = None
    token_logits: Array | None = None
    token_mask: Array | None = None
    token_ids: Array | None = None
    thumbnails: Array | None = None
    text: Array | None = None
    source: str = ""

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if self.logits is not None:
            put("logits", _floats("logits", self.logits, "N, C"))
        if self.features is not None:
            put("features", _floats("features", self.features, "N, D"))
            if self.features.shape[1] < 1:
                raise InputError("features must have at least one column")
        layers = {name: _floats(f"layers/{name}", a, "N, D") for name, a in self.layers.items()}
        put("layers", MappingProxyType(layers))
        if self.members is not None:
            put("members", _floats("members", self.members, "M, N, C"))
        if self.token_logits is not None:
            put("token_logits", _floats("token_logits", self.token_logits, "N, T, V"))
        for name in ("labels", "token_ids"):
            if getattr(self, name) is not None:
                put(name, _integers(name, getattr(self, name)))
        for name in ("token_mask", "thumbnails", "text"):
            if getattr(self, name) is not None:
                put(name, np.asanyarray(getattr(self, name)))
        if self.logits is None and self.features is not None and self.head is not None:
            put("logits", self.head.logits(self.features))
        self._check_rows()
        self._check_classes()

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickles and copies: a read-only mapping has none."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return partial(type(self), **parts | {"layers": dict(self.layers)}), ()

    def _check_rows(self) -> None:
        arrays = self._row_arrays()
        if len(arrays) < 2 and self.members is None:
            return
        rows = {name: a.shape[0] for name, a in arrays}
        if self.members is not None:
            rows["members"] = self.members.shape[1]
        if len(set(rows.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in rows.items())
            raise InputError(f"arrays disagree on the number of rows: {listed}")

    def _check_classes(self) -> None:
        classes = {}
        if self.logits is not None:
            classes["logits"] = self.logits.shape[1]
        if self.members is not None:
            classes["members"] = self.members.shape[2]
        if self.head is not None:
            classes["head_weight"] = self.head.weight.shape[0]
            if self.features is not None and self.features.shape[1] != self.head.weight.shape[1]:
                raise InputError(
                    f"features have {self.features.shape[1]} columns but head_weight has "
                    f"{self.head.weight.shape[1]}"
                )
        if len(set(classes.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in classes.items())
            raise InputError(f"arrays disagree on the number of classes: {listed}")
        count = next(iter(classes.values()), None)
        if count is not None and count < 2:
            raise InputError(f"a classifier has at least two classes, got {count}")
        if self.labels is None:
            return
        if self.labels.ndim != 1:
            raise InputError(f"labels must be (N,), got shape {self.labels.shape}")
        if as_streamed(self.labels) is not None:
            return
        outside = self.labels < -1
        if count is not None:
            outside |= self.labels >= count
        if outside.any():
            row = int(np.argmax(outside))
            span = f"-1 ... {count - 1}" if count is not None else "-1 or larger"
            raise InputError(f"labels: row {row} is {self.labels[row]}, expected {span}")

    def _row_arrays(self) -> list[tuple[str, Array]]:
        """Name and array of everything whose first axis counts rows."""
        named = [(n, array) for n in _BY_ROWS if (array := getattr(self, n)) is not None]
        if self.layers:
            named += [(f"layers/{name}", array) for name, array in self.layers.items()]
        return named

    def __len__(self) -> int:
        if self.logits is not None:
            return int(self.logits.shape[0])
        for _, array in self._row_arrays():
            return int(array.shape[0])
        return int(self.members.shape[1]) if self.members is not None else 0

    @property
    def classes(self) -> int:
        """Number of classes; 0 where neither logits, members nor a head are there."""
        if self.logits is not None:
            return int(self.logits.shape[1])
        if self.head is not None:
            return int(self.head.weight.shape[0])
        return int(self.members.shape[2]) if self.members is not None else 0

    def has(self) -> frozenset[str]:
        """Names of the parts that are present."""
        present = [name for name in _PARTS if getattr(self, name) is not None]
        return frozenset([*present, "layers"] if self.layers else present)

    def rows(self, index: slice | Array) -> Outputs:
        """The same record restricted to some rows; a slice copies nothing."""
        changed: dict[str, Any] = {
            name: _some(array, index)
            for name, array in self._row_arrays()
            if not name.startswith("layers/")
        }
        changed["layers"] = {name: _some(array, index) for name, array in self.layers.items()}
        if self.members is not None:
            changed["members"] = _some(self.members, index, axis=1)
        return replace(self, **changed)


def _some(array: Any, index: slice | Array, axis: int = 0) -> Any:
    """Some rows; a run of streamed ones stays where it is."""
    rows = as_streamed(array)
    if rows is None or not isinstance(index, slice):
        return array[:, index] if axis else array[index]
    start, stop, _ = index.indices(rows.shape[axis])
    return rows.part(start, max(start, stop))


_PARTS = tuple(f.name for f in fields(Outputs) if f.name not in ("layers", "source"))
_BY_ROWS = tuple(name for name in _PARTS if name not in ("head", "members"))
