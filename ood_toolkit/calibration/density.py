"""Density-aware calibration: a temperature that grows away from the training features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.likelihood import minimum, softmax_loss
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.calibration.temperature import best_temperature
from ood_toolkit.chunks import feature_chunks, located
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["DAC", "FittedDAC"]

LEAST_TEMPERATURE = 1e-20
"""What a temperature is raised to where the fitted weights give less."""


@calibration_method(
    "dac",
    needs="logits features",
    validation="logits features labels",
    train="features",
    keeps_prediction=True,
    reference="Tomani et al., ICML 2023",
)
@dataclass(frozen=True)
class DAC:
    """Divide a row's logits by a temperature that grows with its distance to training rows.

    T(x) = w_0 + sum over layers of w_l s_l(x), fitted by likelihood with w_l >= 0, beginning
    at the best single temperature (in units of which |w_0| <= 100); s_l is
    the Euclidean distance to the k-th nearest training row, of features at length 1.  The
    layers are the penultimate features and every further layer that both records hold.

    Parameters
    ----------
    k : int
        Which neighbour; clamped to the number of training rows with a warning.

    References
    ----------
    Tomani, Waseda, Shen & Cremers, "Beyond In-Domain Scenarios: Robust Density-Aware
    Calibration", ICML 2023.  Their code takes the nearest row for every k; here it is the
    k-th.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import DAC, Outputs
    >>> f = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> z = np.array([[3.0, 0.0], [0.0, 3.0], [3.0, 0.0], [3.0, 0.0]])
    >>> validation = Outputs(logits=z, features=f[[0, 1, 0, 0]], labels=[0, 1, 0, 1])
    >>> fitted = DAC(k=1).fit(validation, Outputs(features=f))
    >>> fitted.temperatures(validation).round(3)
    array([2.731, 2.731, 2.731, 2.731])
    """

    k: int = 50

    def __post_init__(self) -> None:
        require(self.k >= 1, f"dac.k must be at least 1, got {self.k}")

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedDAC:
        """Fit the weights of the layers.

        Raises
        ------
        InputError
            If training features, or validation logits, features or labels are missing, or a
            row cannot be used.

        Warns
        -----
        ToolkitWarning
            If there are fewer training rows than k.
        """
        z, labels = validation_rows("dac", validation)
        if train is None or train.features is None:
            raise InputError("dac needs training outputs with features (train=, --train)")
        if validation.features is None:
            raise InputError(located(validation, "dac needs features"))
        if len(train) == 0:
            raise InputError(located(train, "dac cannot be fitted on zero training rows"))
        if self.k > len(train):
            warnings.warn(
                f"dac: k = {self.k} is more than the {len(train)} training rows; "
                f"using k = {len(train)}",
                ToolkitWarning,
                stacklevel=3,
            )
        names = tuple(sorted(set(train.layers) & set(validation.layers)))
        banks = tuple(_unit_rows(train, name) for name in ("", *names))
        distances = _distances(validation, names, banks, self.k)
        design = np.column_stack([np.ones(len(z)), distances])

        single, _ = best_temperature(validation, labels)
        z = z / single

        def objective(weights: Array) -> tuple[float, Array]:
            raw = design @ weights
            scale = np.maximum(raw, LEAST_TEMPERATURE)
            loss, slope = softmax_loss(z / scale[:, None], labels)
            seen = np.where(np.isfinite(z), z, 0.0)
            by_scale = -np.einsum("nc,nc->n", slope, seen) / scale**2
            return loss, (by_scale * (raw > LEAST_TEMPERATURE)) @ design

        bounds = [(-100.0, 100.0), *[(0.0, 1e4)] * distances.shape[1]]
        # from the best single temperature on, every step is an improvement on it
        start = np.zeros(design.shape[1])
        start[0] = 1.0
        weights = single * minimum("dac", objective, start, bounds=bounds)
        return FittedDAC(self, z.shape[1], validation.features.shape[1], names, banks, weights)


@dataclass(frozen=True)
class FittedDAC(FittedCalibrator):
    """Fitted `DAC`.

    Attributes
    ----------
    layers : tuple of str
        Further layers in use, beside the features.
    banks : tuple of (M, D_l) arrays
        Training features at length 1: the features' first, then those of the layers.
    weights : (L + 1,) array of float64
        Of the constant and of each layer's distance.
    """

    layers: tuple[str, ...]
    banks: tuple[Array, ...]
    weights: Array

    shapes = {"weights": "w"}

    def temperatures(self, x: Outputs) -> Array:
        """The temperature of each row.

        Parameters
        ----------
        x : Outputs
            With features, and the layers in use.

        Returns
        -------
        (N,) array of float64
            Above 0; larger = farther from the training rows.
        """
        distances = _distances(x, self.layers, self.banks, self.calibrator.k)
        scale = self.weights[0] + distances @ self.weights[1:]
        return np.asarray(np.maximum(scale, LEAST_TEMPERATURE))

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        return np.asarray(z / self.temperatures(x.rows(part))[:, None])

    def report(self) -> Mapping[str, Any]:
        """The weights by layer, and the rows of the bank."""
        weights = dict(zip(("constant", "features", *self.layers), self.weights, strict=True))
        return {
            "weights": {name: float(w) for name, w in weights.items()},
            "rows": len(self.banks[0]),
        }


def _unit_rows(x: Outputs, layer: str) -> Array:
    """Features, or a further layer, at length 1."""
    held = x if not layer else Outputs(features=_layer(x, layer), source=x.source)
    assert held.features is not None
    wide = np.float64 if held.features.dtype == np.float64 else np.float32
    rows = np.empty(held.features.shape, dtype=wide)
    for part, chunk in feature_chunks(held, unit_length=True):
        rows[part] = chunk
    return rows


def _layer(x: Outputs, name: str) -> Array:
    if name not in x.layers:
        raise InputError(located(x, f"dac needs layers/{name}, which it was fitted on"))
    return x.layers[name]


def _distances(x: Outputs, layers: tuple[str, ...], banks: tuple[Array, ...], k: int) -> Array:
    """Distance to the k-th nearest row of each bank.  -> (N, L)"""
    columns = []
    for name, bank in zip(("", *layers), banks, strict=True):
        queries = _unit_rows(x, name)
        if queries.shape[1] != bank.shape[1]:
            raise InputError(
                located(x, f"layers/{name} has {queries.shape[1]} columns, dac was fitted on "
                        f"{bank.shape[1]}")
            )  # fmt: skip
        index = NeighborIndex.build(bank)
        columns.append(index.kth_distance(queries.astype(bank.dtype), min(k, len(bank))))
    return np.stack(columns, axis=1)
