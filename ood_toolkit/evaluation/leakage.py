"""Whether rows that something was fitted or chosen on are among the rows that are reported."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.products import row_chunks
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.streamed import as_streamed

__all__ = [
    "NOTABLE",
    "TOLERATED",
    "content_digest",
    "refuse_shared_rows",
    "row_digests",
    "shared_rows",
    "warn_of_repeated_rows",
]

TOLERATED = 0.1
"""Share of the smaller set's distinct rows from which two sets count as one."""

NOTABLE = 0.01
"""Share of the smaller set's distinct rows from which two reported sets are said to share them."""

_COMPARED = ("features", "logits", "members", "token_logits")
Seen = dict[tuple[int, tuple[str, ...]], tuple[Array, Array]]
"""Glances, and each once in order, by the `id` of a record and the parts looked at."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_GLANCE = 4
"""Numbers of a row that are looked at first: few rows need to be read whole."""


def row_digests(x: Outputs, parts: tuple[str, ...], rows: Array | None = None) -> list[bytes]:
    """A digest of each row's numbers, as float64: the file's type and name do not matter.

    Parameters
    ----------
    x : Outputs
    parts : tuple of str
        Which arrays of the record count.
    rows : (K,) array of int, optional
        Only these rows.
    """
    arrays = _by_rows(x, parts)
    digests: list[bytes] = []
    for chunk in row_chunks(len(x) if rows is None else len(rows)):
        taken = chunk if rows is None else rows[chunk]
        blocks = [_numbers(array[taken]) for array in arrays]
        for row in np.concatenate(blocks, axis=1):
            digests.append(hashlib.blake2b(row.tobytes(), digest_size=16).digest())
    return digests


def _by_rows(x: Outputs, parts: tuple[str, ...]) -> list[Array]:
    """The arrays with their rows first."""
    return [np.moveaxis(getattr(x, part), 1 if part == "members" else 0, 0) for part in parts]


def _numbers(block: Array) -> Array:
    """(n, K) float64, in which -0 is 0."""
    return np.asarray(block, dtype=np.float64).reshape(len(block), -1) + 0.0


def content_digest(x: Outputs) -> str:
    """Sha256 over the numbers of all rows, whatever file they came from."""
    rows = row_digests(x, _present(x))
    return hashlib.sha256(b"".join(rows)).hexdigest()


def shared_rows(a: Outputs, b: Outputs, seen: Seen | None = None) -> int:
    """How many distinct rows are in both records, by the numbers that both hold.

    Parameters
    ----------
    a, b : Outputs
    seen : dict, optional
        What earlier calls looked at in these records, and this one.
    """
    seen = {} if seen is None else seen
    parts = tuple(part for part in _present(a) if part in _present(b))
    if not parts or len(a) == 0 or len(b) == 0:
        return 0
    shapes = [[array.shape[1:] for array in _by_rows(x, parts)] for x in (a, b)]
    if shapes[0] != shapes[1]:
        return 0
    for x in (a, b):
        if (id(x), parts) not in seen:
            glance = _glances(x, parts)
            seen[id(x), parts] = glance, np.unique(glance)
    glances, unique = zip(*(seen[id(x), parts] for x in (a, b)), strict=True)
    # two sorted runs: a stable sort merges them
    merged = np.sort(np.concatenate(unique), kind="stable")
    if not (merged[1:] == merged[:-1]).any():
        return 0
    candidates = [np.flatnonzero(np.isin(glances[i], glances[1 - i])) for i in (0, 1)]
    found = (set(row_digests(x, parts, k)) for x, k in zip((a, b), candidates, strict=True))
    return len(next(found) & next(found))


def _share(a: Outputs, b: Outputs, seen: Seen, level: float) -> tuple[int, int]:
    """Distinct rows in both, and all rows of the smaller; where it decides, its distinct ones.

    Rows that repeat, each counted once above, may not hide how large a part is shared.
    """
    count, smaller = shared_rows(a, b, seen), min(len(a), len(b))
    if not count or count >= level * smaller:
        return count, smaller
    parts = tuple(part for part in _present(a) if part in _present(b))
    glances = [seen[id(x), parts] for x in (a, b)]
    if count < level * min(len(once) for _, once in glances):  # each of these is a row at least
        return count, smaller
    return count, min(_distinct(x, parts, g) for x, (g, _) in zip((a, b), glances, strict=True))


def _distinct(x: Outputs, parts: tuple[str, ...], glances: Array) -> int:
    """How many distinct rows there are; only those that look alike are read whole."""
    _, place, times = np.unique(glances, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(times[place] > 1)
    return int((times == 1).sum()) + len(set(row_digests(x, parts, alike)))


def _glances(x: Outputs, parts: tuple[str, ...]) -> Array:
    """A few numbers of each row mixed into one.  (N,) uint64."""
    few = []
    for array in _by_rows(x, parts):
        flat = array.reshape(len(x), -1) if array.flags.c_contiguous else array
        first: tuple[Any, ...] = (slice(None), *(0,) * (flat.ndim - 2))
        corner = flat[first]
        few.append(_numbers(corner[:, :_GLANCE]))
    columns = np.concatenate(few, axis=1).T.copy().view(np.uint64)
    mixed = np.zeros(len(x), np.uint64)
    for column in columns:
        mixed = (mixed ^ column) * _ODD
        mixed ^= mixed >> np.uint64(32)
    return mixed


def refuse_shared_rows(
    chosen_on: Mapping[str, Outputs], reported: Iterable[tuple[str, Outputs]]
) -> None:
    """Refuse to report figures on rows that methods were fitted or parameters chosen on.

    Raises
    ------
    InputError
        If a tenth or more of the distinct rows of one set are rows of the other.

    Warns
    -----
    ToolkitWarning
        If fewer rows are shared.
    """
    seen: Seen = {}
    for name, x in reported:
        for purpose, used in chosen_on.items():
            count, smaller = _share(used, x, seen, TOLERATED)
            if not count:
                continue
            distinct = "" if smaller == min(len(used), len(x)) else "distinct "
            said = (
                f"{x.source or name}: {count} of {smaller} {distinct}rows are also in {purpose}"
                f"{f' ({used.source})' if used.source else ''}"
            )
            if count >= TOLERATED * smaller:
                raise InputError(f"{said}; report on other rows than those that are fitted or "
                                 "tuned on")  # fmt: skip
            warnings.warn(f"{said}; figures may be too good", ToolkitWarning, stacklevel=3)


def warn_of_repeated_rows(reported: Sequence[tuple[str, Outputs]]) -> None:
    """Say of reported sets that they share rows: one given for another, or parts of it.

    Sets whose rows stay in their file, too large for memory, are not read for it.

    Warns
    -----
    ToolkitWarning
        Once for each set that shares a hundredth or more of the smaller one's distinct rows with
        one before it, two at least; a few are alike by chance where numbers are coarse, and one
        where all rows of a set are alike.
    """
    kept = [(name, x) for name, x in reported if not _stays_in_file(x)]
    seen: Seen = {}
    for place, (name, x) in enumerate(kept):
        said = []
        for other, earlier in kept[:place]:
            count, smaller = _share(earlier, x, seen, NOTABLE)
            if count > 1 and count >= NOTABLE * smaller:
                said.append(f"{count} in {other}")
        if said:
            warnings.warn(
                f"{name}: of its {len(x)} rows there are also {', '.join(said)}; was a file given "
                "twice?",
                ToolkitWarning,
                stacklevel=3,
            )


def _stays_in_file(x: Outputs) -> bool:
    return any(as_streamed(getattr(x, part)) is not None for part in _present(x))


def _present(x: Outputs) -> tuple[str, ...]:
    return tuple(part for part in _COMPARED if getattr(x, part) is not None)
