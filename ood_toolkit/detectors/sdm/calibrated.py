"""Everything that follows from the calibration rows once they were searched for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.detectors.sdm.answers import Reliability
from ood_toolkit.detectors.sdm.distances import (
    band_half_width,
    class_distances,
    distance_quantiles,
)
from ood_toolkit.detectors.sdm.region import Region, find_region, region_ladder
from ood_toolkit.detectors.sdm.variants import (
    Activations,
    Evidence,
    Variant,
    Verification,
    class_activations,
)
from ood_toolkit.outputs import Array

__all__ = ["Calibrated", "calibrate"]


@dataclass(frozen=True)
class Calibrated:
    """Distributions, thresholds and the variant, from n calibration rows.

    Attributes
    ----------
    variant : Variant
        How rows are judged.
    temperature : float
        Their logits are divided by it first.
    distances, rescaled_of_class : tuples of C sorted arrays
        Nearest distances of matched rows, and q' of all rows, by true class.
    usual_distance : float
        Median nearest distance; 1 where that is 0 or infinite.
    labels, predictions : (n,) int64 arrays
        True and predicted classes.
    rescaled, probability, probability_of_label : (n,) float64 arrays
        q', and the activations of predicted and true class.
    region : Region
        Where rows are accepted.
    """

    variant: Variant
    temperature: float
    distances: tuple[Array, ...]
    rescaled_of_class: tuple[Array, ...]
    usual_distance: float
    labels: Array
    predictions: Array
    rescaled: Array
    probability: Array
    probability_of_label: Array
    region: Region

    @property
    def accepted(self) -> Array:
        """Whether each calibration row is accepted."""
        return self.region.accepts(self.rescaled, self.predictions, self.probability)

    def ladder(self, step: float) -> tuple[Region, ...]:
        """Regions at falling levels."""
        return region_ladder(
            self.rescaled,
            self.probability,
            self.probability_of_label,
            self.predictions,
            self.labels,
            len(self.distances),
            step,
        )

    def reliability(self) -> Reliability:
        """Accuracy among the accepted calibration rows, by true and by predicted class."""
        classes = len(self.distances)
        true, predicted = self.labels[self.accepted], self.predictions[self.accepted]
        right = np.bincount(true[true == predicted], minlength=classes)
        of_class = np.bincount(true, minlength=classes)
        as_class = np.bincount(predicted, minlength=classes)
        alpha = self.region.alpha
        with np.errstate(invalid="ignore"):
            shares = right / of_class, right / as_class
        return Reliability(
            alpha,
            np.bincount(self.labels, minlength=classes),
            of_class,
            as_class,
            *shares,
            band_half_width(of_class, alpha),
            band_half_width(as_class, alpha),
        )


def calibrate(
    logits: Array,
    labels: Array,
    similarity: Array,
    nearest: Array,
    *,
    alpha: float,
    temperature: float = 1.0,
    weight: Array | None = None,
) -> Calibrated:
    """Distributions and region of calibration rows.

    Parameters
    ----------
    logits : (n, C) array of float
        As the classifier gave them.
    labels, similarity : (n,) int64 arrays
        True classes; q.
    nearest : (n,) float64 array
        Distance to the nearest support row.
    alpha : float
        Accuracy asked of every class.
    temperature : float
        Logits are divided by it.
    weight : (C, C) array, optional
        W of the verification variant, where that is wanted.

    Returns
    -------
    Calibrated
        The same for the same arrays, to the bit.
    """
    classes = logits.shape[1]
    distances = class_distances(nearest, similarity, labels, classes)
    quantile, _ = distance_quantiles(nearest, distances)
    rows = Evidence(
        logits.astype(np.float64) / temperature, logits.argmax(axis=1), similarity, quantile
    )
    variant: Variant = Activations()
    if weight is not None:
        variant = Verification(class_activations(rows, labels, classes), weight)
    judged = variant.judge(rows)
    of_label = judged.of(labels)
    usual = float(np.median(nearest)) if len(nearest) else 1.0
    region = find_region(judged.rescaled, of_label, labels, classes, alpha)
    without_match = tuple(c for c, of_class in enumerate(distances) if not len(of_class))
    if without_match and not region.exists:  # they hold d at 0 for every class
        region = replace(region, missed=without_match)
    return Calibrated(
        variant,
        temperature,
        distances,
        tuple(np.sort(judged.rescaled[labels == c]) for c in range(classes)),
        usual if 0.0 < usual < np.inf else 1.0,
        labels,
        rows.predictions,
        judged.rescaled,
        judged.of(rows.predictions),
        of_label,
        region,
    )
