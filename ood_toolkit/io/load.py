"""Files to records: `load`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ood_toolkit.errors import BadParameter, DataError, InputError, ToolkitWarning
from ood_toolkit.io.convert import float_type, floats, others
from ood_toolkit.io.file_rows import (
    fitting,
    streamed_floats,
    streamed_from,
    streamed_labels,
    streamed_members,
)
from ood_toolkit.io.heads import load_head, stored_head
from ood_toolkit.io.keys import known_name
from ood_toolkit.io.labels import LabelPolicy, check_labels, whole_labels
from ood_toolkit.io.object_files import saying_whose
from ood_toolkit.io.source import (
    Bare,
    FileDescription,
    Source,
    description,
    open_source,
)
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.outputs import Head, Outputs
from ood_toolkit.streamed import Memory

__all__ = ["load", "load_described"]


def load(
    path: str | Path,
    *,
    head: Head | str | Path | None = None,
    keys: Mapping[str, str] | None = None,
    as_: Bare = "logits",
    labels: bool | Literal["lenient"] = True,
    dtype: str | None = None,
    max_bytes: int | None = None,
    memory: int | None = None,
) -> Outputs:
    """Read a classifier's outputs from a file.

    Parameters
    ----------
    path : str or Path
        ``.npy .npz .safetensors .pt .pth .parquet .h5 .hdf5 .zarr .csv .tsv .jsonl``, or a
        folder or glob pattern of such files of one format, which are joined in the order of
        their names; ``"-"`` reads CSV or JSON
        lines from standard input.  A URL that fsspec knows (``s3://``, ``gs://``, …) is one of a
        file or a pattern, copied to this machine first, for as long as the process lasts.
    head : Head, str or Path, optional
        The last layer, or a file that holds it; wins over one in `path`.
    keys : mapping of str to str, optional
        Canonical name -> the file's key; wins over the usual names.
    as_ : {"logits", "features"}
        What a single unnamed array in a file is.
    labels : bool or "lenient"
        True refuses labels outside -1 ... C-1; ``"lenient"`` takes them as -1, with a
        warning; False leaves labels unread, as for out-of-distribution files.
    dtype : {"bfloat16", "float16", "float32", "float64"}, optional
        The type of numbers whose file does not state it: 2-byte blobs (``"bfloat16"``), integers,
        and text, which is read as float64 by default.
    max_bytes : int, optional
        Most bytes one array may take.  It replaces the rule that refuses arrays over 200 times as
        large as their bytes in the file.
    memory : int, optional
        Most bytes this process may take in all.  If given, the rows of large arrays stay in the
        file and are read block by block; an operation that needs all of them at once is an error
        if they do not fit.

    Returns
    -------
    Outputs
        float16 and bfloat16 keep their type; arrays over 64 MiB are read-only maps of the
        file where the format allows, or streamed arrays if `memory` is given.

    Raises
    ------
    DataError
        If the file cannot be read or what it holds contradicts itself: one line with the
        file, the array, the first bad row and what to do.
    MissingDependency
        If the format's library is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "test.npz")
    ...     np.savez(path, logits=np.eye(3), labels=[0, 1, 2])
    ...     x = load(path)
    >>> len(x), x.classes, sorted(x.has())
    (3, 3, ['labels', 'logits'])
    """
    return load_described(
        path,
        head=head,
        keys=keys,
        as_=as_,
        labels=labels,
        dtype=dtype,
        max_bytes=max_bytes,
        memory=memory,
    )[0]


def load_described(
    path: str | Path,
    *,
    head: Head | str | Path | None = None,
    keys: Mapping[str, str] | None = None,
    as_: Bare = "logits",
    labels: bool | Literal["lenient"] = True,
    dtype: str | None = None,
    max_bytes: int | None = None,
    memory: int | None = None,
) -> tuple[Outputs, FileDescription]:
    """What `load` and `describe` say of a file, from one look: a pipe can be read only once."""
    if labels not in (True, False, "lenient"):
        raise BadParameter(f"labels must be True, False or 'lenient', got {labels!r}")
    word = float_type(dtype)
    given = load_head(head, max_bytes=max_bytes) if isinstance(head, (str, os.PathLike)) else head
    unread = () if labels else ("labels",)
    source = open_source(path, keys=keys, as_=as_, max_bytes=max_bytes, unread=unread)
    with saying_whose(source.places):
        record = _record(source, given, labels, word, None if memory is None else Memory(memory))
    return record, description(source)


def _record(
    source: Source,
    given: Head | None,
    labels: bool | Literal["lenient"],
    word: np.dtype | None,
    allowed: Memory | None,
) -> Outputs:
    """The record of an opened file."""
    arrays = dict(source.arrays)
    label = arrays.pop("labels", None)
    weight, bias = arrays.pop("head_weight", None), arrays.pop("head_bias", None)
    parts: dict[str, Any] = {"head": given}
    if given is None and weight is not None:
        parts["head"] = stored_head(weight, bias)
    for name, stored in arrays.items():
        if name in ("token_mask", "token_ids", "thumbnails", "text"):
            parts[name] = others(fitting(stored, allowed), name)
            continue
        numbers = _numbers(stored, name, word, allowed, parts["head"])
        if name.startswith("layers/"):
            parts.setdefault("layers", {})[name.removeprefix("layers/")] = numbers
        else:
            parts[name] = numbers
    try:
        record = Outputs(**parts, source=source.path)
        _warn_transposed(source, given)
        if label is None:
            return record
        policy: LabelPolicy = "lenient" if labels == "lenient" else "strict"
        return _with_labels(record, parts, label, policy, allowed)
    except DataError:
        raise
    except InputError as reason:
        raise DataError(source.path, "", str(reason)) from reason


def _numbers(
    stored: StoredArray,
    name: str,
    word: np.dtype | None,
    memory: Memory | None,
    head: Head | None,
) -> Any:
    """Floats in memory or, where they are many, as rows that stay in the file."""
    count = stored.nbytes
    if name == "features" and head is not None and stored.shape:
        count = max(count, 8 * stored.shape[0] * len(head.weight))  # of the logits they make
    if memory is None or count <= streamed_from(memory):
        return floats(fitting(stored, memory), name, word)
    if name == "members":
        members = streamed_members(stored, word, memory)
        return members or floats(fitting(stored, memory), name, word)
    return streamed_floats(stored, name, word, memory)


def _with_labels(
    record: Outputs,
    parts: dict[str, Any],
    stored: StoredArray,
    policy: LabelPolicy,
    memory: Memory | None,
) -> Outputs:
    values: Any
    # Who fits or measures needs all labels; a score only passes them on.
    if memory is not None and policy == "lenient" and stored.nbytes > streamed_from(memory):
        values = streamed_labels(stored, record.classes, memory)
    else:
        values = check_labels(stored, whole_labels(fitting(stored, memory)), record.classes, policy)
    # Logits that were computed from features and head are not computed again.
    return Outputs(**parts | {"logits": record.logits}, labels=values, source=record.source)


def _warn_transposed(source: Source, head: Head | None) -> None:
    """More classes than rows, and nothing else in the file that confirms either count."""
    logits = source.arrays.get("logits")
    beside = len(source.arrays) > 1 or any(known_name(a.key) for a in source.ignored)
    if logits is None or len(logits.shape) != 2 or beside or head is not None:
        return
    rows, classes = logits.shape
    if 1 < rows < classes:
        warnings.warn(
            f"{source.path}: logits of shape {logits.shape} are taken as {rows} rows of {classes} "
            "classes; transpose them if it is the other way round",
            ToolkitWarning,
            stacklevel=5,
        )
