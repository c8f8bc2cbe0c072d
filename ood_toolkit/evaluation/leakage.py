"""Whether rows that a choice was made on are among the rows that are reported."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping

import numpy as np

from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.products import row_chunks
from ood_toolkit.outputs import Array, Outputs

__all__ = ["TOLERATED", "content_digest", "refuse_shared_rows", "shared_rows"]

TOLERATED = 0.1
"""Share of the smaller set's rows from which two sets count as one."""

_COMPARED = ("features", "logits", "members", "token_logits")


def row_digests(x: Outputs, parts: tuple[str, ...]) -> list[bytes]:
    """A digest of each row's numbers, as float64: the file's type and name do not matter."""
    axis = {"members": 1}
    arrays = [np.moveaxis(getattr(x, part), axis.get(part, 0), 0) for part in parts]
    digests: list[bytes] = []
    for chunk in row_chunks(len(x)):
        blocks = [_numbers(array[chunk]) for array in arrays]
        for row in np.concatenate(blocks, axis=1):
            digests.append(hashlib.blake2b(row.tobytes(), digest_size=16).digest())
    return digests


def _numbers(block: Array) -> Array:
    """(n, K) float64, in which -0 is 0."""
    return np.asarray(block, dtype=np.float64).reshape(len(block), -1) + 0.0


def content_digest(x: Outputs) -> str:
    """Sha256 over the numbers of all rows, whatever file they came from."""
    rows = row_digests(x, _present(x))
    return hashlib.sha256(b"".join(rows)).hexdigest()


def shared_rows(a: Outputs, b: Outputs) -> int:
    """How many rows of `a` are rows of `b`, by the numbers that both hold."""
    parts = tuple(part for part in _present(a) if part in _present(b))
    if not parts:
        return 0
    known = set(row_digests(b, parts))
    return sum(digest in known for digest in row_digests(a, parts))


def refuse_shared_rows(chosen_on: Mapping[str, Outputs], reported: Mapping[str, Outputs]) -> None:
    """Refuse to report figures on rows that parameters were chosen on.

    Raises
    ------
    InputError
        If a tenth or more of the rows of one set are rows of the other.

    Warns
    -----
    ToolkitWarning
        If fewer rows are shared.
    """
    for purpose, tuned in chosen_on.items():
        for name, x in reported.items():
            count = shared_rows(tuned, x)
            if not count:
                continue
            smaller = min(len(tuned), len(x))
            said = (
                f"{x.source or name}: {count} of {smaller} rows are also in {purpose}"
                f"{f' ({tuned.source})' if tuned.source else ''}, which parameters are tuned on"
            )
            if count >= TOLERATED * smaller:
                raise InputError(f"{said}; tune on other rows than those that are reported")
            warnings.warn(f"{said}; figures may be too good", ToolkitWarning, stacklevel=2)


def _present(x: Outputs) -> tuple[str, ...]:
    return tuple(part for part in _COMPARED if getattr(x, part) is not None)
