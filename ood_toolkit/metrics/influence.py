"""By how much each row pulls at an area: influence values, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.metrics.ranking import Ranking

__all__ = ["area_influences", "mean_powers", "moments_of"]

Array = npt.NDArray[Any]


def area_influences(ranking: Ranking, metric: str, estimator: str = "step") -> tuple[Array, Array]:
    """Influence values of the ID and of the OOD rows, from the largest score down.

    Parameters
    ----------
    ranking : Ranking
        Of N ID and M OOD scores, at least one of each.
    metric : str
        "auroc", "aupr_in" or "aupr_out".
    estimator : str
        Of the AUPR: "step" or "trapezoid".

    Returns
    -------
    tuple of arrays
        (N,) and (M,) float64 of mean 0: by how much the area would rise, a unit of weight, if
        the row had more weight in its set.

    References
    ----------
    Of the AUROC they are DeLong's components; DeLong, DeLong & Clarke-Pearson, Biometrics 1988.
    """
    inside, outside = ranking.id_at_or_above, ranking.ood_at_or_above
    of_id, of_ood = np.diff(inside), np.diff(outside)
    if metric == "auroc":
        pulls = 1.0 - 0.5 * (outside[:-1] + outside[1:]) / ranking.n_ood
        drags = 0.5 * (inside[:-1] + inside[1:]) / ranking.n_id
    elif metric == "aupr_in":
        pulls, drags = _of_precision(of_id, of_ood, estimator)
    else:
        found = _of_precision(of_ood[::-1], of_id[::-1], estimator)
        drags, pulls = (values[::-1] for values in found)
    return _by_row(pulls, of_id), _by_row(drags, of_ood)


def mean_powers(values: Array) -> tuple[float, float]:
    """Mean square and mean fourth power of (N,) values about their mean."""
    squares = (values - values.mean()) ** 2
    return float(squares.mean()), float((squares**2).mean())


def moments_of(of_id: Array, of_ood: Array) -> tuple[float, float, float, float]:
    """`mean_powers` of (N,) and of (M,) values, as `degrees_of_freedom` takes them."""
    return *mean_powers(of_id), *mean_powers(of_ood)


def _of_precision(of_hits: Array, of_misses: Array, estimator: str) -> tuple[Array, Array]:
    """(G,) numbers of rows by threshold, the strictest first -> (G,) influences of both."""
    hits, misses = np.cumsum(of_hits), np.cumsum(of_misses)
    called = (hits + misses).astype(np.float64)
    under, counts = hits / called, of_hits.astype(np.float64)
    if estimator == "trapezoid":
        under = 0.5 * (under + np.append(1.0, under[:-1]))
        counts = 0.5 * (counts + np.append(counts[1:], 0.0))
    # a hit raises the precision at its own threshold and at all looser ones; a miss lowers it
    rise, fall = counts * misses / called**2, counts * hits / called**2
    pulls = under + np.cumsum(rise[::-1])[::-1]
    return pulls, -np.cumsum(fall[::-1])[::-1] * (misses[-1] / hits[-1])


def _by_row(values: Array, rows: Array) -> Array:
    each = np.repeat(values, rows)
    return np.asarray(each - each.mean())
