"""The scikit-learn adapter: any method that reads one matrix, as an outlier detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ood_toolkit.detectors.catalogue import Method, find_method, make_detector
from ood_toolkit.detectors.planner import fit_method
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = ["OODDetector"]


class OODDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """A method of the catalogue as a scikit-learn outlier detector over one matrix.

    The matrix holds features or logits, whichever the method reads.  Methods that also read the
    last layer, or both matrices, have no place here: use `ood_toolkit.detector`.

    Parameters
    ----------
    method : str
        As `ood_toolkit.methods` lists it; its `needs` is "features" or "logits" alone.
    parameters : mapping, optional
        Hyper-parameters of the method.
    contamination : float
        In [0, 0.5]: share of the training rows that `predict` calls outliers.

    Attributes
    ----------
    scorer_ : FittedScorer
        The fitted method, as `ood_toolkit` has it.
    offset_ : float
        The score that separates inliers from outliers.
    classes_ : (C,) array
        The classes in `y`, in the order of their numbers; without `y` a single one.
    n_features_in_ : int
        Columns of the matrix.

    References
    ----------
    The interface is that of scikit-learn's outlier detectors; the scores are the toolkit's,
    whose sign is the same: larger = more in-distribution.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from ood_toolkit.sklearn import OODDetector
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)
    >>> X[:, 0] += 8 * y
    >>> model = make_pipeline(StandardScaler(), OODDetector("mahalanobis", contamination=0.01))
    >>> model.fit(X, y).predict([[0.0, 0, 0, 0], [8, 0, 0, 0], [4, 0, 0, 0]])
    array([ 1,  1, -1])
    """

    def __init__(
        self,
        method: str = "mahalanobis",
        *,
        parameters: Mapping[str, Any] | None = None,
        contamination: float = 0.05,
    ) -> None:
        self.method = method
        self.parameters = parameters
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> OODDetector:
        """Fit the method, and set the offset on the same rows.

        Parameters
        ----------
        X : (N, D) array of float
            Features or logits of in-distribution rows.
        y : (N,) array, optional
            Class of each row, for methods that are fitted on labels; without it all rows are
            of one class, or of the class of their largest logit.  Rows where it is -1,
            scikit-learn's sign of an outlier, are left out of the fit.

        Returns
        -------
        OODDetector
            Itself.

        Raises
        ------
        ValueError
            If the method reads more than one matrix, or the rows cannot be fitted on.
        """
        row = find_method(self.method)
        part = _matrix(row)
        if not 0.0 <= self.contamination <= 0.5:
            raise BadParameter(f"contamination must lie in [0, 0.5], got {self.contamination!r}")
        columns = 2 if part == "logits" else 1
        X = validate_data(
            self, X, dtype=[np.float64, np.float32], ensure_min_features=columns,
            ensure_min_samples=2,
        )  # fmt: skip
        if y is not None:
            y = np.asarray(y)
            if y.shape != (len(X),):
                raise InputError(f"y must be ({len(X)},), got shape {y.shape}")
            known = y != -1
            X, y = X[known], y[known]
            if len(X) == 0:
                raise InputError("y is -1 in every row: nothing in-distribution to fit on")
        labels = self._labels(X, y, part)
        train = Outputs(**{part: X}, labels=labels if "labels" in row.train else None)
        self.scorer_ = fit_method(make_detector(self.method, self.parameters), train)
        scores = self.scorer_.score(train)
        self.offset_ = float(np.percentile(scores, 100.0 * self.contamination))
        return self

    def _labels(self, X: Array, y: Array | None, part: str) -> Array:
        """Class numbers; those of logits are their columns."""
        if part == "logits":
            self.classes_ = np.arange(X.shape[1])
            return np.argmax(X, axis=1) if y is None else y
        self.classes_, numbers = np.unique(
            np.zeros(len(X), dtype=np.int64) if y is None else y, return_inverse=True
        )
        return np.asarray(numbers)

    def score_samples(self, X: Any) -> Array:
        """The method's score of each row.

        Parameters
        ----------
        X : (N, D) array of float
            Features or logits, as in `fit`.

        Returns
        -------
        (N,) array of float64
            Larger = more in-distribution.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.asarray(self.scorer_.score(Outputs(**{_matrix(find_method(self.method)): X})))

    def decision_function(self, X: Any) -> Array:
        """The score less the offset: negative for outliers.

        Parameters
        ----------
        X : (N, D) array of float
            Features or logits, as in `fit`.

        Returns
        -------
        (N,) array of float64
            Larger = more in-distribution.
        """
        return np.asarray(self.score_samples(X) - self.offset_)

    def predict(self, X: Any) -> Array:
        """Whether each row is in-distribution.

        Parameters
        ----------
        X : (N, D) array of float
            Features or logits, as in `fit`.

        Returns
        -------
        (N,) array of int
            1 for inliers, -1 for outliers.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)


def _matrix(row: Method) -> str:
    """The one part that the method reads."""
    (part, *others) = row.needs
    if others or part not in ("features", "logits"):
        raise BadParameter(
            f"{row.name} needs {' and '.join(row.needs)}, and a matrix is one of features or "
            "logits; use ood_toolkit.detector"
        )
    return part
