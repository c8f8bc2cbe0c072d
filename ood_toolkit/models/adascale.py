"""AdaSCALE: how strongly a row's features are scaled depends on how they bear a nudge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ood_toolkit.chunks import feature_chunks
from ood_toolkit.detectors.base import numbers_of
from ood_toolkit.detectors.logit_values import Energy
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models.batches import iterate, split_batch
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.perturbation import input_gradients
from ood_toolkit.models.state import without_gradients
from ood_toolkit.models.torch_library import to_array
from ood_toolkit.outputs import Array, Outputs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AdaScale", "nudged", "shift_of"]

_BATCH = 128
NUDGED_SHARE = 0.05
"""Share of a row's input entries, those with the smallest gradients, that are moved."""
LARGEST_SHARE = 0.05
"""Share of the features, the largest, whose nudged values are summed."""
CHANGED_SHARE = 0.01
"""Share of the features, the largest, whose changes are summed."""
CHANGE_WEIGHT = 10.0
"""Weight of these changes."""


@dataclass(frozen=True)
class AdaScale:
    """Energy after a scaling whose percentile follows each row's shift under a nudge.

    With Q the shift, F its distribution on held-out rows and p = low + (1 - F(Q)) (high - low),
    s1 the sum of a row's features and s2 of its k = D - round(D p / 100) largest: "features"
    multiplies the features by exp(s1 / s2), "logits" the logits by (s1 / s2)^2.  S = energy of
    what follows, unbounded; larger = more in-distribution.  Made by `fit`.

    Parameters
    ----------
    shifts : (N,) array of float64
        Q of held-out in-distribution rows, ascending.
    low, high : float
        Percentiles between which p lies.
    variant : "features" or "logits"
        AdaSCALE-A or AdaSCALE-L.
    epsilon : float
        Length of the nudge.

    References
    ----------
    Regmi, "AdaSCALE: Adaptive Scaling for OOD Detection", 2025, arXiv 2503.08023.
    """

    shifts: Array
    low: float = 75.0
    high: float = 85.0
    variant: Literal["features", "logits"] = "features"
    epsilon: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 100:
            raise BadParameter(f"percentiles must ascend in [0, 100], got {self.low}, {self.high}")
        if self.variant not in ("features", "logits"):
            raise BadParameter(f"variant must be features or logits, got {self.variant!r}")

    @classmethod
    def fit(
        cls,
        clf: WrappedClassifier,
        id_val: Any,
        *,
        low: float = 75.0,
        high: float = 85.0,
        variant: Literal["features", "logits"] = "features",
        epsilon: float = 0.5,
    ) -> AdaScale:
        """Learn how far held-out in-distribution rows shift.

        Raises
        ------
        InputError
            If there is no batch, inputs cannot be differentiated, or naming the first row whose
            features, or those of the nudged input, are not finite or too large.
        """
        x, shifts = nudged(clf, id_val, epsilon)
        _refuse_bad_features(x)
        numbers_of("AdaSCALE", ["features"], x, shifts)
        return cls(np.sort(shifts), low, high, variant, epsilon)

    def score(self, clf: WrappedClassifier, loader: Any) -> Array:
        """(N,) float64 scores of everything in a loader; larger = more in-distribution."""
        x, shifts = nudged(clf, loader, self.epsilon)
        return self.score_shifted(x, shifts)

    def score_shifted(self, x: Outputs, shifts: Array) -> Array:
        """The same from outputs and their shifts.

        Raises
        ------
        InputError
            If a part is missing, or naming the first row of NaN, of infinity, or of values so
            large that its score would be NaN.
        """
        if x.features is None or x.logits is None:
            raise InputError("AdaSCALE needs logits and features")
        _refuse_bad_features(x)
        share = np.searchsorted(self.shifts, shifts, side="right") / len(self.shifts)
        percentile = self.low + (1.0 - share) * (self.high - self.low)
        # rows whose scaled values overflow are refused below
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = _ratios(x.features.astype(np.float64), percentile)[:, None]
            if self.variant == "logits":
                scaled = Outputs(logits=x.logits * np.where(ratio > 0, ratio, 1.0) ** 2)
            elif x.head is None:
                raise InputError("AdaSCALE of features needs the head")
            else:
                scaled = Outputs(features=x.features * np.exp(ratio), head=x.head)
        assert scaled.logits is not None
        lost = (np.isfinite(x.logits) & ~np.isfinite(scaled.logits)).any(axis=1) | np.isnan(shifts)
        numbers_of("AdaSCALE", ["features"], x, np.where(lost, np.nan, 0.0))
        return np.asarray(Energy().fit().score(scaled))


