"""A model run by the workers of a cluster: one task is one range of rows, written as one shard.

Each worker builds the model once and keeps it; tasks carry its name and the checksum of its
weights, never the model.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from ood_toolkit.distributed.cluster import dask_library, use_one_thread
from ood_toolkit.distributed.driver import Outcome, make_parts
from ood_toolkit.errors import BadParameter, DataError, InputError
from ood_toolkit.io import save_outputs
from ood_toolkit.io.destination import Destination
from ood_toolkit.io.part_formats import captured
from ood_toolkit.io.parts import Part, PartStore, Receipt, put_part
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Outputs

__all__ = ["SHARD_FORMATS", "Extractor", "OpenExtractor", "extract", "make_shard"]

SHARD_FORMATS = ("safetensors", "npz", "parquet", "zarr", "npy", "h5", "pt")
"""What shards of outputs can be written as; `npy` holds logits alone."""


class OpenExtractor(Protocol):
    """A model that is ready, as `ood_toolkit.models.extraction.OpenExtraction` is one."""

    facts: dict[str, Any]

    @property
    def rows(self) -> int:
        """How many rows there are."""

    def outputs(self, start: int, stop: int) -> Outputs:
        """What the model says about rows start ... stop."""


class Extractor(Protocol):
    """A model and its inputs by name, as `ood_toolkit.models.extraction.Extraction` is one."""

    def with_checksum(self) -> Extractor:
        """The same, with the checksum of what it reads."""

    def open(self, threads: int) -> OpenExtractor:
        """The model, built in this process."""


def extract(
    client: Any,
    extractor: Extractor,
    output: str,
    *,
    shard_rows: int = 10_000,
    force: bool = False,
    planned: Callable[[int], None] = lambda rows: None,
    done: Callable[[Part], None] = lambda part: None,
) -> Outcome:
    """Run a model over inputs into a folder of shards, made by the workers of a cluster.

    Code, weights and inputs lie at the same path for every worker.  What an interrupted run
    left is verified and continued.

    Parameters
    ----------
    client : distributed.Client
        As `connected` gives it.
    extractor : Extraction
        Of `ood_toolkit.models.extraction`.
    output : str
        A folder, which gets `.safetensors` shards, or `FOLDER/*.suffix`; on a disk that all
        workers see, or the URL of a store.
    shard_rows : int
        Rows of each shard but the last.
    force : bool
        Remove what is there of another run.
    planned : callable, optional
        Called with the number of rows, once it is known.
    done : callable, optional
        Called with each shard that is there.

    Returns
    -------
    Outcome
        Whether some shards failed.

    Raises
    ------
    BadParameter
        If `output` is no folder, or no shard has such a suffix.
    DataError
        If the folder holds something else, or cannot be written.
    InputError
        If the model cannot be built or run, or workers build different ones.
    """
    if shard_rows < 1:
        raise BadParameter(f"shard_rows must be at least 1, got {shard_rows}")
    destination = _folder(output)
    wanted = extractor.with_checksum()
    key = hashlib.sha256(pickle.dumps(wanted)).hexdigest()
    with destination.locked() as store:
        if ".extract.json" in store.names():
            raise DataError(output, "", "was begun without --dask; continue it so, or choose "
                            "another folder")  # fmt: skip
        rows, facts = _facts(client, key, wanted)
        planned(rows)
        starts = range(0, rows, shard_rows)
        plan = [Part(i, 0, s, min(rows, s + shard_rows)) for i, s in enumerate(starts)]
        parts = destination.parts(store, {**facts, "shard_rows": shard_rows}, plan)
        parts.begin(resume=not force, force=force)
        if not destination.is_whole(parts):

            def submit(part: Part, place: PartStore) -> Any:
                arguments = (key, wanted, facts, part, place, destination.format)
                return client.submit(make_shard, *arguments, pure=False)

            make_parts(client, submit, parts, done, hopeless=lambda: None)
        if parts.failed:
            parts.save(at_once=True)
        else:
            destination.finish(parts, store, lambda path: None)
        return Outcome.of(parts)


def _folder(output: str) -> Destination:
    last = output.partition("::")[0].rstrip("/").rpartition("/")[2]
    if not last.startswith("*."):
        if os.path.splitext(last)[1]:
            raise BadParameter(f"{output}: workers write shards; give a folder, or FOLDER/*.suffix")
        head, chain, rest = output.partition("::")
        output = f"{head.rstrip('/')}/*.safetensors{chain}{rest}"
    return Destination.of(output, formats=SHARD_FORMATS)


def _facts(client: Any, key: str, wanted: Extractor) -> tuple[int, dict[str, Any]]:
    """How many rows there are and all that outputs depend on, from the first worker."""
    try:
        found: tuple[int, dict[str, Any]] = client.submit(look, key, wanted, pure=False).result()
    except dask_library().KilledWorker:
        raise InputError("building the model killed every worker that tried") from None
    return found


_building = threading.Lock()


@lru_cache(maxsize=1)
def _place(key: str) -> list[OpenExtractor]:
    """Where a worker keeps the model of one job."""
    return []


def _opened(key: str, wanted: Extractor) -> OpenExtractor:
    with _building:  # a worker of several threads builds one model, not one for each
        place = _place(key)
        if not place:
            place.append(wanted.open(thread_count()))
        return place[0]


def look(key: str, wanted: Extractor) -> tuple[int, dict[str, Any]]:
    """Build the model and say what it is; runs on a worker."""
    use_one_thread()
    opened = _opened(key, wanted)
    return opened.rows, opened.facts


def make_shard(
    key: str,
    wanted: Extractor,
    facts: Mapping[str, Any],
    part: Part,
    store: PartStore,
    format: str,
) -> Receipt | DataError:
    """Run the model over one range of rows and write a shard; runs on a worker.

    Parameters
    ----------
    key : str
        Names the job among those of this worker; its model is kept under it.
    wanted : Extractor
        What to run.
    facts : mapping
        What the first worker's model and inputs were.
    part, store, format
        Which rows, where they go, and as what.

    Returns
    -------
    Receipt or DataError
        The error where the shard was made and could not be written.

    Raises
    ------
    InputError
        If this worker's model or inputs are others than the first one's.
    """
    use_one_thread()
    opened = _opened(key, wanted)
    changed = [name for name in facts if opened.facts.get(name) != facts[name]]
    if changed:
        raise InputError(
            f"workers have another {' and '.join(changed)}; give the model its --weights, and "
            "all workers the same files"
        )
    record = opened.outputs(part.start, part.stop)
    content = captured(f".{format}", lambda path: save_outputs(record, path))
    try:
        return put_part(store, part, format, content)
    except DataError as reason:
        return reason
