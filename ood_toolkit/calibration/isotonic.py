"""Isotonic regression of probabilities, class by class or over all classes at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.calibration.base import validation_rows
from ood_toolkit.calibration.likelihood import log_softmax
from ood_toolkit.calibration.one_vs_rest import OneVsRest, joined, split_at
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.outputs import Array, Outputs

__all__ = ["FittedIsotonic", "IsotonicCalibration"]


@calibration_method("isotonic", keeps_prediction=False, reference="Zadrozny & Elkan, KDD 2002")
@dataclass(frozen=True)
class IsotonicCalibration:
    """Map probabilities by the best non-decreasing function, then renormalise.

    Between the probabilities seen the function runs along straight lines, beyond them it is
    constant.

    Parameters
    ----------
    mode : "one_vs_rest" or "multi_class"
        A function for each class, or one for all, which keeps the order of the classes.

    References
    ----------
    Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", KDD 2002; for all classes at once Zhang, Kailkhura & Han, "Mix-n-Match",
    ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import IsotonicCalibration, Outputs
    >>> z = np.log([[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 4)
    >>> validation = Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1, 0, 0])
    >>> fitted = IsotonicCalibration().fit(validation)
    >>> np.exp(fitted.apply(validation).logits[[0, 4]]).round(4)
    array([[0.75, 0.25],
           [0.5 , 0.5 ]])
    """

    mode: Literal["one_vs_rest", "multi_class"] = "one_vs_rest"

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedIsotonic:
        """Find the functions.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used, or, class by class, a
            class has no row.
        """
        each = self.mode == "one_vs_rest"
        z, labels = validation_rows("isotonic", validation, every_class=each)
        p = np.exp(log_softmax(z))
        hit = labels[:, None] == np.arange(z.shape[1])
        if each:
            found = [_isotonic(p[:, c], hit[:, c]) for c in range(z.shape[1])]
        else:
            found = [_isotonic(p.ravel(), hit.ravel())]
        places, begins = joined([x for x, _ in found])
        values, _ = joined([y for _, y in found])
        return FittedIsotonic(self, z.shape[1], 0, places, values, begins)


@dataclass(frozen=True)
class FittedIsotonic(OneVsRest):
    """Fitted `IsotonicCalibration`.

    Attributes
    ----------
    places, values : (K,) arrays of float64
        Corners of the functions, one function after another.
    begins : (F + 1,) array of int64
        Where each function begins.
    """

    places: Array
    values: Array
    begins: Array

    shapes = {"places": "K", "values": "K"}

    def _by_class(self, log_p: Array) -> Array:
        p = np.exp(log_p)
        new = np.empty_like(p)
        for c in range(p.shape[1]):
            f = c if len(self.begins) > 2 else 0
            new[:, c] = np.interp(
                p[:, c],
                split_at(self.places, self.begins, f),
                split_at(self.values, self.begins, f),
            )
        return new

    def report(self) -> Mapping[str, Any]:
        """Corners of the functions."""
        return {"functions": len(self.begins) - 1, "corners": len(self.places)}


def _isotonic(p: Array, hit: Array) -> tuple[Array, Array]:
    from sklearn.isotonic import IsotonicRegression

    found = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(p, hit)
    return np.asarray(found.X_thresholds_), np.asarray(found.y_thresholds_)
