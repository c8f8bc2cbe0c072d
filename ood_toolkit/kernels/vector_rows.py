"""Row statistics by explicit vectors: which kernel, and what it is called with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._results import SCRATCH
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.energy import energy_rows
from ood_toolkit.kernels.energy_few import FEW, energy_few
from ood_toolkit.kernels.fused import fused_rows, terms_needed
from ood_toolkit.kernels.fused_few import fused_few
from ood_toolkit.kernels.readable import readable_rows
from ood_toolkit.kernels.request import Request, Results
from ood_toolkit.kernels.vectors import KINDS, scale, scales, widened_half

__all__ = ["vector_filler"]

LEAST_CLASSES = 4
"""Columns are transposed by fours; narrower rows are padded with masked classes."""

_own = threading.local()


class Place(NamedTuple):
    """Logits where kernels read them.

    Attributes
    ----------
    address : int
        Where row 0 begins, or would.
    kind : number
        A sample of what is stored there.
    end : int
        The row before which reading must stop.
    owner : array
        Keeps the memory alive.
    """

    address: int
    kind: Any
    end: int
    owner: npt.NDArray[Any]


Run = Callable[[Place, int, int, npt.NDArray[np.float64], npt.NDArray[np.int64]], int]
"""(place, start, stop, scratch, odd) -> how many rows `odd` lists."""


def vector_filler(
    logits: npt.NDArray[Any], wanted: Request, results: Results
) -> Callable[[int, int], int]:
    """A function that fills rows start ... stop - 1 of `results`; the first bad row or -1."""
    n, c = logits.shape
    classes = max(c, LEAST_CLASSES)
    few = classes <= FEW
    dtype = widened_half(logits.dtype.newbyteorder("="))
    double = dtype == np.float64
    alone = _only_energy(wanted)
    energies = _energy_runs(wanted, results, double, few, classes, alone)
    runs = energies if alone else {-1: _fused_run(wanted, results, double, few, classes)}
    whole = None
    if _readable_in_place(logits, dtype) and c == classes and (n >= LANES or not few):
        whole = Place(logits.__array_interface__["data"][0], KINDS[dtype], n, logits)

    def fill(start: int, stop: int) -> int:
        place = whole or _copied(logits, start, stop, dtype, classes)
        scratch, odd = _buffers(SCRATCH + terms_needed(classes), stop - start)
        strange: set[int] = set()
        for run in runs.values():
            listed = run(place, start, stop, scratch, odd)
            strange.update(odd[:listed].tolist())
        if not strange:
            return -1
        rows = sorted(strange)
        first_bad = readable_rows(
            np.array(logits[rows], np.float64), np.array(rows), wanted, results
        )
        if not alone:
            _take_energies(energies, place, rows, results)
        return first_bad

    return fill


def _take_energies(
    energies: dict[int, Run], place: Place, rows: list[int], results: Results
) -> None:
    """Give log-sum-exps the bits they have when nothing else is asked for, if that is possible."""
    scratch, odd = _buffers(SCRATCH, 1)
    for slot, run in energies.items():
        for row in rows:
            settled = results.floats[slot, row]
            if run(place, row, row + 1, scratch, odd):
                results.floats[slot, row] = settled


def _readable_in_place(logits: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    flags = logits.flags
    return bool(logits.dtype == dtype and flags.c_contiguous and flags.aligned)


def _copied(
    logits: npt.NDArray[Any], start: int, stop: int, dtype: np.dtype[Any], classes: int
) -> Place:
    """Rows start ... stop - 1 where kernels can read them, padded to a group and a quartet."""
    rows, c = stop - start, logits.shape[1]
    block = np.empty((max(rows, LANES), classes), dtype)
    block[:rows, :c] = logits[start:stop]
    block[:rows, c:] = -np.inf
    block[rows:] = 0.0
    address = block.__array_interface__["data"][0] - start * classes * dtype.itemsize
    return Place(address, KINDS[dtype], start + len(block), block)


def _fused_run(wanted: Request, results: Results, double: bool, few: bool, classes: int) -> Run:
    """The kernel call that fills a block with all statistics."""
    constants = scales(double, wanted, classes)

    def run(place: Place, start: int, stop: int, scratch: Any, odd: Any) -> int:
        rest = (classes, constants, wanted, results, scratch, odd)
        if few:
            return fused_few(place.address, place.kind, start, stop, place.end, *rest)
        return fused_rows(place.address, place.kind, start, stop, *rest)

    return run


def _energy_runs(
    wanted: Request, results: Results, double: bool, few: bool, classes: int, alone: bool
) -> dict[int, Run]:
    """Row of results -> the kernel call that fills a block with log-sum-exps at a temperature.

    alone : with the largest logit and the prediction, where they are wanted.
    """

    def energy(temperature: float, slots: tuple[int, int, int]) -> Run:
        constants = scale(double, temperature)

        def run(place: Place, start: int, stop: int, scratch: Any, odd: Any) -> int:
            rest = (classes, constants, slots, results, scratch, odd)
            if few:
                return energy_few(place.address, place.kind, start, stop, place.end, *rest)
            return energy_rows(place.address, place.kind, start, stop, *rest)

        return run

    others = (wanted.floats[0], wanted.integers[0]) if alone else (-1, -1)
    runs = {}
    for temperature, slot in zip(wanted.temperatures.tolist(), wanted.lse.tolist(), strict=True):
        if slot >= 0:
            runs[slot] = energy(temperature, (slot, *others))
            others = (-1, -1)
    return runs


def _only_energy(wanted: Request) -> bool:
    """Whether log-sum-exps, the largest logit and the prediction are all that is asked for."""
    others = (*wanted.floats[1:], *wanted.integers[1:], *wanted.excess.tolist())
    return (
        len(wanted.temperatures) > 0
        and max(others) < 0
        and len(wanted.gen) == len(wanted.prior) == 0
    )


def _buffers(scratch: int, rows: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Room for numbers in between and for a list of rows; each thread keeps its own."""
    if getattr(_own, "scratch", None) is None or _own.scratch.size < scratch:
        _own.scratch = np.empty(scratch)
    if getattr(_own, "odd", None) is None or _own.odd.size < rows:
        _own.odd = np.empty(rows, dtype=np.int64)
    return _own.scratch, _own.odd
