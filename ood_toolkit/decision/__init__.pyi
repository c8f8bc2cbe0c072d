"""From a score to a decision: thresholds, p-values, guarantees and prediction sets."""

from .batch import benjamini_hochberg
from .conformal import (
    ConformalSets,
    FittedSets,
    SetReport,
)
from .guarantees import acceptance_bounds, guaranteed_rank, rows_needed
from .monitor import Monitor, MonitorReport
from .nonconformity import conformal_quantile, nonconformity
from .per_class import ClassThresholds
from .policy import ACTIONS, Decisions, Policy
from .policy_file import load_policy
from .risk import (
    RiskThreshold,
    expected_error_threshold,
    selective_risk_threshold,
)
from .rules import MethodRule, RiskRule, rule_from
from .set_tuning import PENALTIES, tuned_sets
from .threshold import Threshold
from .verdict import Rule, Verdict

__all__ = [
    "ACTIONS",
    "ClassThresholds",
    "ConformalSets",
    "Decisions",
    "FittedSets",
    "MethodRule",
    "Monitor",
    "MonitorReport",
    "PENALTIES",
    "Policy",
    "RiskRule",
    "RiskThreshold",
    "Rule",
    "SetReport",
    "Threshold",
    "Verdict",
    "acceptance_bounds",
    "benjamini_hochberg",
    "conformal_quantile",
    "expected_error_threshold",
    "guaranteed_rank",
    "load_policy",
    "nonconformity",
    "rows_needed",
    "rule_from",
    "selective_risk_threshold",
    "tuned_sets",
]
