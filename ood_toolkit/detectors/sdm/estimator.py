"""SDM over a classifier's own logits and features: nothing is trained."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.chunks import located, logit_chunks
from ood_toolkit.detectors.base import training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.held_out import GIVEN, held_out_or_split
from ood_toolkit.detectors.sdm.adaptor import ExemplarAdaptor
from ood_toolkit.detectors.sdm.distances import class_distances, distance_quantiles
from ood_toolkit.detectors.sdm.exemplars import named
from ood_toolkit.detectors.sdm.matching import UNLABELLED, Support
from ood_toolkit.detectors.sdm.prediction import predicted_classes
from ood_toolkit.detectors.sdm.scorer import SDMScorer
from ood_toolkit.detectors.sdm.temperature import best_temperature
from ood_toolkit.detectors.sdm.variants import Evidence, verification_weight
from ood_toolkit.detectors.training import feature_matrix
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["SDM"]

MOST = 1 << 20
"""Largest cap: above it the score would have no digits left for ties."""


@method(
    "sdm",
    family="features",
    needs="logits features",
    train="logits features labels",
    reference="Schmaltz, arXiv 2025",
    laws="logit_shift class_permutation feature_rotation",
)
@dataclass(frozen=True)
class SDM:
    """Similarity, distance and magnitude: how much of the training data backs a prediction.

    S = q' + 2^-14 (P + 2^-14 R), in [0, cap + 1); larger = more in-distribution.  q is the
    number of nearest training rows that were predicted right and as the class of this row,
    counted until the first that was not; d is the least, over the classes, share of held-out
    rows at least as far from the training rows; p is the largest entry of
    softmax(ln(2 + q) d z), and q' = min(q, (2 + q)^p).  P = l / (1 + l) with l = -ln(1 - p)
    breaks ties of q', and R, falling with the distance to the nearest training row, those of
    P; q' and P are read down to multiples of 2^-14.

    The scorer's `predict` accepts or rejects: where q' and p reach what held-out rows of every
    class need for an accuracy of alpha.  Held-out rows must be new to the classifier; where
    none are given, training rows are held out by a fixed rule, which serves ranking only.

    Parameters
    ----------
    alpha : float
        Accuracy asked for, in (0.5, 1], among the accepted rows of each class.
    cap : int
        Largest q that is told apart, at most 2^20.
    temperature : float or "fit"
        Logits are divided by it; "fit" takes the value with the least balanced SDM loss on
        the held-out rows.
    normalize : bool
        Divide features by their Euclidean norm first.
    variant : str
        "activations", or "verification": the older formulation of arXiv 2502.20167.

    Notes
    -----
    Fit O(N^2 D + N C log N) time, O(N (C + D)) memory; score O(N B D + (N + B) C log B) time, O(N D
    + B C) memory; an exact search in blocks.

    Works where right predictions of a class lie together and held-out rows are new to the
    classifier; fails where a class has no held-out row that matches, which holds d at 0, and where
    memorised training rows back every prediction.

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", 2025, arXiv 2509.12760; order of
    ties ours.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import SDM, Outputs
    >>> def outputs(x, labels=None):
    ...     x = np.array(x)[:, np.newaxis]
    ...     return Outputs(features=x, logits=np.hstack([-x, x]), labels=labels)
    >>> train = outputs([-3.0, -2.5, -2.0, 2.0, 2.5, 3.0], [0, 0, 0, 1, 1, 1])
    >>> held_out = outputs([-2.9, -2.2, 2.2, 2.9], [0, 0, 1, 1])
    >>> sdm = SDM(alpha=0.9).fit(train, held_out)
    >>> found = sdm.predict(outputs([-2.6, 9.0]))
    >>> found.similarity, found.distance_quantile, found.accept
    (array([3, 3]), array([1., 0.]), array([ True, False]))
    """

    alpha: float = 0.95
    cap: int = 2048
    temperature: float | Literal["fit"] = 1.0
    normalize: bool = False
    variant: Literal["activations", "verification"] = "activations"

    def __post_init__(self) -> None:
        require(0.5 < self.alpha <= 1.0, f"sdm.alpha must lie in (0.5, 1], got {self.alpha}")
        require(1 <= self.cap <= MOST, f"sdm.cap must lie in [1, {MOST}], got {self.cap}")
        require(
            self.temperature == "fit" or 0.0 < self.temperature < np.inf,
            f"sdm.temperature must be above 0, or fit, got {self.temperature}",
        )
        require(
            self.variant in ("activations", "verification"),
            f"sdm.variant is activations or verification, got {self.variant!r}",
        )

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> SDMScorer:
        """Keep the training rows as support, and find the region on held-out rows.

        Parameters
        ----------
        train : Outputs
            With logits, features and labels; a label of -1 is unlabelled and ends any run.
        validation : Outputs, optional
            Held-out rows, new to the classifier, with the same parts, every label known.

        Returns
        -------
        SDMScorer
            Fitted.

        Raises
        ------
        InputError
            If a part or a class is missing, or a label of a held-out row is unknown.

        Warns
        -----
        ToolkitWarning
            If no held-out rows are given, if they lie in the support, or if there are none of
            some class; and where training rows are unlabelled.
        """
        if train is None or {"logits", "features", "labels"} - train.has():
            raise InputError("sdm needs training outputs with logits, features and labels")
        support, calibration, origin = held_out_or_split("sdm", train, validation)
        if origin != GIVEN:
            warnings.warn(
                f"sdm: no held-out rows (--id-val, id_val) are given; {origin} is held out.  A "
                "classifier is surer of rows it was trained on: the score ranks, but alpha is "
                "not kept on new rows",
                ToolkitWarning,
                stacklevel=3,
            )
        return self.fit_adapted(None, support, calibration, origin)

    def fit_adapted(
        self,
        adaptor: ExemplarAdaptor | None,
        support: Outputs,
        calibration: Outputs,
        held_out: str,
    ) -> SDMScorer:
        """The scorer of support and calibration rows, both seen through an adaptor if any."""
        dims = _columns(support)
        adapted = [x if adaptor is None else adaptor.apply(x) for x in (support, calibration)]
        _check(*adapted)
        rows, held = adapted
        assert rows.labels is not None
        assert held.labels is not None
        features = feature_matrix(rows, unit_length=self.normalize)
        known = Support(features, rows.labels, predicted_classes(rows))
        queries = feature_matrix(held, dtype=features.dtype, unit_length=self.normalize)
        found = known.match(queries, predicted_classes(held), self.cap)
        if len(queries) and (found.nearest == 0).mean() > 0.5:
            warnings.warn(
                located(held, "sdm: most held-out rows lie in the support; they are not held out"),
                ToolkitWarning,
                stacklevel=3,
            )
        assert held.logits is not None
        wide = np.float64 if held.logits.dtype == np.float64 else np.float32
        logits = np.concatenate([chunk.astype(wide) for _, chunk in logit_chunks(held)])
        temperature, weight = self._learned(logits, held.labels, found.similarity, found.nearest)
        return SDMScorer(
            self,
            rows.classes,
            dims,
            adaptor,
            features,
            rows.labels,
            known.predictions,
            queries,
            logits,
            held.labels,
            found.similarity,
            found.nearest,
            temperature,
            weight,
            held_out,
        )

    def _learned(
        self, logits: Array, labels: Array, similarity: Array, nearest: Array
    ) -> tuple[float, Array]:
        """Temperature, and W where the variant has one."""
        classes, logits = logits.shape[1], logits.astype(np.float64)
        known = class_distances(nearest, similarity, labels, classes)
        quantile, _ = distance_quantiles(nearest, known)
        temperature = self.temperature
        if temperature == "fit":
            temperature = best_temperature(logits, similarity, quantile, labels)
        if self.variant == "activations":
            return temperature, np.empty((0, 0))
        rows = Evidence(logits / temperature, logits.argmax(axis=1), similarity, quantile)
        return temperature, verification_weight(rows, labels, classes)


def _columns(x: Outputs) -> int:
    assert x.features is not None
    return int(x.features.shape[1])


def _check(support: Outputs, calibration: Outputs) -> None:
    """Raise or warn where the rows cannot, or hardly, be fitted on."""
    absent = {"logits", "features", "labels"} - calibration.has()
    if absent:
        needed = " and ".join(sorted(absent))
        raise InputError(located(calibration, f"sdm needs {needed} of held-out rows"))
    if calibration.classes != support.classes or _columns(calibration) != _columns(support):
        raise InputError(
            located(
                calibration,
                f"held-out rows have {calibration.classes} classes and {_columns(calibration)} "
                f"feature columns, training rows {support.classes} and {_columns(support)}",
            )
        )
    training_labels("sdm", calibration, every_class=False)
    assert support.labels is not None
    labelled = support.labels >= 0
    present = np.bincount(support.labels[labelled], minlength=support.classes)
    if not present.all():
        raise InputError(
            located(
                support, f"class {int(np.argmin(present))} has no row, and sdm needs every class"
            )
        )
    if not labelled.all():
        count = int((support.labels == UNLABELLED).sum())
        warnings.warn(
            located(support, f"sdm: {count} training rows are unlabelled; each ends any run"),
            ToolkitWarning,
            stacklevel=5,
        )
    assert calibration.labels is not None
    absent_classes = np.setdiff1d(np.arange(support.classes), calibration.labels)
    if len(absent_classes):
        warnings.warn(
            located(
                calibration,
                f"sdm: no held-out row of {named(tuple(absent_classes.tolist()))}: every "
                "prediction will be rejected",
            ),
            ToolkitWarning,
            stacklevel=5,
        )
