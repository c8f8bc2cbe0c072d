"""How well a score tells the classifier's right predictions from its wrong ones."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from ood_toolkit.chunks import checked_statistics, located
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.evaluation.records import MethodNote, plain
from ood_toolkit.given import head_hint
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.metrics import (
    Ranking,
    augrc,
    aurc,
    brier,
    coverage_at_risk,
    e_aurc,
    expected_calibration_error,
    nll,
    risk_at_coverage,
    scod_augrc,
    scod_aurc,
    scod_risk_at_coverage,
    selective_intervals,
)
from ood_toolkit.outputs import Array, Outputs

__all__ = [
    "COVERAGES",
    "RISKS",
    "ErrorDetection",
    "ErrorReport",
    "Scod",
    "error_report",
]

COVERAGES = (0.5, 0.8, 0.9, 0.95)
"""Shares of rows kept at which the selective risk is reported."""
RISKS = (0.01, 0.02, 0.05)
"""Selective risks at which the share of rows kept is reported."""


@dataclass(frozen=True, slots=True)
class Scod:
    """One score where wrong predictions and outliers are both to be rejected.

    Attributes
    ----------
    n_ood : int
        Out-of-distribution rows.
    cost : float
        Of accepting one of them, in wrong predictions.
    aurc, augrc : float
        Areas under the curves of risk over accepted rows, and over all rows.
    risk_at_coverage : mapping of str to float
        Risk over the accepted rows, by the share of rows of both sets that is accepted.
    """

    n_ood: int
    cost: float
    aurc: float
    augrc: float
    risk_at_coverage: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ErrorDetection:
    """One score as a detector of misclassified rows; fractions, not percent.

    Intervals are of the bootstrap, at 95 %; there are none without resamples.  `scod` is by
    the name of the out-of-distribution set.
    """

    method: str
    auroc: float
    aupr_success: float
    aupr_error: float
    fpr: float
    aurc: float
    e_aurc: float
    risk_at_coverage: Mapping[str, float]
    augrc: float
    coverage_at_risk: Mapping[str, float]
    risk_at_coverage_ci: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    coverage_at_risk_ci: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    scod: Mapping[str, Scod] = field(default_factory=dict)


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
    *,
    ood_scores: Mapping[str, Mapping[str, Array]] | None = None,
    ood_cost: float = 1.0,
    bootstrap: int = 0,
    seed: int = 0,
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
    ood_scores : mapping of str to mapping of str to array, optional
        Scores of out-of-distribution rows, by method and then by the set's name.
    ood_cost : float
        Of accepting such a row, in wrong predictions.
    bootstrap, seed : int
        Resamples behind the intervals, 0 for none; and their seed.

    Raises
    ------
    InputError
        If logits or labels are missing, a label is unknown, or there are no rows.

    Warns
    -----
    ToolkitWarning
        If all predictions are right, or all wrong: nothing is there to tell them from.

    References
    ----------
    Hendrycks & Gimpel, ICLR 2017; Geifman, Uziel & El-Yaniv, ICLR 2019.
    """
    labels = _every_label(x)
    assert x.logits is not None
    rows = checked_statistics(x, (PREDICTION,))
    correct = np.asarray(rows[PREDICTION] == labels)
    one_kind = correct.all() or not correct.any()
    if one_kind:
        message = (
            f"all {len(x)} predictions are {'right' if correct[0] else 'wrong'}: AUROC and AUPR, "
            "of right against wrong ones, are undefined (NaN)"
        )
        warnings.warn(located(x, message), ToolkitWarning, stacklevel=2)
    probabilities, _ = softmax_rows(x.logits)
    results = []
    for method, confidence in scores.items():
        ranking = None if one_kind else Ranking.of(confidence[correct], confidence[~correct])
        strange = (ood_scores or {}).get(method, {})
        results.append(
            ErrorDetection(
                method,
                *_figures(ranking),
                aurc(confidence, correct),
                e_aurc(confidence, correct),
                {f"{c:g}": risk_at_coverage(confidence, correct, c) for c in COVERAGES},
                augrc(confidence, correct),
                {f"{r:g}": coverage_at_risk(confidence, correct, r) for r in RISKS},
                *_intervals(confidence, correct, bootstrap, seed),
                {name: _scod(confidence, correct, s, ood_cost) for name, s in strange.items()},
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


def _every_label(x: Outputs) -> Array:
    """(N,) labels, all known, of a record that has logits and rows."""
    if x.logits is None:
        hint = head_hint(x, ["logits"])
        raise InputError(located(x, f"error detection needs logits{hint}"))
    if len(x) == 0:
        raise InputError(located(x, "holds no rows; error detection needs labelled ones"))
    if x.labels is None:
        raise InputError(located(x, "error detection needs labels, which tell wrong predictions"))
    if (x.labels < 0).any():
        row = int(np.argmax(x.labels < 0))
        reason = f"labels: row {row} is {x.labels[row]} (unknown); leave out rows without a label"
        raise InputError(located(x, reason))
    return x.labels


def _figures(ranking: Ranking | None) -> tuple[float, float, float, float]:
    """AUROC, AUPR of right and of wrong predictions, and FPR; NaN where one kind is missing."""
    if ranking is None:
        return (math.nan,) * 4
    return ranking.auroc(), ranking.aupr_in(), ranking.aupr_out(), ranking.fpr_at_tpr()


def _intervals(
    confidence: Array, correct: Array, resamples: int, seed: int
) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """Intervals of the risks by coverage, and of the coverages by risk."""
    if resamples == 0:
        return {}, {}
    found = selective_intervals(
        confidence, correct, coverages=COVERAGES, risks=RISKS, resamples=resamples, seed=seed
    )
    return (
        {f"{c:g}": (i.low, i.high) for c, i in zip(COVERAGES, found.risk_at_coverage, strict=True)},
        {f"{r:g}": (i.low, i.high) for r, i in zip(RISKS, found.coverage_at_risk, strict=True)},
    )


def _scod(confidence: Array, correct: Array, strange: Array, cost: float) -> Scod:
    given = confidence, correct, strange
    return Scod(
        len(strange),
        cost,
        scod_aurc(*given, cost),
        scod_augrc(*given, cost),
        {f"{c:g}": scod_risk_at_coverage(*given, c, cost) for c in COVERAGES},
    )
