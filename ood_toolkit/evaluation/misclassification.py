"""How well a score tells the classifier's right predictions from its wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from ood_toolkit.chunks import checked_statistics
from ood_toolkit.detectors.base import training_labels
from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.records import MethodNote, plain
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.metrics import (
    Ranking,
    aurc,
    brier,
    e_aurc,
    expected_calibration_error,
    nll,
    risk_at_coverage,
)
from ood_toolkit.outputs import Array, Outputs

__all__ = ["COVERAGES", "ErrorDetection", "ErrorReport", "error_report"]

COVERAGES = (0.5, 0.8, 0.9, 0.95)
"""Shares of rows kept at which the selective risk is reported."""


@dataclass(frozen=True, slots=True)
class ErrorDetection:
    """One score as a detector of misclassified rows; fractions, not percent."""

    method: str
    auroc: float
    aupr_success: float
    aupr_error: float
    fpr: float
    aurc: float
    e_aurc: float
    risk_at_coverage: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What `error_report` found.

    Attributes
    ----------
    n : int
        Labelled rows that entered.
    accuracy, nll, brier, ece : float
        Of the classifier itself: share of right predictions; nats; sum of squares; 15
        equal-width bins of the top probability.
    results : tuple of ErrorDetection
    skipped, failed : tuple of MethodNote
    """

    n: int
    accuracy: float
    nll: float
    brier: float
    ece: float
    results: tuple[ErrorDetection, ...]
    skipped: tuple[MethodNote, ...]
    failed: tuple[MethodNote, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of schema 1: plain types, undefined figures as None."""
        document = {"schema": 1, "toolkit": version("ood_toolkit"), **asdict(self)}
        converted: dict[str, Any] = plain(document)
        return converted


def error_report(
    x: Outputs,
    scores: Mapping[str, Array],
    skipped: tuple[MethodNote, ...] = (),
    failed: tuple[MethodNote, ...] = (),
) -> ErrorReport:
    """Error detection, risk-coverage and calibration on one labelled record.

    Parameters
    ----------
    x : Outputs
        With logits and the label of every row.
    scores : mapping of str to (N,) array
        Confidence of each method; larger = more trustworthy.
    skipped, failed : tuple of MethodNote
        Methods without scores, to be listed in the report.

    Raises
    ------
    InputError
        If logits or labels are missing, a label is unknown, or there are no rows.

    References
    ----------
    Hendrycks & Gimpel, ICLR 2017; Geifman, Uziel & El-Yaniv, ICLR 2019.
    """
    if x.logits is None:
        raise InputError("error detection needs logits")
    labels = training_labels("error detection", x, every_class=False)
    rows = checked_statistics(x, (PREDICTION,))
    correct = np.asarray(rows[PREDICTION] == labels)
    probabilities, _ = softmax_rows(x.logits)
    results = []
    for method, confidence in scores.items():
        ranking = Ranking.of(confidence[correct], confidence[~correct])
        results.append(
            ErrorDetection(
                method,
                ranking.auroc(),
                ranking.aupr_in(),
                ranking.aupr_out(),
                ranking.fpr_at_tpr(),
                aurc(confidence, correct),
                e_aurc(confidence, correct),
                {f"{c:g}": risk_at_coverage(confidence, correct, c) for c in COVERAGES},
            )
        )
    return ErrorReport(
        len(x),
        float(correct.mean()),
        nll(x.logits, labels),
        brier(probabilities, labels),
        expected_calibration_error(probabilities, labels),
        tuple(results),
        skipped,
        failed,
    )
