"""Evaluation of detectors and of the classifier's own errors."""

from ood_toolkit.evaluation.harness import Harness, split_group
from ood_toolkit.evaluation.misclassification import ErrorDetection, ErrorReport, error_report
from ood_toolkit.evaluation.records import Convention, Evaluation, MethodNote, PairResult
from ood_toolkit.evaluation.tuning import Candidate, Tuned, Tuning, tune

__all__ = [
    "Candidate",
    "Convention",
    "ErrorDetection",
    "ErrorReport",
    "Evaluation",
    "Harness",
    "MethodNote",
    "PairResult",
    "Tuned",
    "Tuning",
    "error_report",
    "split_group",
    "tune",
]
