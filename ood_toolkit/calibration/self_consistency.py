"""Split-point self-consistency: heads on frozen features that learn the size of errors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.likelihood import log_softmax
from ood_toolkit.calibration.one_vs_rest import KEPT
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.chunks import feature_chunks, located, probability_chunks
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require, seed_of_32_bits

__all__ = ["SPC", "FittedSPC", "corrected_probabilities", "self_inconsistency"]

TRUSTED = 0.05
"""How far the three heads may disagree on a class before its probability is left alone."""


@calibration_method(
    "spc",
    needs="logits features",
    validation="logits features labels",
    keeps_prediction=False,
    reference="Zhao & Chen, 2025, arXiv 2509.13262",
)
@dataclass(frozen=True)
class SPC:
    """Shift each probability by how much three small networks say that it errs.

    On frozen features the networks learn |y - p|, its part where y = 1 and its part where
    y = 0.  Each two of the three give an estimate of P(y) - p; the least of the estimates is
    added where the three agree to 0.05, and the row is renormalised.

    Parameters
    ----------
    hidden : int
        Units of each network's one hidden layer.
    epochs : int
        Passes over the validation rows.
    learning_rate : float
        Of Adam, above 0.
    seed : int
        Of the networks' first weights and the order of rows.

    References
    ----------
    Zhao & Chen, "SPC-UQ: split-point self-consistency", 2025, arXiv 2509.13262.  The authors
    do not renormalise.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import SPC, Outputs
    >>> rng = np.random.default_rng(0)
    >>> f = rng.normal(size=(200, 2))
    >>> x = Outputs(logits=3 * f, features=f, labels=f.argmax(axis=1))
    >>> fitted = SPC(hidden=8, epochs=5).fit(x)
    >>> fitted.score(x).shape
    (200,)
    """

    hidden: int = 64
    epochs: int = 100
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.hidden >= 1, f"spc.hidden must be at least 1, got {self.hidden}")
        require(self.epochs >= 1, f"spc.epochs must be at least 1, got {self.epochs}")
        require(
            self.learning_rate > 0.0,
            f"spc.learning_rate must be above 0, got {self.learning_rate}",
        )

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedSPC:
        """Train the networks.

        Raises
        ------
        InputError
            If logits, features or labels are missing, or a row cannot be used.
        """
        z, labels = validation_rows("spc", validation)
        if validation.features is None:
            raise InputError(located(validation, "spc needs features"))
        features = np.concatenate([chunk for _, chunk in feature_chunks(validation)])
        size = float(np.sqrt(np.mean(features**2))) or 1.0
        p = np.exp(log_softmax(z))
        hit = labels[:, None] == np.arange(z.shape[1])
        up, down = np.where(hit, 1.0 - p, 0.0), np.where(hit, 0.0, p)
        nets = [self._network(features / size, target) for target in (up + down, up, down)]
        return FittedSPC(
            self,
            z.shape[1],
            features.shape[1],
            size,
            *(np.stack([net[i] for net in nets]) for i in range(4)),
        )

    def _network(self, features: Array, target: Array) -> tuple[Array, Array, Array, Array]:
        """Weights and intercepts of both layers."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        net = MLPRegressor(
            hidden_layer_sizes=(self.hidden,),
            alpha=0.0,
            batch_size=min(128, len(features)),
            learning_rate_init=self.learning_rate,
            max_iter=self.epochs,
            tol=0.0,
            n_iter_no_change=self.epochs,
            random_state=seed_of_32_bits(self.seed),
        )
        # products of 128 rows are done before a second thread has woken up
        with warnings.catch_warnings(), one_blas_thread():
            # the number of passes is the user's choice
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(features, target)
        return (*net.coefs_, *net.intercepts_)


@dataclass(frozen=True)
class FittedSPC(FittedCalibrator):
    """Fitted `SPC`.

    Attributes
    ----------
    size : float
        Root mean square of the validation features, which features are divided by.
    first, second : (3, D, H) and (3, H, C) arrays of float64
        Weights of the networks for |y - p|, its upper and its lower part.
    first_shift, second_shift : (3, H) and (3, C) arrays of float64
        Their intercepts.
    """

    size: float
    first: Array
    second: Array
    first_shift: Array
    second_shift: Array

    shapes = {"first": "t D H", "second": "t H C", "first_shift": "t H", "second_shift": "t C"}

    def score(self, x: Outputs, /) -> Array:
        """Negative self-inconsistency of each row, a score of epistemic doubt.

        Parameters
        ----------
        x : Outputs
            With logits and features.

        Returns
        -------
        (N,) array of float64
            At most 0; larger = more in-distribution.
        """
        self.check(x)
        found = np.empty(len(x))
        for part, p in probability_chunks(x):
            found[part] = -self_inconsistency(p, self._errors(x, part)[0])
        return found

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        p = np.exp(log_softmax(z))
        new = np.where(np.isfinite(z), corrected_probabilities(p, *self._errors(x, part)), 0.0)
        new = new + KEPT * p
        with np.errstate(divide="ignore"):  # a masked class stays masked
            return np.asarray(np.log(new / new.sum(axis=1, keepdims=True)))

    def _errors(self, x: Outputs, part: slice) -> Array:
        """What the networks say of some rows.  -> (3, n, C)"""
        rows = x.rows(part)
        ((_, features),) = feature_chunks(rows)
        hidden = np.maximum(features / self.size @ self.first + self.first_shift[:, None], 0.0)
        return np.asarray(hidden @ self.second + self.second_shift[:, None])

    def report(self) -> Mapping[str, Any]:
        """Units of the hidden layers."""
        return {"hidden": self.first.shape[2]}


def self_inconsistency(p: Array, absolute: Array) -> Array:
    """Sum over classes of |2 p (1 - p) - m|, m the expected |y - p|.  (N, C) twice -> (N,).

    It is 0 where p is the probability of each class; larger = more epistemic doubt.
    """
    return np.asarray(np.abs(2.0 * p * (1.0 - p) - absolute).sum(axis=1))


def corrected_probabilities(p: Array, absolute: Array, up: Array, down: Array) -> Array:
    """P + the least of three estimates of P(y) - p, in [0, 1].  (N, C) each -> (N, C).

    Only where |up + down - absolute| < 0.05; elsewhere p is left alone.
    """
    estimates = np.stack([up - down, absolute - 2.0 * down, 2.0 * up - absolute])
    trusted = np.abs(up + down - absolute) < TRUSTED
    shift = np.where(trusted, estimates.min(axis=0), 0.0)
    return np.asarray(np.clip(p + shift, 0.0, 1.0))
