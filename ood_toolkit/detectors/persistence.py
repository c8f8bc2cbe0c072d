"""Fitted scorers as `.safetensors` files: arrays as tensors, everything else as JSON.

Reading runs no code from the file: types are looked up by name among the toolkit's own,
and every array is checked for shape, finiteness and its checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import make_detector, method_of, parameter_values
from ood_toolkit.errors import DataError, InputError, UnknownName
from ood_toolkit.io import atomic_write
from ood_toolkit.outputs import Array
from ood_toolkit.shaping import ClippedFeatures, Prune, SparseHead

__all__ = ["FORMAT", "SavedScorer", "load_scorer", "read_scorer", "save_scorer"]

FORMAT = 1
"""Version of the file format; a file of a later one is refused."""

_TRANSFORMS: dict[str, type] = {
    kind.__name__: kind for kind in (ClippedFeatures, Prune, SparseHead)
}


@dataclass(frozen=True, slots=True)
class SavedScorer:
    """What a detector file holds.

    Attributes
    ----------
    scorer : FittedScorer
        Ready to score.
    fitted_on : mapping
        Origin, number of rows and sha256 of the training file, as far as known.
    threshold : mapping or None
        What a threshold was made with (`value`, `tpr`, ...); None where there is none.
    id_scores : (N,) array of float64
        Sorted in-distribution scores behind the threshold; empty where there is none.
    toolkit : str
        Version of the toolkit that wrote the file.
    """

    scorer: FittedScorer
    fitted_on: Mapping[str, Any]
    threshold: Mapping[str, Any] | None
    id_scores: Array
    toolkit: str


def save_scorer(
    scorer: FittedScorer,
    path: str | os.PathLike[str],
    *,
    fitted_on: Mapping[str, Any] | None = None,
    threshold: Mapping[str, Any] | None = None,
    id_scores: Array | None = None,
) -> None:
    """Write a fitted scorer, replacing the file at once or not at all.

    Parameters
    ----------
    scorer : FittedScorer
        What to save.
    path : path-like
        Must end in `.safetensors`.
    fitted_on : mapping, optional
        JSON-ready facts about the training data.
    threshold : mapping, optional
        JSON-ready; `value` is the smallest score that is accepted.
    id_scores : (N,) array of float64, optional
        In-distribution scores that the threshold was set on.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    """
    from safetensors.numpy import save

    name = os.fspath(path)
    if not name.endswith(".safetensors"):
        raise DataError(name, "", "a detector file must end in .safetensors")
    tensors: dict[str, Array] = {}
    tree = _encode(scorer, "scorer", tensors)
    if id_scores is not None:
        tensors["id_scores"] = np.sort(np.asarray(id_scores, dtype=np.float64))
    # safetensors stores the memory of an array that is not contiguous as if it were
    tensors = {key: np.ascontiguousarray(a) for key, a in sorted(tensors.items())}
    metadata = {
        "format": FORMAT,
        "toolkit": version("ood_toolkit"),
        "method": scorer.name,
        "parameters": parameter_values(scorer.detector),
        "classes": scorer.classes,
        "dims": scorer.dims,
        "threshold": dict(threshold) if threshold is not None else None,
        "fitted_on": dict(fitted_on or {}),
        "scorer": tree,
    }
    text = {k: v if isinstance(v, str) else _dump(v) for k, v in metadata.items()}
    text["sha256"] = _digest(text, tensors)
    with atomic_write(name) as file:
        file.write(_sorted_header(save(tensors, metadata=text)))


def load_scorer(path: str | os.PathLike[str]) -> FittedScorer:
    """Read a fitted scorer back; it scores the same bits as the one that was saved.

    Parameters
    ----------
    path : path-like
        A detector file, as `save` and `ood-toolkit fit` write it.

    Returns
    -------
    FittedScorer
        Ready to score.

    Raises
    ------
    DataError
        If the file is not a detector file of this toolkit, of a later format, or damaged.

    Examples
    --------
    >>> import os, tempfile
    >>> from ood_toolkit import Energy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "energy.safetensors")
    ...     Energy(temperature=2.0).fit().save(path)
    ...     load_scorer(path).detector
    Energy(temperature=2.0)
    """
    return read_scorer(path).scorer


def read_scorer(path: str | os.PathLike[str]) -> SavedScorer:
    """Read a detector file with its threshold and provenance.

    Raises
    ------
    DataError
        If the file is not a detector file of this toolkit, of a later format, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    try:
        with safe_open(name, framework="numpy") as file:
            text = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
    except FileNotFoundError:
        raise DataError(name, "", "there is no such file") from None
    except (SafetensorError, OSError, ValueError, TypeError) as reason:
        raise DataError(name, "", f"is not a readable .safetensors file ({reason})") from None
    try:
        return _decode_file(name, text, tensors)
    except DataError:
        raise
    except UnknownName as reason:
        raise DataError(name, "method", f"{reason}") from None
    except InputError as reason:
        raise DataError(name, "", f"{reason}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as reason:
        raise DataError(name, "", f"is not a detector file, or is damaged ({reason})") from None


def _decode_file(name: str, text: Mapping[str, str], tensors: dict[str, Array]) -> SavedScorer:
    if "format" not in text or "method" not in text:
        raise DataError(
            name, "", "holds no detector; `ood-toolkit fit ... -o FILE.safetensors` makes one"
        )
    if int(text["format"]) > FORMAT:
        raise DataError(
            name,
            "format",
            f"is version {text['format']}, written by toolkit {text.get('toolkit')}; this "
            f"toolkit reads up to {FORMAT}, upgrade it",
        )
    if text["sha256"] != _digest(text, tensors):
        raise DataError(name, "", "is damaged or was changed after it was written; fit again")
    scorer = _decode(json.loads(text["scorer"]), tensors)
    if not isinstance(scorer, FittedScorer):
        raise DataError(name, "scorer", "is not a scorer")
    if scorer.name != text["method"]:
        raise DataError(
            name, "method", f"says {text['method']} but the arrays are of {scorer.name}"
        )
    threshold = json.loads(text["threshold"])
    id_scores = tensors.get("id_scores", np.empty(0))
    if threshold is not None and (threshold["rows"] != id_scores.size or np.isnan(id_scores).any()):
        raise DataError(name, "id_scores", "are not the scores the threshold was set on")
    return SavedScorer(scorer, json.loads(text["fitted_on"]), threshold, id_scores, text["toolkit"])


def _encode(value: Any, path: str, tensors: dict[str, Array]) -> Any:
    """JSON for a value; arrays go to `tensors` under their dotted path."""
    if isinstance(value, np.ndarray):
        tensors[path] = value
        return {"tensor": path}
    if type(value).__name__ in {**FittedScorer.kinds, **_TRANSFORMS}:
        return {
            "type": type(value).__name__,
            "fields": {
                f.name: _encode(getattr(value, f.name), f"{path}.{f.name}", tensors)
                for f in dataclasses.fields(value)
            },
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"method": method_of(value).name, "parameters": parameter_values(value)}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, f"{path}.{i}", tensors) for i, v in enumerate(value)]}
    if isinstance(value, float | int | str | bool) or value is None:
        return value
    raise TypeError(f"{path}: a {type(value).__name__} cannot be saved")


def _decode(node: Any, tensors: Mapping[str, Array]) -> Any:
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "tuple" in node:
        return tuple(_decode(v, tensors) for v in node["tuple"])
    if "method" in node:
        return make_detector(node["method"], node["parameters"])
    kind = {**FittedScorer.kinds, **_TRANSFORMS}[node["type"]]
    values = {key: _decode(value, tensors) for key, value in node["fields"].items()}
    for key, value in values.items():
        if isinstance(value, np.ndarray):
            infinite = key in getattr(kind, "infinite", ())
            if np.isnan(value).any() or not (infinite or np.isfinite(value).all()):
                raise InputError(f"{node['type']}.{key} holds NaN or infinity; fit again")
    return kind(**values)


def _digest(text: Mapping[str, str], tensors: Mapping[str, Array]) -> str:
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
