"""Row statistics by explicit vectors: which kernel, and what it is called with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._results import SCRATCH, room_between
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.energy import energy_rows
from ood_toolkit.kernels.energy_few import FEW, energy_few
from ood_toolkit.kernels.fused import fused_rows, terms_needed
from ood_toolkit.kernels.fused_few import FEW_FUSED, fused_few
from ood_toolkit.kernels.readable import readable_rows
from ood_toolkit.kernels.request import Request, Results
from ood_toolkit.kernels.vectors import KINDS, scale, scales
from ood_toolkit.streamed import as_streamed

__all__ = ["VectorPlan", "cache_folder", "vector_filler", "vector_plan"]

LEAST_CLASSES = 4
"""Columns are transposed by fours; narrower rows are padded with masked classes."""


class _Own(threading.local):
    """What a thread keeps for itself."""

    def __init__(self) -> None:
        self.scratch: npt.NDArray[np.float64] = np.empty(0)
        self.odd: npt.NDArray[np.int64] = np.empty(0, np.int64)


_own = _Own()


class Call(NamedTuple):
    """A kernel, whether it holds a row in a lane, and what it is called with for any logits.

    Attributes
    ----------
    room : int
        Numbers that it may write in between.
    kind : scalar
        A sample of the type by which it knows how logits are stored.
    constants : tuple
        The arguments behind `start`, `stop` and, for few classes, `rows`.
    """

    kernel: Any
    few: bool
    room: int
    kind: Any
    constants: tuple[int, Any, Any]


class VectorPlan(NamedTuple):
    """How a request is met for rows of some type and number of classes.

    Attributes
    ----------
    wanted : Request
        What is asked for.
    dtype : dtype
        Of the logits as kernels read them, in this processor's byte order.
    classes : int
        Columns that kernels see, which may be some more than there are.
    few : bool
        Whether there are so few that a kernel holds a row in a lane.
    calls : tuple of Call
        What fills a block.
    energies : tuple of Call
        What fills it with log-sum-exps alone, one a temperature, where `calls` do not.
    """

    wanted: Request
    dtype: np.dtype[Any]
    classes: int
    few: bool
    calls: tuple[Call, ...]
    energies: tuple[Call, ...]


class Place(NamedTuple):
    """Logits where kernels read them.

    Attributes
    ----------
    address : int
        Where row 0 begins, or would.
    end : int
        The row before which reading must stop.
    owner : array
        Keeps the memory alive.
    """

    address: int
    end: int
    owner: npt.NDArray[Any]


def cache_folder() -> str | None:
    """Where compiled kernels are kept; None where they are not, or nothing is compiled."""
    return getattr(getattr(energy_rows, "stats", None), "cache_path", None)


def vector_plan(wanted: Request, dtype: np.dtype[Any], classes: int) -> VectorPlan:
    """The kernel calls for a request."""
    classes = max(classes, LEAST_CLASSES)
    alone = _only_energy(wanted)
    energies = _energy_calls(wanted, dtype, classes, alone)
    if alone:
        return VectorPlan(wanted, dtype, classes, classes <= FEW, energies, ())
    few, apart = classes <= FEW_FUSED, FEW < classes <= FEW_FUSED
    asked = wanted._replace(lse=np.full_like(wanted.lse, -1)) if apart else wanted
    kernel = fused_few if few else fused_rows
    fused = _call(kernel, few, dtype, classes, scales(dtype == np.float64, wanted, classes), asked)
    calls = (fused, *energies) if apart else (fused,)
    return VectorPlan(wanted, dtype, classes, few, calls, energies)


def _call(
    kernel: Any, few: bool, dtype: np.dtype[Any], classes: int, scale: Any, wanted: Any
) -> Call:
    room = SCRATCH + terms_needed(classes)
    return Call(kernel, few, room, KINDS[dtype], (classes, scale, wanted))


def _only_energy(wanted: Request) -> bool:
    """Whether log-sum-exps, the largest logit and the prediction are all that is asked for."""
    others = (*wanted.floats[1:], *wanted.integers[1:], *wanted.excess.tolist())
    return (
        len(wanted.temperatures) > 0
        and max(others) < 0
        and len(wanted.gen) == len(wanted.prior) == 0
    )


def _energy_calls(
    wanted: Request, dtype: np.dtype[Any], classes: int, alone: bool
) -> tuple[Call, ...]:
    """A call for each log-sum-exp wanted; with `alone` the first brings all else that is."""
    few = classes <= FEW
    kernel = energy_few if few else energy_rows
    others = (wanted.floats[0], wanted.integers[0]) if alone else (-1, -1)
    calls = []
    for temperature, slot in zip(wanted.temperatures.tolist(), wanted.lse.tolist(), strict=True):
        if slot >= 0:
            each = scale(dtype == np.float64, temperature)
            calls.append(_call(kernel, few, dtype, classes, each, (slot, *others)))
            others = (-1, -1)
    return tuple(calls)


def vector_filler(
    logits: npt.NDArray[Any], plan: VectorPlan, results: Results
) -> Callable[[int, int], int]:
    """A function that fills rows start ... stop - 1 of `results`; the first bad row or -1."""
    streamed = as_streamed(logits)
    whole = _in_place(logits, plan) if streamed is None else None

    def fill(start: int, stop: int) -> int:
        block, first, place = logits, 0, whole
        if place is None:
            block = logits[start:stop] if streamed is None else streamed.window(start, stop)
            first, place = start, _placed(block, start, plan)
        strange: list[int] = []
        for call in plan.calls:
            strange += _run(call, place, start, stop, results)
        if not strange:
            return -1
        rows = np.array(sorted(set(strange)))
        numbers = np.array(block[rows - first], np.float64)
        first_bad = readable_rows(numbers, rows, plan.wanted, results)
        for call in plan.energies:
            _take_energies(call, place, rows.tolist(), results)
        return first_bad

    return fill


def _run(call: Call, place: Place, start: int, stop: int, results: Results) -> list[int]:
    """Fill rows by a kernel; those that it cannot hold."""
    kernel, few, room, kind, constants = call
    scratch, odd = _buffers(room, stop - start)
    if few:
        listed = kernel(
            place.address, kind, start, stop, place.end, *constants, results, scratch, odd
        )
    else:
        listed = kernel(place.address, kind, start, stop, *constants, results, scratch, odd)
    return odd[:listed].tolist() if listed else []


def _take_energies(call: Call, place: Place, rows: list[int], results: Results) -> None:
    """Give log-sum-exps of some rows the bits that they have when nothing else is asked for."""
    _classes, _scale, wanted = call.constants
    lse = results.floats[wanted[0]]
    for row in rows:
        settled = lse[row]
        if _run(call, place, row, row + 1, results):
            lse[row] = settled


def _in_place(logits: npt.NDArray[Any], plan: VectorPlan) -> Place | None:
    """The logits where they are, if kernels can read them there."""
    n, c = logits.shape
    if c != plan.classes or logits.dtype != plan.dtype or (plan.few and n < LANES):
        return None
    flags = logits.flags
    if not (flags.c_contiguous and flags.aligned):
        return None
    return Place(logits.ctypes.data, n, logits)


def _placed(block: npt.NDArray[Any], start: int, plan: VectorPlan) -> Place:
    """Rows that are numbered from `start` where kernels can read them.

    Copied where they must be, and then padded to a group and a quartet.
    """
    here = _in_place(block, plan)
    if here is None:
        rows, c = block.shape
        copied = np.empty((max(rows, LANES), plan.classes), plan.dtype)
        copied[:rows, :c] = block
        copied[:rows, c:] = -np.inf
        copied[rows:] = 0.0
        here = Place(copied.ctypes.data, len(copied), copied)
    before = start * here.owner.strides[0]
    return Place(here.address - before, start + here.end, here.owner)


def _buffers(scratch: int, rows: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Room for numbers in between and for a list of rows; each thread keeps its own."""
    if _own.scratch.size < scratch:
        _own.scratch = room_between(scratch)
    if _own.odd.size < rows:
        _own.odd = np.empty(rows, dtype=np.int64)
    return _own.scratch, _own.odd
