"""Metrics of scores and probabilities: ranking, selection, calibration, and intervals."""

from __future__ import annotations

from ood_toolkit.metrics.binless import ks_calibration_error, smooth_calibration_error
from ood_toolkit.metrics.bootstrap import metric_interval
from ood_toolkit.metrics.calibration import (
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
)
from ood_toolkit.metrics.classification import accuracy, brier, nll, top_label_brier
from ood_toolkit.metrics.decomposition import BrierParts, brier_decomposition
from ood_toolkit.metrics.detection import (
    aupr_in,
    aupr_out,
    auroc,
    autc,
    detection_error,
    fpr_at_tpr,
    roc_curve,
)
from ood_toolkit.metrics.false_positives import FPR_RULES
from ood_toolkit.metrics.fpr_interval import fpr_interval
from ood_toolkit.metrics.intervals import Interval, auroc_interval, delong_interval
from ood_toolkit.metrics.misclassification import ErrorDetection, error_detection
from ood_toolkit.metrics.openset import ccr_at_fpr, oscr
from ood_toolkit.metrics.paired import (
    MetricDifference,
    Placements,
    auroc_difference,
    placements,
)
from ood_toolkit.metrics.paired_metrics import bootstrap_differences
from ood_toolkit.metrics.ranking import AUPR_ESTIMATORS, PrecisionRecall, Ranking, Roc
from ood_toolkit.metrics.ranking_bootstrap import bootstrap_intervals, bootstrap_intervals_of
from ood_toolkit.metrics.reliability import BINNINGS, Reliability, reliability, top_label
from ood_toolkit.metrics.scod import (
    ScodCurve,
    scod_augrc,
    scod_aurc,
    scod_curve,
    scod_risk_at_coverage,
)
from ood_toolkit.metrics.selective import (
    RiskCoverage,
    augrc,
    aurc,
    coverage_at_risk,
    e_aurc,
    risk_at_coverage,
    risk_coverage,
)
from ood_toolkit.metrics.selective_intervals import SelectiveIntervals, selective_intervals
from ood_toolkit.metrics.sorted_scores import SortedScores

__all__ = [
    "AUPR_ESTIMATORS",
    "BINNINGS",
    "BrierParts",
    "ErrorDetection",
    "FPR_RULES",
    "Interval",
    "MetricDifference",
    "Placements",
    "PrecisionRecall",
    "Ranking",
    "Reliability",
    "RiskCoverage",
    "Roc",
    "SortedScores",
    "ScodCurve",
    "SelectiveIntervals",
    "accuracy",
    "augrc",
    "aupr_in",
    "aupr_out",
    "aurc",
    "auroc",
    "auroc_difference",
    "auroc_interval",
    "autc",
    "bootstrap_differences",
    "bootstrap_intervals",
    "bootstrap_intervals_of",
    "brier",
    "brier_decomposition",
    "ccr_at_fpr",
    "classwise_calibration_error",
    "coverage_at_risk",
    "debiased_calibration_error",
    "delong_interval",
    "detection_error",
    "e_aurc",
    "error_detection",
    "expected_calibration_error",
    "fpr_at_tpr",
    "fpr_interval",
    "ks_calibration_error",
    "maximum_calibration_error",
    "metric_interval",
    "nll",
    "oscr",
    "placements",
    "reliability",
    "risk_at_coverage",
    "risk_coverage",
    "roc_curve",
    "scod_augrc",
    "scod_aurc",
    "scod_curve",
    "scod_risk_at_coverage",
    "selective_intervals",
    "smooth_calibration_error",
    "top_label",
    "top_label_brier",
]
