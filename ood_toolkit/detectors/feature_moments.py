"""Moments of training features, in one pass shared among threads."""

from __future__ import annotations

import numpy as np

from ood_toolkit.chunks import checked_features, refuse_bad_features
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.kernels.moments import Moments, centred_rows
from ood_toolkit.kernels.pool import in_order
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Array, Outputs

__all__ = ["feature_moments"]

BLOCK = 2 * CHUNK
"""Rows whose outer products are summed by one matrix product."""


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
    features = x.features
    owner = np.zeros(len(x), dtype=np.int64) if labels is None else labels
    if origin is None:
        start = slice(0, min(CHUNK, len(x)))
        origin = checked_features(x, start, unit_length, np.float64).mean(axis=0)
    moments = Moments.about(origin, classes)

    def products(start: int, stop: int) -> tuple[Array, Array, Array]:
        part = slice(start, stop)
        rows = checked_features(x, part, True, np.float64) if unit_length else features[part]
        centred, bad = centred_rows(rows, origin)
        refuse_bad_features(x, start + bad if bad >= 0 else -1)
        return centred, centred.T @ centred, owner[part]

    with one_blas_thread():
        for centred, scatter, block_labels in in_order(products, len(x), BLOCK, thread_count()):
            moments.add(centred, scatter, block_labels)
    return moments
