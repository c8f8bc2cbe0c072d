"""Every detector, one family a file; importing this package fills the catalogue."""

from ood_toolkit.detectors.catalogue import Method, find_method, make_detector, registered
from ood_toolkit.detectors.collapse import NECO
from ood_toolkit.detectors.composed import After, Composed
from ood_toolkit.detectors.entropies import GEN, Entropy, KLFromUniform, Renyi
from ood_toolkit.detectors.evidence import (
    Evidential,
    InformationGain,
    InhibitedSoftmax,
    StandardizedLogit,
)
from ood_toolkit.detectors.feature_size import FeatureNorm
from ood_toolkit.detectors.gaussian import (
    Mahalanobis,
    MahalanobisPP,
    MarginalMahalanobis,
    RelativeMahalanobis,
    RelativeMahalanobisPP,
)
from ood_toolkit.detectors.head_geometry import FDBD, NCI, ORA, GradNorm
from ood_toolkit.detectors.logit_image import LogitSignature
from ood_toolkit.detectors.logit_values import Energy, LogitMargin, MaxLogit, ODINTemperature
from ood_toolkit.detectors.members import TSimilarity, VoteEntropy
from ood_toolkit.detectors.nearest import KNN, CosinePrototype
from ood_toolkit.detectors.nonuniformity import LabelNonUniformity
from ood_toolkit.detectors.patterns import SHE, NNGuide
from ood_toolkit.detectors.persistence import load_scorer, save_scorer
from ood_toolkit.detectors.prediction_statistics import (
    KLMatching,
    SoftmaxCentroid,
    StandardizedMaxLogit,
)
from ood_toolkit.detectors.probability import MSP, Gini, Margin
from ood_toolkit.detectors.pruned import ASHB, ASHP, ASHS, Scale
from ood_toolkit.detectors.shaped import DICE, VRA, ReAct
from ood_toolkit.detectors.subspace import Residual, ViM

__all__ = [
    "ASHB",
    "ASHP",
    "ASHS",
    "After",
    "Composed",
    "CosinePrototype",
    "DICE",
    "Energy",
    "Entropy",
    "Evidential",
    "FDBD",
    "FeatureNorm",
    "GEN",
    "Gini",
    "GradNorm",
    "InformationGain",
    "InhibitedSoftmax",
    "KLFromUniform",
    "KLMatching",
    "KNN",
    "LabelNonUniformity",
    "LogitMargin",
    "LogitSignature",
    "MSP",
    "Mahalanobis",
    "MahalanobisPP",
    "Margin",
    "MarginalMahalanobis",
    "MaxLogit",
    "Method",
    "NCI",
    "NECO",
    "NNGuide",
    "ODINTemperature",
    "ORA",
    "ReAct",
    "RelativeMahalanobis",
    "RelativeMahalanobisPP",
    "Renyi",
    "Residual",
    "SHE",
    "Scale",
    "SoftmaxCentroid",
    "StandardizedLogit",
    "StandardizedMaxLogit",
    "TSimilarity",
    "VRA",
    "ViM",
    "VoteEntropy",
    "find_method",
    "load_scorer",
    "make_detector",
    "registered",
    "save_scorer",
]
