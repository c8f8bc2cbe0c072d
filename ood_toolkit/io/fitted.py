"""Fitted things as `.safetensors` files: arrays as tensors, everything else as JSON.

Reading runs no code from the file: types are looked up by name among the toolkit's own,
and every array is checked for shape, finiteness and its checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from ood_toolkit.errors import DataError, InputError, UnknownName
from ood_toolkit.io.atomic import atomic_write
from ood_toolkit.io.gate import Limits
from ood_toolkit.io.safetensors_file import open_safetensors, safetensors_metadata
from ood_toolkit.outputs import Array

__all__ = [
    "FORMAT",
    "FittedKind",
    "StoredFit",
    "fitted_digest",
    "read_fitted",
    "refusing_damage",
    "write_fitted",
]

FORMAT = 1
"""Version of the file format; a file of a later one is refused."""


@dataclass(frozen=True, slots=True)
class FittedKind:
    """One kind of fitted thing: what its files hold and what to call it.

    Parameters
    ----------
    noun : str
        "detector" or "calibrator": how messages name the file.
    root : str
        The metadata key of the fitted object.
    made_by : str
        The command that writes such a file.
    types : callable
        The toolkit's own classes that a file may hold, by name.
    describe : callable
        Name and hyper-parameters of an object that holds only these.
    make : callable
        The object that a name and hyper-parameters describe.
    """

    noun: str
    root: str
    made_by: str
    types: Callable[[], Mapping[str, type]]
    describe: Callable[[Any], tuple[str, Mapping[str, Any]]]
    make: Callable[[str, Mapping[str, Any]], Any]

    def encode(self, value: Any, path: str, tensors: dict[str, Array]) -> Any:
        """JSON for a value; arrays go to `tensors` under their dotted path."""
        if isinstance(value, np.ndarray):
            tensors[path] = value
            return {"tensor": path}
        if type(value).__name__ in self.types():
            return {
                "type": type(value).__name__,
                "fields": {
                    f.name: self.encode(getattr(value, f.name), f"{path}.{f.name}", tensors)
                    for f in dataclasses.fields(value)
                },
            }
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            name, parameters = self.describe(value)
            return {"method": name, "parameters": parameters}
        if isinstance(value, tuple):
            return {"tuple": [self.encode(v, f"{path}.{i}", tensors) for i, v in enumerate(value)]}
        if isinstance(value, float | int | str | bool) or value is None:
            return value
        raise TypeError(f"{path}: a {type(value).__name__} cannot be saved")

    def decode(self, node: Any, tensors: Mapping[str, Array]) -> Any:
        """The value that `encode` made the JSON of."""
        if not isinstance(node, dict):
            return node
        if "tensor" in node:
            return tensors[node["tensor"]]
        if "tuple" in node:
            return tuple(self.decode(v, tensors) for v in node["tuple"])
        if "method" in node:
            return self.make(node["method"], node["parameters"])
        kind = self.types()[node["type"]]
        values = {key: self.decode(value, tensors) for key, value in node["fields"].items()}
        for key, value in values.items():
            if isinstance(value, np.ndarray):
                infinite = key in getattr(kind, "infinite", ())
                if np.isnan(value).any() or not (infinite or np.isfinite(value).all()):
                    raise InputError(f"{node['type']}.{key} holds NaN or infinity; fit again")
        return kind(**values)


@dataclass(frozen=True, slots=True)
class StoredFit:
    """What a file of a fitted thing holds.

    Attributes
    ----------
    fitted : object
        The fitted thing.
    text : mapping of str to str
        The metadata, JSON where it is no plain text.
    tensors : mapping of str to array
        Every array of the file.
    """

    fitted: Any
    text: Mapping[str, str]
    tensors: Mapping[str, Array]


def write_fitted(
    path: str | os.PathLike[str],
    fitted: Any,
    kind: FittedKind,
    metadata: Mapping[str, Any],
    arrays: Mapping[str, Array] | None = None,
) -> None:
    """Write a fitted thing, replacing the file at once or not at all.

    Parameters
    ----------
    path : path-like
        Must end in `.safetensors`.
    fitted : object
        A frozen dataclass, one of `kind.types()`.
    kind : FittedKind
        How it is written.
    metadata : mapping
        JSON-ready facts beside the object itself.
    arrays : mapping of str to array, optional
        Arrays beside those of the object.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    """
    from safetensors.numpy import save

    name = os.fspath(path)
    if not name.endswith(".safetensors"):
        raise DataError(name, "", f"a {kind.noun} file must end in .safetensors")
    tensors: dict[str, Array] = dict(arrays or {})
    tree = kind.encode(fitted, kind.root, tensors)
    # safetensors stores the memory of an array that is not contiguous as if it were
    tensors = {key: np.ascontiguousarray(a) for key, a in sorted(tensors.items())}
    facts = {
        "format": FORMAT,
        "toolkit": version("ood_toolkit"),
        **metadata,
        kind.root: tree,
    }
    text = {k: v if isinstance(v, str) else _dump(v) for k, v in facts.items()}
    text["sha256"] = fitted_digest(text, tensors)
    with atomic_write(name) as file:
        file.write(_sorted_header(save(tensors, metadata=text)))


def read_fitted(path: str | os.PathLike[str], kind: FittedKind) -> StoredFit:
    """Read the file of a fitted thing, all its checks passed.

    Raises
    ------
    DataError
        If the file is of another kind, of a later format, or damaged.
    """
    name = os.fspath(path)
    if not os.path.lexists(name):
        raise DataError(name, "", "there is no such file")
    try:
        stored = open_safetensors(name, Limits())
        for array in stored.values():
            array.admit()
        tensors = {key: stored[key].read() for key in sorted(stored)}
        text = safetensors_metadata(name)
    except DataError as reason:
        said = f"is not a readable .safetensors file ({reason.reason})"
        raise DataError(name, reason.key, said) from None
    with refusing_damage(name, kind):
        _check_header(name, kind, text, tensors)
        return StoredFit(kind.decode(json.loads(text[kind.root]), tensors), text, tensors)


@contextmanager
def refusing_damage(name: str, kind: FittedKind) -> Iterator[None]:
    """Turn what a damaged or foreign file makes go wrong into one `DataError`."""
    try:
        yield
    except DataError:
        raise
    except UnknownName as reason:
        raise DataError(name, "method", f"{reason}") from None
    except InputError as reason:
        raise DataError(name, "", f"{reason}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as reason:
        raise DataError(name, "", f"is not a {kind.noun} file, or is damaged ({reason})") from None


def _check_header(
    name: str, kind: FittedKind, text: Mapping[str, str], tensors: Mapping[str, Array]
) -> None:
    if "format" not in text or "method" not in text:
        raise DataError(
            name, "", f"holds no {kind.noun}; `{kind.made_by} ... -o FILE.safetensors` makes one"
        )
    if int(text["format"]) > FORMAT:
        raise DataError(
            name,
            "format",
            f"is version {text['format']}, written by toolkit {text.get('toolkit')}; this "
            f"toolkit reads up to {FORMAT}, upgrade it",
        )
    if text["sha256"] != fitted_digest(text, tensors):
        raise DataError(name, "", "is damaged or was changed after it was written; fit again")
    if kind.root not in text:
        raise DataError(
            name, "", f"holds no {kind.noun}, or is damaged; `{kind.made_by}` makes one"
        )


def fitted_digest(text: Mapping[str, str], tensors: Mapping[str, Array]) -> str:
    """Checksum of the metadata, and of the arrays' names, types, shapes and bytes."""
    said = {key: value for key, value in text.items() if key != "sha256"}
    digest = hashlib.sha256(_dump(said).encode())
    for key, array in sorted(tensors.items()):
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sorted_header(data: bytes) -> bytes:
    """The same file with its header in sorted order: the library writes it in any order."""
    size = int.from_bytes(data[:8], "little")
    header = cast(dict[str, Any], json.loads(data[8 : 8 + size]))
    text = _dump(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
