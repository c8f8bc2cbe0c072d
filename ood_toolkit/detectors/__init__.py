"""Every detector, one family a file; importing this package fills the catalogue."""

from ood_toolkit.detectors.catalogue import Method, find_method, make_detector, registered
from ood_toolkit.detectors.entropies import GEN, Entropy, KLFromUniform, Renyi
from ood_toolkit.detectors.gaussian import (
    Mahalanobis,
    MahalanobisPP,
    MarginalMahalanobis,
    RelativeMahalanobis,
)
from ood_toolkit.detectors.logit_values import Energy, LogitMargin, MaxLogit, ODINTemperature
from ood_toolkit.detectors.nearest import KNN, CosinePrototype
from ood_toolkit.detectors.nonuniformity import LabelNonUniformity
from ood_toolkit.detectors.persistence import load_scorer, save_scorer
from ood_toolkit.detectors.prediction_statistics import (
    KLMatching,
    SoftmaxCentroid,
    StandardizedMaxLogit,
)
from ood_toolkit.detectors.probability import MSP, Gini, Margin
from ood_toolkit.detectors.shaped import After, ReAct
from ood_toolkit.detectors.subspace import ViM

__all__ = [
    "GEN",
    "KNN",
    "MSP",
    "After",
    "CosinePrototype",
    "Energy",
    "Entropy",
    "Gini",
    "KLFromUniform",
    "KLMatching",
    "LabelNonUniformity",
    "LogitMargin",
    "Mahalanobis",
    "MahalanobisPP",
    "Margin",
    "MarginalMahalanobis",
    "MaxLogit",
    "Method",
    "ODINTemperature",
    "ReAct",
    "RelativeMahalanobis",
    "Renyi",
    "SoftmaxCentroid",
    "StandardizedMaxLogit",
    "ViM",
    "find_method",
    "load_scorer",
    "make_detector",
    "registered",
    "save_scorer",
]
