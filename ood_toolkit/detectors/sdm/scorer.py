"""The fitted SDM estimator: what it says, why, and how its support grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.sdm.adaptor import ExemplarAdaptor
from ood_toolkit.detectors.sdm.answers import Reliability, SDMExplanation, SDMPrediction
from ood_toolkit.detectors.sdm.calibrated import Calibrated, calibrate
from ood_toolkit.detectors.sdm.exemplars import explanations
from ood_toolkit.detectors.sdm.matching import KNOWN_OOD, UNLABELLED, Matches, Support
from ood_toolkit.detectors.sdm.prediction import (
    judged_prediction,
    judged_scores,
    predicted_classes,
)
from ood_toolkit.detectors.sdm.region import Region, ladder_levels
from ood_toolkit.detectors.training import feature_matrix
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = ["SDMScorer"]


@dataclass(frozen=True)
class SDMScorer(FittedScorer):
    """Fitted `SDM`.

    Attributes
    ----------
    adaptor : ExemplarAdaptor or None
        Applied to every record first, where one was trained.
    support_features : (M, E) array of float32 or float64
        Where the support rows lie.
    support_labels, support_predictions : (M,) int64 arrays
        Their classes, -1 unlabelled and -99 known to be of none; what was predicted.
    calibration_features : (n, E) array of float32 or float64
        Where the calibration rows lie.
    calibration_logits : (n, C) array of float32 or float64
        As given.
    calibration_labels, calibration_similarity : (n,) int64 arrays
        Their classes, and q.
    calibration_nearest : (n,) array of float64
        Distance to the nearest support row.
    temperature : float
        Logits are divided by it.
    weight : (V, V) array of float64
        W of the verification variant, V = C; V = 0 otherwise.
    held_out : str
        Where the calibration rows come from.
    """

    adaptor: ExemplarAdaptor | None
    support_features: Array
    support_labels: Array
    support_predictions: Array
    calibration_features: Array
    calibration_logits: Array
    calibration_labels: Array
    calibration_similarity: Array
    calibration_nearest: Array
    temperature: float
    weight: Array
    held_out: str

    shapes = {
        "support_features": "M E",
        "support_labels": "M",
        "support_predictions": "M",
        "calibration_features": "N E",
        "calibration_logits": "N C",
        "calibration_labels": "N",
        "calibration_similarity": "N",
        "calibration_nearest": "N",
        "weight": "V V",
    }
    infinite = frozenset({"calibration_logits", "calibration_nearest"})
    rejection: ClassVar[str] = "outside the region where predictions reach the accuracy alpha"
    """Why a row is not accepted."""

    @cached_property
    def support(self) -> Support:
        """The rows that vouch for predictions."""
        return Support(self.support_features, self.support_labels, self.support_predictions)

    @cached_property
    def calibrated(self) -> Calibrated:
        """Distributions and thresholds, from the calibration rows."""
        return calibrate(
            self.calibration_logits,
            self.calibration_labels,
            self.calibration_similarity,
            self.calibration_nearest,
            alpha=self.detector.alpha,
            temperature=self.temperature,
            weight=self.weight if self.weight.size else None,
        )

    @property
    def region(self) -> Region:
        """Where predictions are accepted: `.q_min`, `.psi`, and `.missed` where nowhere."""
        return self.calibrated.region

    def check(self, x: Outputs) -> None:
        """Raise `InputError` unless `x` has the parts and dimensions the scorer needs."""
        if self.adaptor is None:
            super().check(x)
        else:
            logits = np.zeros((len(x), self.classes))  # those of the record are not looked at
            super().check(replace(x, logits=logits, head=None, members=None))

    def _score(self, x: Outputs) -> Array:
        x = self.adapted(x)
        return judged_scores(x, self._matches(x), self.calibrated)

    def predict(self, x: Outputs) -> SDMPrediction:
        """Judge each row: accept or not, and every quantity behind that.

        Parameters
        ----------
        x : Outputs
            With logits and features, or features alone where an adaptor was trained.

        Returns
        -------
        SDMPrediction
            Arrays, one entry a row.

        Raises
        ------
        InputError
            As `score`.
        """
        self.check(x)
        x = self.adapted(x)
        return judged_prediction(x, self._matches(x), self.calibrated)

    def accept(self, x: Outputs, /) -> Array:
        """Whether each row lies in the region.  -> (N,) bool."""
        return self.predict(x).accept

    def levels(self, x: Outputs, *, step: float = 0.05) -> Array:
        """The highest level 1 - step, 1 - 2 step, ... above 1/2 at which each row is accepted.

        0 where none accepts it.  The regions are nested: each is found on the calibration rows
        that no higher one accepts.  -> (N,) float64.
        """
        found = self.predict(x)
        return ladder_levels(
            self.calibrated.ladder(step),
            found.rescaled_similarity,
            found.prediction,
            found.probability,
        )

    def reliability(self) -> Reliability:
        """Accuracy among the accepted calibration rows, by true and by predicted class."""
        return self.calibrated.reliability()

    def explain(
        self, x: Outputs, rows: Sequence[int] | Array | None = None, *, neighbors: int = 5
    ) -> tuple[SDMExplanation, ...]:
        """Explain rows by their nearest support rows, and by the one that ends the run.

        Parameters
        ----------
        x : Outputs
            As `predict` takes it.
        rows : sequence of int, optional
            Which rows of `x`, counted from 0; all of them by default.
        neighbors : int
            Support rows shown of each.

        Returns
        -------
        tuple of SDMExplanation
            One a row, in the order asked for.

        Raises
        ------
        InputError
            If there is no such row; otherwise as `score`.
        """
        chosen = np.arange(len(x)) if rows is None else np.asarray(rows, dtype=np.int64)
        outside = chosen[(chosen < 0) | (chosen >= len(x))]
        if len(outside):
            raise InputError(located(x, f"row {outside[0]}: there are rows 0 ... {len(x) - 1}"))
        x = x.rows(chosen)
        found = self.predict(x)
        queries = self._queries(self.adapted(x))
        return explanations(chosen, found, self.support, self.region, queries, neighbors)

    def with_support(self, x: Outputs, *, known_ood: bool = False) -> SDMScorer:
        """The same estimator with more support rows; nothing is trained again.

        The calibration rows are searched for anew, and distributions, thresholds and region
        follow from them.

        Parameters
        ----------
        x : Outputs
            New rows, with labels unless `known_ood`; a label of -1 is unlabelled.
        known_ood : bool
            Whether the rows are known to belong to no class: each ends the runs it stands in.

        Returns
        -------
        SDMScorer
            A new one; this one stays as it is.

        Raises
        ------
        InputError
            If labels are missing, or parts or dimensions are not those of the fit.
        """
        self.check(x)
        if x.labels is None and not known_ood:
            raise InputError(located(x, f"{self.name}: new support rows need labels"))
        x = self.adapted(x)
        labels = np.full(len(x), KNOWN_OOD) if known_ood else x.labels
        assert labels is not None
        support = Support(
            np.concatenate([self.support_features, self._queries(x)]),
            np.concatenate([self.support_labels, labels]),
            np.concatenate([self.support_predictions, predicted_classes(x)]),
        )
        matches = support.match(
            self.calibration_features, self.calibration_logits.argmax(axis=1), self.detector.cap
        )
        return replace(
            self,
            support_features=support.features,
            support_labels=support.labels,
            support_predictions=support.predictions,
            calibration_similarity=matches.similarity,
            calibration_nearest=matches.nearest,
        )

    def report(self) -> Mapping[str, Any]:
        """The region, what it admits of the calibration rows, and where it comes from."""
        known, cap = self.calibrated, self.detector.cap
        _, shared = np.unique(known.rescaled, return_counts=True)
        return {
            "support_rows": len(self.support_labels),
            "unlabelled_rows": int((self.support_labels == UNLABELLED).sum()),
            "known_ood_rows": int((self.support_labels == KNOWN_OOD).sum()),
            "held_out": len(self.calibration_labels),
            "held_out_from": self.held_out,
            "alpha": known.region.alpha,
            "q_min": known.region.q_min,
            "psi_min": float(known.region.psi.min()),
            "missed_classes": known.region.missed,
            "held_out_admitted": float(known.accepted.mean()),
            "held_out_without_match": float((self.calibration_similarity == 0).mean()),
            "held_out_at_cap": float((self.calibration_similarity >= cap).mean()),
            "held_out_tied": float(shared[shared > 1].sum() / len(known.rescaled)),
            "temperature": self.temperature,
        }

    def adapted(self, x: Outputs) -> Outputs:
        """The record after the adaptor, where there is one."""
        return x if self.adaptor is None else self.adaptor.apply(x)

    def _queries(self, x: Outputs) -> Array:
        return feature_matrix(
            x, dtype=self.support_features.dtype, unit_length=self.detector.normalize
        )

    def _matches(self, x: Outputs) -> Matches:
        return self.support.match(self._queries(x), predicted_classes(x), self.detector.cap)
