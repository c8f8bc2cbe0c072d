"""A Gaussian's covariance turned into whitening, with a report of its conditioning."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.detectors.training import finite
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.outputs import Array

__all__ = [
    "CovarianceRule",
    "Whitening",
    "conditioning",
    "eigenpairs",
    "shrunk",
    "whitening",
]

CovarianceRule = Literal["pseudo_inverse", "ledoit_wolf", "oas"]

# So small that further threads gain nothing, and would spin afterwards: a network that runs
# next would wait for them.  The bits are the same.
_ALONE = 128


@dataclass(frozen=True, slots=True)
class Whitening:
    """A linear map after which the covariance is the identity.

    Attributes
    ----------
    matrix : (D, r) array of float64
        Whitened features are (f - origin) @ matrix.
    eigenvalues : (D,) array of float64
        Of the covariance that was inverted, ascending.
    """

    matrix: Array
    eigenvalues: Array


def eigenpairs(matrix: Array, name: str) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors.  (..., D, D) -> (..., D), (..., D, D).

    Every symmetric matrix of moments is taken apart here.

    Raises
    ------
    InputError
        If an entry is not finite.
    """
    values, vectors = np.linalg.eigh(finite(matrix, name))
    return values, vectors


def whitening(covariance: Array, name: str) -> Whitening:
    """Whitening of the pseudo-inverse: Sigma^+ = matrix @ matrix.T.

    Eigenvalues up to D * eps * the largest are taken as zero, and distances ignore those
    directions (methods with `ledoit_wolf` or `oas` have none).

    Raises
    ------
    InputError
        If the covariance is zero, every row equal to its class mean, or not finite.
    """
    with one_blas_thread() if len(covariance) <= _ALONE else nullcontext():
        values, vectors = eigenpairs(covariance, name)
    kept = values > covariance.shape[0] * np.finfo(np.float64).eps * max(values[-1], 0.0)
    if not kept.any():
        raise InputError(f"{name}: the covariance is zero; every training row equals its mean")
    # a saved matrix is read back in C order, and BLAS rounds otherwise in Fortran order
    return Whitening(np.ascontiguousarray(vectors[:, kept] / np.sqrt(values[kept])), values)


def shrunk(covariance: Array, rule: CovarianceRule, centred: Array, name: str) -> Array:
    """The covariance under a shrinkage rule of scikit-learn, fitted on centred rows.

    Raises
    ------
    InputError
        If a feature is constant: shrinkage would hand its variance a made-up value; or if
        fourth powers, which the rules are made of, overflow.
    """
    with np.errstate(over="ignore"):
        finite(np.square(np.square(np.abs(centred).max()) * len(centred)), name)
    if not (np.diag(covariance) > 0).all():
        column = int(np.argmin(np.diag(covariance)))
        raise InputError(
            f"{name}: feature {column} is constant, which {rule} cannot handle; drop it, or use "
            "covariance=pseudo_inverse"
        )
    from sklearn.covariance import OAS, LedoitWolf

    estimator = LedoitWolf if rule == "ledoit_wolf" else OAS
    return np.asarray(estimator(assume_centered=True).fit(centred).covariance_)


def conditioning(covariance: Array, whitened: Whitening, rows: int, rule: str) -> dict[str, Any]:
    """What a user should know about an inverted covariance; JSON-ready."""
    values = whitened.eigenvalues
    rank = whitened.matrix.shape[1]
    return {
        "covariance": rule,
        "rows": rows,
        "dimensions": int(covariance.shape[0]),
        "rank": rank,
        "condition_number": float(values[-1] / values[-rank]),
        "constant_features": int((np.diag(covariance) <= _rounding(covariance)).sum()),
    }


def _rounding(covariance: Array) -> float:
    """Variance that rounding alone can leave in a constant column."""
    return float(np.finfo(np.float64).eps * np.diag(covariance).max())