def _refuse_bad_features(x: Outputs) -> None:
    """Raise `InputError` naming the first row with NaN or infinity, if any."""
    for _ in feature_chunks(x):
        pass


def _ratios(features: Array, percentile: Array) -> Array:
    """s1 / s2 of each row at its own percentile; 0 where the kept features sum to zero."""
    dims = features.shape[1]
    kept = dims - np.rint(dims * percentile / 100.0).astype(np.int64)
    descending = -np.sort(-features, axis=1)
    sums = np.concatenate([np.zeros((len(features), 1)), np.cumsum(descending, axis=1)], axis=1)
    remaining = sums[np.arange(len(features)), kept]
    total = sums[:, -1]
    whole = remaining != 0
    return np.asarray(np.divide(total, remaining, out=np.zeros_like(total), where=whole))


def nudged(clf: WrappedClassifier, loader: Any, epsilon: float) -> tuple[Outputs, Array]:
    """Outputs of plain inputs, and how far the features shift when the inputs are nudged.

    The entries with the smallest gradients of the predicted logit move by `epsilon` along the
    gradient's sign; entries without any gradient stay.
    """
    network = clf.network
    parts: list[tuple[Array, Array, Array]] = []
    with network.running(gradients=True) as run:
        for batch in iterate(loader, _BATCH):
            inputs = network.moved(split_batch(batch, network.unpack)[0])
            key, values, gradient = input_gradients(run, inputs, lambda z, f: z.amax(1))
            moved = values + epsilon * _least(gradient)
            with without_gradients():
                plain = run(inputs)
                other = run({**inputs, key: moved} if key else moved)
            shift = shift_of(to_array(plain.features), to_array(other.features))
            parts.append((to_array(plain.logits), to_array(plain.features), shift))
    if not parts:
        raise InputError("the loader gave no batch; a record needs at least one row")
    logits, features, shifts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Outputs(logits=logits, features=features, head=clf.head), shifts


def _least(gradient: Tensor) -> Tensor:
    """Sign of the gradient at the entries of each row where it is smallest, 0 elsewhere."""
    flat = gradient.flatten(1)
    count = max(1, round(flat.shape[1] * NUDGED_SHARE))
    chosen = flat.abs().topk(count, dim=1, largest=False).indices
    mask = flat.new_zeros(flat.shape).scatter(1, chosen, 1.0)
    return (flat.sign() * mask).view_as(gradient)


def shift_of(features: Array, other: Array) -> Array:
    """Q: what the largest features become, and ten times how much the very largest change.

    (N, D), (N, D) -> (N,) float64.
    """
    f, g = features.astype(np.float64), other.astype(np.float64)
    order = np.argsort(-f, axis=1, kind="stable")
    rows = np.arange(len(f))[:, None]
    largest = order[:, : max(1, round(f.shape[1] * LARGEST_SHARE))]
    changed = order[:, : max(1, round(f.shape[1] * CHANGED_SHARE))]
    become = np.maximum(g[rows, largest], 0.0).sum(axis=1)
    change = np.abs(f[rows, changed] - g[rows, changed]).sum(axis=1)
    return np.asarray(become + CHANGE_WEIGHT * change)
