"""From a score to a decision: thresholds, p-values, guarantees and prediction sets."""

from ood_toolkit.decision.batch import benjamini_hochberg
from ood_toolkit.decision.conformal import (
    ConformalSets,
    FittedSets,
    SetReport,
    conformal_quantile,
    nonconformity,
)
from ood_toolkit.decision.guarantees import acceptance_bounds, guaranteed_rank, rows_needed
from ood_toolkit.decision.monitor import Monitor, MonitorReport
from ood_toolkit.decision.per_class import ClassThresholds
from ood_toolkit.decision.policy import ACTIONS, Decisions, Policy
from ood_toolkit.decision.risk import (
    RiskThreshold,
    expected_error_threshold,
    selective_risk_threshold,
)
from ood_toolkit.decision.threshold import Threshold

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
