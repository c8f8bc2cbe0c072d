"""Evaluation of detectors and of the classifier's own errors."""

from .cache import Cache, NoCache
from .comparison import Comparison, compare_methods, compare_scores
from .corrections import benjamini_hochberg, holm
from .error_detection import evaluate_errors
from .far_field import FarField, along_ray, far_field
from .fragility import Fragility, fragility, temperature_drift
from .harness import Harness
from .joint_aurocs import JointAurocs
from .kept_scores import KeptScores
from .manifest import Input, run_record
from .method_ranks import MethodRanks, critical_difference, rank_methods
from .misclassification import ErrorDetection, ErrorReport, Scod, error_report
from .paired_runs import PairedTest, paired_tests
from .perturbation import argmax_preserving_perturbation, flatter, sharper
from .pooling import Pooled, pool_results
from .records import Convention, Evaluation, MethodNote, PairResult, ShiftedSet
from .score_folder import read_scores, save_scores
from .sets import FittedOn, Reported, split_group
from .stress import Stress, StressReport, stress
from .tables import Table, leaderboard, pooled_table
from .tuning import Candidate, Tuned, Tuning, tune

__all__ = [
    "Cache",
    "Candidate",
    "Comparison",
    "Convention",
    "ErrorDetection",
    "ErrorReport",
    "Evaluation",
    "FarField",
    "FittedOn",
    "Fragility",
    "Harness",
    "Input",
    "JointAurocs",
    "KeptScores",
    "MethodNote",
    "MethodRanks",
    "NoCache",
    "PairResult",
    "PairedTest",
    "Pooled",
    "Reported",
    "Scod",
    "ShiftedSet",
    "Stress",
    "StressReport",
    "Table",
    "Tuned",
    "Tuning",
    "along_ray",
    "argmax_preserving_perturbation",
    "benjamini_hochberg",
    "compare_methods",
    "compare_scores",
    "critical_difference",
    "error_report",
    "evaluate_errors",
    "far_field",
    "flatter",
    "fragility",
    "holm",
    "leaderboard",
    "paired_tests",
    "pool_results",
    "pooled_table",
    "rank_methods",
    "read_scores",
    "run_record",
    "save_scores",
    "sharper",
    "split_group",
    "stress",
    "temperature_drift",
    "tune",
]
