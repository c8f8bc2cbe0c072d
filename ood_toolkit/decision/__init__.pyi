"""From a score to a decision: thresholds, p-values, guarantees and prediction sets."""

from .batch import benjamini_hochberg
from .conformal import (
    ConformalSets,
    FittedSets,
    SetReport,
    conformal_quantile,
    nonconformity,
)
from .guarantees import acceptance_bounds, guaranteed_rank, rows_needed
from .monitor import Monitor, MonitorReport
from .per_class import ClassThresholds
from .policy import ACTIONS, Decisions, Policy
from .risk import (
    RiskThreshold,
    expected_error_threshold,
    selective_risk_threshold,
)
from .threshold import Threshold

__all__ = [
    "ACTIONS",
    "ClassThresholds",
    "ConformalSets",
    "Decisions",
    "FittedSets",
    "Monitor",
    "MonitorReport",
    "Policy",
    "RiskThreshold",
    "SetReport",
    "Threshold",
    "acceptance_bounds",
    "benjamini_hochberg",
    "conformal_quantile",
    "expected_error_threshold",
    "guaranteed_rank",
    "nonconformity",
    "rows_needed",
    "selective_risk_threshold",
]
