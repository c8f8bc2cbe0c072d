"""Evaluation of detectors and of the classifier's own errors."""

from .harness import Harness, split_group
from .misclassification import ErrorDetection, ErrorReport, error_report
from .records import Convention, Evaluation, MethodNote, PairResult
from .tuning import Candidate, Tuned, Tuning, tune

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
