"""Moments of training features, in one pass shared among threads, or among machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from ood_toolkit.chunks import centred_features, checked_features
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.kernels.moments import Moments, fill_upper_scatter
from ood_toolkit.kernels.pool import Turns, in_order
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.kernels.scratch import Scratch
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Array, Outputs

__all__ = ["MomentsTask", "feature_moments", "group_moments", "moments_by"]

BLOCK = 2 * CHUNK
"""Rows whose outer products are summed by one matrix product."""

GROUP = 8 * CHUNK
"""Groups of rows whose sums are merged have a multiple of so many."""


@dataclass(frozen=True, slots=True)
class MomentsTask:
    """Moments that are wanted of a record, a group of rows at a time.

    Attributes
    ----------
    origin : (D,) array of float64
        What is subtracted from each row.
    owner : (N,) array of int64
        Class of each row.
    classes : int
        How many there are.
    unit_length : bool
        Whether rows are first divided by their Euclidean length.
    """

    origin: Array
    owner: Array
    classes: int
    unit_length: bool

    def groups(self) -> list[tuple[int, int]]:
        """First row and end of each group: its sums are at most an eighth of its rows."""
        step = -(-8 * (len(self.origin) + self.classes) // GROUP) * GROUP
        rows = len(self.owner)
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]


GroupSums = Callable[[Outputs, MomentsTask], "Iterator[Moments] | None"]
_elsewhere: ContextVar[GroupSums | None] = ContextVar("group_sums", default=None)


@contextmanager
def moments_by(sums: GroupSums) -> Iterator[None]:
    """Within it, whoever fits gets sums of groups from somewhere else.

    Parameters
    ----------
    sums : callable
        A record and what is wanted of it -> the sums of each group, in order, the same bits
        as `group_moments` gives; None for records that it does not know.
    """
    token = _elsewhere.set(sums)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def feature_moments(
    x: Outputs,
    labels: Array | None = None,
    classes: int = 1,
    *,
    origin: Array | None = None,
    unit_length: bool = False,
) -> Moments:
    """Class sums and scatter of features, in float64.

    Parameters
    ----------
    x : Outputs
        At least one row with features.
    labels : (N,) array of int64, optional
        Classes, all known; without them all rows are of class 0.
    classes : int
        How many classes there are.
    origin : (D,) array of float64, optional
        What is subtracted from each row; the mean of the first rows if not given.
    unit_length : bool
        Whether rows are first divided by their Euclidean length.

    Returns
    -------
    Moments
        The same bits on any number of threads.

    Raises
    ------
    InputError
        Naming the first row with NaN or infinity, or of length zero where `unit_length`.
    """
    assert x.features is not None
    owner = np.zeros(len(x), dtype=np.int64) if labels is None else labels
    if origin is None:
        start = slice(0, min(CHUNK, len(x)))
        origin = checked_features(x, start, unit_length, np.float64).mean(axis=0)
    task = MomentsTask(origin, owner, classes, unit_length)
    elsewhere = _elsewhere.get()
    groups = elsewhere(x, task) if elsewhere is not None else None
    total = Moments.about(origin, classes)
    for group in group_moments(x, task, task.groups()) if groups is None else groups:
        total.merge(group)
    return total


def group_moments(
    x: Outputs, task: MomentsTask, groups: list[tuple[int, int]]
) -> Iterator[Moments]:
    """The sums of some groups of rows, in order.

    Parameters
    ----------
    x : Outputs
        With features; its rows are those of `task.owner`.
    task : MomentsTask
        What is wanted.
    groups : list of (int, int)
        First row and end of each; all but the last have whole blocks, and they are adjacent.

    Raises
    ------
    InputError
        Naming the first row that is not finite.
    """
    first, turns, scratch = groups[0][0], Turns(), Scratch()
    ends = {stop - first for _, stop in groups}
    dims = len(task.origin)
    sums: Moments | None = None

    def add_block(start: int, stop: int) -> Moments | None:
        """Add a block when it is its turn; gives the sums of its group if it is the last."""
        nonlocal sums
        part = slice(first + start, first + stop)
        room = scratch.array("centred", (stop - start, dims), np.float64)
        scatter = scratch.array("scatter", (dims, dims), np.float64)
        with turns.of(start, stop) as my_turn:
            centred = centred_features(x, part, task.origin, task.unit_length, room)
            fill_upper_scatter(centred, scatter)
            my_turn()
            group = Moments.about(task.origin, task.classes) if sums is None else sums
            group.add(centred, scatter, task.owner[part])
            sums = None if stop in ends else group
            if sums is not None:
                return None
        group.complete()
        return group

    with one_blas_thread():
        for group in in_order(add_block, max(ends), BLOCK, thread_count()):
            if group is not None:
                yield group
