"""Scores of several layers, weighed by logistic regression against outliers or attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.planner import fit_method
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector

__all__ = ["LayerEnsemble", "fit_layers", "layer_record", "logistic_weights"]

PENULTIMATE = "features"
"""The name under which the penultimate features take part."""


def layer_record(x: Outputs, layer: str) -> Outputs:
    """The record of one layer: its pooled features take the place of the penultimate ones.

    Raises
    ------
    InputError
        If the record has no such layer.
    """
    if layer == PENULTIMATE:
        return replace(x, layers={})
    if layer not in x.layers:
        raise InputError(f"no layer {layer!r}; the record has {', '.join(x.layers) or 'none'}")
    return Outputs(features=x.layers[layer], labels=x.labels, source=x.source)


def fit_layers(detector: Detector, train: Outputs) -> dict[str, FittedScorer]:
    """The detector fitted on every layer of the training outputs, the penultimate one last."""
    names = [*train.layers, *([PENULTIMATE] if train.features is not None else [])]
    return {name: fit_method(detector, layer_record(train, name)) for name in names}


@dataclass(frozen=True)
class LayerEnsemble:
    """Several layers' scores as one: S = -P(outlier), in [-1, 0].

    Larger = more in-distribution.  Made by `fit`.

    Parameters
    ----------
    scorers : mapping of str to FittedScorer
        Of each layer.
    weights : (L,) array of float64
        Of each layer's score.
    intercept : float
        Of the logistic regression.

    References
    ----------
    Lee, Lee, Lee & Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples
    and Adversarial Attacks", NeurIPS 2018.

    Examples
    --------
    >>> from ood_toolkit import FeatureNorm
    >>> rng = np.random.default_rng(0)
    >>> inside = Outputs(features=rng.normal(size=(50, 3)), layers={"a": rng.normal(size=(50, 2))})
    >>> outside = Outputs(features=inside.features, layers={"a": 9 * inside.layers["a"]})
    >>> scorers = fit_layers(FeatureNorm(), inside)
    >>> ensemble = LayerEnsemble.fit(scorers, inside, outside)
    >>> bool(ensemble.score(inside).mean() > ensemble.score(outside).mean())
    True
    """

    scorers: Mapping[str, FittedScorer]
    weights: Array
    intercept: float

    @classmethod
    def fit(
        cls,
        scorers: Mapping[str, FittedScorer],
        id_val: Outputs | Mapping[str, Outputs],
        outliers: Outputs | Mapping[str, Outputs],
        ridge: float = 1.0,
    ) -> LayerEnsemble:
        """Weigh the layers by how they tell held-out rows from outliers.

        Parameters
        ----------
        scorers : mapping of str to FittedScorer
            As `fit_layers` gives them.
        id_val, outliers : Outputs, or mappings of layer to Outputs
            Rows that are neither trained nor reported on; a mapping where the inputs of each
            layer were moved towards that layer's score.  Outliers are out-of-distribution rows,
            or attacked ones where none may be known.
        ridge : float
            Strength of the penalty on the weights, of standardised scores.

        Raises
        ------
        BadParameter
            If `ridge` is not positive.
        InputError
            If a set is empty or a layer is missing.
        """
        if not ridge > 0:
            raise BadParameter(f"ridge must be positive, got {ridge}")
        inside, outside = (_matrix(scorers, x) for x in (id_val, outliers))
        if not len(inside) or not len(outside):
            raise InputError("a layer ensemble needs rows of both kinds")
        target = np.concatenate([np.zeros(len(inside)), np.ones(len(outside))])
        weights, intercept = logistic_weights(np.concatenate([inside, outside]), target, ridge)
        return cls(dict(scorers), weights, intercept)

    def score(self, x: Outputs | Mapping[str, Outputs], /) -> Array:
        """(N,) float64; larger = more in-distribution."""
        return -_sigmoid(_matrix(self.scorers, x) @ self.weights + self.intercept)


def _matrix(scorers: Mapping[str, FittedScorer], x: Outputs | Mapping[str, Outputs]) -> Array:
    """(N, L) scores, a column a layer."""
    columns = [
        scorer.score(layer_record(x if isinstance(x, Outputs) else x[name], name))
        for name, scorer in scorers.items()
    ]
    return np.stack(columns, axis=1)


def _sigmoid(t: Array) -> Array:
    e = np.exp(-np.abs(t))
    return np.asarray(np.where(t >= 0, 1.0, e) / (1.0 + e))


def logistic_weights(scores: Array, target: Array, ridge: float) -> tuple[Array, float]:
    """Weights (L,) and intercept that maximise the penalised likelihood, by Newton's method.

    Parameters
    ----------
    scores : (N, L) array of float64
        Standardised before the penalty, ridge / 2 of the squared weights, is applied.
    target : (N,) array of 0 and 1
        1 = outlier.
    ridge : float
        Positive: the penalty makes the optimum finite where the two can be separated.
    """
    centre, spread = scores.mean(axis=0), scores.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    design = np.column_stack([(scores - centre) / spread, np.ones(len(scores))])
    penalty = np.full(design.shape[1], ridge)
    penalty[-1] = 0.0

    def loss(w: Array) -> float:
        t = design @ w
        return float((np.logaddexp(0.0, t) - target * t).sum() + 0.5 * (penalty * w * w).sum())

    w = np.zeros(design.shape[1])
    for _ in range(100):
        p = _sigmoid(design @ w)
        gradient = design.T @ (p - target) + penalty * w
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(w)), gradient)
        size = 1.0
        while loss(w - size * step) > loss(w) and size > 1e-10:
            size /= 2
        w = w - size * step
        if float(np.abs(size * step).max()) < 1e-10:
            break
    weights = w[:-1] / spread
    return weights, float(w[-1] - weights @ centre)
