"""Class sums and scatter of training features, made by workers and merged in index order.

Whatever a method fits on such sums (tied covariances, class means, principal subspaces) comes
out with the same bits as on one machine; all else of a fit runs in the driver.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ood_toolkit.detectors.feature_moments import MomentsTask, group_moments, moments_by
from ood_toolkit.distributed.cluster import dask_library, use_one_thread
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io.object_store import absolute_path
from ood_toolkit.io.part_folder import FolderStore, locked_folder
from ood_toolkit.io.parts import Part, PartStore, Receipt, decoded, write_part
from ood_toolkit.io.reading import Reading
from ood_toolkit.kernels.moments import Moments
from ood_toolkit.outputs import Outputs

__all__ = ["moments_of_group", "shared_moments"]

AHEAD = 4
"""Groups that are made, at most, before the next in order is merged, for each worker."""


@contextmanager
def shared_moments(
    client: Any, record: Outputs, reading: Reading, name: str, output: str
) -> Iterator[None]:
    """Within it, moments of `record` are made by the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
        As `connected` gives it.
    record : Outputs
        The training rows, opened here.
    reading : Reading
        How they were opened.
    name : str
        The file they are in, at the same path on every worker, or its URL.
    output : str
        What is being fitted; sums lie in a hidden folder beside it until they are merged.

    Raises
    ------
    InputError
        Where a row cannot be used, or a group's task killed every worker it was given to.
    """
    placed = replace(reading, head=absolute_path(reading.head)) if reading.head else reading
    with locked_folder(output) as store:
        _clear(store)
        asked = 0

        def sums(x: Outputs, task: MomentsTask) -> Iterator[Moments] | None:
            nonlocal asked
            if x.features is not record.features:
                return None
            asked += 1
            return _merged(client, absolute_path(name), placed, task, asked, store)

        try:
            with moments_by(sums):
                yield
        finally:
            _clear(store)


def _clear(store: FolderStore) -> None:
    for name in store.names():
        if name.endswith(".npz"):
            store.remove(name)


def _merged(
    client: Any, name: str, reading: Reading, task: MomentsTask, asked: int, store: FolderStore
) -> Iterator[Moments]:
    """The sums of each group in index order, whoever is done first."""
    groups = task.groups()
    key = hashlib.sha256(repr((os.getpid(), store.folder, asked)).encode()).hexdigest()
    parts = [Part(asked * 1_000_000 + i, 0, *ends) for i, ends in enumerate(groups)]
    ahead = AHEAD * max(1, len(client.scheduler_info()["workers"]))
    futures: list[Any] = []

    def hand_out() -> None:
        for part in parts[len(futures) : len(futures) + 1]:
            mine = replace(task, owner=task.owner[part.start : part.stop])
            futures.append(
                client.submit(moments_of_group, key, name, reading, mine, part, store, pure=False)
            )

    for _ in range(ahead):
        hand_out()
    try:
        for part, future in zip(parts, _growing(futures, len(parts)), strict=True):
            try:
                receipt = future.result()
            except dask_library().KilledWorker:
                raise InputError(
                    f"{name}: rows {part.start} to {part.stop - 1}: their task killed every "
                    "worker that it was given to"
                ) from None
            hand_out()
            data = store.read(part.name)
            if hashlib.sha256(data).hexdigest() != receipt.sha256:
                raise DataError(name, part.name, "sums of its rows were changed; fit again")
            found = decoded(part.name, data)
            store.remove(part.name)
            yield Moments(task.origin, found["counts"], found["sums"], found["scatter"])
    finally:
        client.cancel([future for future in futures if not future.done()])


def _growing(futures: list[Any], count: int) -> Iterator[Any]:
    """Items of a list that grows while it is read."""
    for number in range(count):
        yield futures[number]


@lru_cache(maxsize=1)
def _opened(key: str, name: str) -> list[Outputs]:
    """Place for the record that the tasks of one fit read; `key` tells fits apart."""
    return []


def moments_of_group(
    key: str, name: str, reading: Reading, task: MomentsTask, part: Part, store: PartStore
) -> Receipt:
    """Sums of one group of rows, written as a part; runs on a worker.

    Parameters
    ----------
    key : str
        Names the fit among those of this worker; its opened file is kept under it.
    name : str
        The file.
    reading : Reading
        How it is read.
    task : MomentsTask
        What is wanted; `owner` holds this group's rows alone.
    part : Part
        Which rows.
    store : PartStore
        Where the sums go.
    """
    use_one_thread()
    place = _opened(key, name)
    if not place:
        place.append(reading.load(name, labels=False))
    rows = place[0]
    if len(rows) < part.stop:
        raise DataError(name, "", f"has {len(rows)} rows here, fewer than where the fit started")
    owner = np.zeros(part.stop, dtype=np.int64)
    owner[part.start :] = task.owner
    wanted = replace(task, owner=owner)
    (sums,) = group_moments(rows, wanted, [(part.start, part.stop)])
    arrays = {"counts": sums.counts, "sums": sums.sums, "scatter": sums.scatter}
    return write_part(store, part, arrays)
