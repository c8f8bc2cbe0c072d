"""A loader through a network, batch by batch, into memory or a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models.batches import iterate, row_count, split_batch
from ood_toolkit.models.network import Network, Pass
from ood_toolkit.models.places import make_sink
from ood_toolkit.models.progress import Progress, reporting, rows_in
from ood_toolkit.models.sinks import Part
from ood_toolkit.models.torch_library import float_dtype, model_digest, to_array, tree_map
from ood_toolkit.outputs import Array, Outputs

__all__ = ["PARTS", "collect", "label_array"]

PARTS = ("logits", "features", "layers", "labels", "head")
"""What an extraction keeps by default, as far as it is there."""

_BATCH = 256
Run = Callable[[Any], Pass]


def collect(
    network: Network,
    data: Any,
    run: Run,
    *,
    to: str | Path | None,
    keep: Sequence[str],
    dtype: str | None,
    shard_rows: int,
    progress: Progress,
    how: str = "plain",
) -> Outputs:
    """Run every batch and gather what it gave; `how` names what else the result depends on.

    Inside `Network.running`, which keeps the random states for the loader too.
    """
    unknown = [name for name in keep if name not in PARTS]
    if unknown or not keep:
        raise BadParameter(f"keep takes {', '.join(PARTS)}, got {', '.join(keep) or 'nothing'}")
    element = float_dtype(dtype)
    with reporting(progress, rows_in(data)) as tell:
        batches = iterate(data, _BATCH)
        first = next(batches, None)
        if first is None:
            raise InputError("the loader gave no batch; a record needs at least one row")
        filled = [first]  # the head is judged by the first batch that has rows
        while not network.settle(split_batch(filled[-1], network.unpack)[0]):
            following = next(batches, None)
            if following is None:
                break
            filled.append(following)
        whole = chain(filled, batches)
        sink = make_sink(to, shard_rows, lambda: _made_of(network, first, keep, dtype, how))
        try:
            constants = _constants(network, keep, element)
            skip = sink.begin(constants)
            for part in _parts(network, whole, run, keep, element, skip, tell):
                sink.add(part)
            return sink.finish(constants)
        except BaseException:
            sink.discard()
            raise


def _parts(
    network: Network,
    batches: Iterator[Any],
    run: Run,
    keep: Sequence[str],
    dtype: np.dtype[Any] | None,
    skip: int,
    tell: Callable[[int], None],
) -> Iterator[Part]:
    """Arrays of each batch; the first `skip` rows are not computed."""
    done = 0
    for batch in batches:
        inputs, labels = split_batch(batch, network.unpack)
        rows = row_count(inputs)
        begin = min(rows, max(0, skip - done))
        if begin < rows:
            part = _arrays(run(inputs), keep, dtype)
            if labels is not None and "labels" in keep:
                part["labels"] = label_array(labels)
            for key, array in part.items():
                if len(array) != rows:
                    raise InputError(
                        f"{key} has {len(array)} rows for a batch of {rows}; pass unpack= or "
                        "features_fn= that keeps one row an input"
                    )
            yield {key: array[begin:] for key, array in part.items()}
        done += rows
        tell(done)


def _arrays(found: Pass, keep: Sequence[str], dtype: np.dtype[Any] | None) -> dict[str, Array]:
    part = {}
    if "logits" in keep:
        part["logits"] = to_array(found.logits, dtype)
    if "features" in keep:
        part["features"] = to_array(found.features, dtype)
    if "layers" in keep:
        part |= {f"layers/{name}": to_array(t, dtype) for name, t in found.layers.items()}
    return part


def label_array(labels: Any) -> Array:
    """(N,) int64 labels of a batch, from a tensor, an array or a list.

    Raises
    ------
    InputError
        If they are not whole numbers, one a row.
    """
    array = to_array(labels) if hasattr(labels, "detach") else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"labels of a batch must be (N,) integers, got shape {array.shape} of {array.dtype}; "
            "pass unpack= that returns class numbers, or None"
        )
    return array.astype(np.int64)


def _constants(network: Network, keep: Sequence[str], dtype: np.dtype[Any] | None) -> Part:
    head = network.head() if "head" in keep else None
    if head is None:
        return {}
    arrays = {"head_weight": head.weight, "head_bias": head.bias}
    return {key: a if dtype is None else a.astype(dtype) for key, a in arrays.items()}


def _made_of(
    network: Network, first: Any, keep: Sequence[str], dtype: str | None, how: str
) -> dict[str, Any]:
    """What outputs depend on, as far as it can be named: told apart when a run is resumed."""
    return {
        "model": model_digest(network.inner),
        "first batch": _digest_of(split_batch(first, network.unpack)[0]),
        "head": network.features_from or network.head_name,
        "layers": list(network.layers),
        "keep": list(keep),
        "dtype": dtype,
        "how": how,
    }


def _digest_of(inputs: Any) -> str:
    digest = hashlib.sha256()
    tree_map(lambda tensor: digest.update(to_array(tensor).tobytes()), inputs)
    return digest.hexdigest()
