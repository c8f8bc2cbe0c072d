"""Every detector, one family a file; importing this package fills the catalogue."""

from ood_toolkit.detectors.block_gaussians import HVCMBlocks
from ood_toolkit.detectors.boundaries import FDBD, ORA
from ood_toolkit.detectors.catalogue import Method, find_method, make_detector, registered
from ood_toolkit.detectors.cfood import CFOOD
from ood_toolkit.detectors.cluster_gaussians import SSD
from ood_toolkit.detectors.collapse import NECO
from ood_toolkit.detectors.composed import After, Composed
from ood_toolkit.detectors.coverage import NAC
from ood_toolkit.detectors.ensemble import Ensemble
from ood_toolkit.detectors.entropies import GEN, Entropy, KLFromUniform, Renyi
from ood_toolkit.detectors.evidence import (
    Evidential,
    InformationGain,
    InhibitedSoftmax,
    StandardizedLogit,
)
from ood_toolkit.detectors.feature_perturbation import FeatureODIN
from ood_toolkit.detectors.feature_size import FeatureNorm
from ood_toolkit.detectors.gaussian import (
    Mahalanobis,
    MahalanobisPP,
    MarginalMahalanobis,
    RelativeMahalanobis,
    RelativeMahalanobisPP,
)
from ood_toolkit.detectors.head_geometry import NCI, GradNorm
from ood_toolkit.detectors.incremental import ClassIncremental
from ood_toolkit.detectors.isolation import IsolationForest
from ood_toolkit.detectors.kernel_density import KDE
from ood_toolkit.detectors.kernel_pca import CoP, CoRP
from ood_toolkit.detectors.logit_image import LogitSignature
from ood_toolkit.detectors.logit_values import Energy, LogitMargin, MaxLogit, ODINTemperature
from ood_toolkit.detectors.members import TSimilarity, VoteEntropy
from ood_toolkit.detectors.mixture import GMM
from ood_toolkit.detectors.nearest import KNN, CosinePrototype
from ood_toolkit.detectors.nonuniformity import LabelNonUniformity
from ood_toolkit.detectors.openmax import OpenMax
from ood_toolkit.detectors.outlier_factor import LOF
from ood_toolkit.detectors.patterns import SHE, NNGuide
from ood_toolkit.detectors.persistence import load_scorer, save_scorer
from ood_toolkit.detectors.prediction_statistics import (
    SoftmaxCentroid,
    StandardizedMaxLogit,
)
from ood_toolkit.detectors.probability import MSP, Gini, Margin
from ood_toolkit.detectors.pruned import ASHB, ASHP, ASHS, Scale
from ood_toolkit.detectors.relation import Relation
from ood_toolkit.detectors.sdm import (
    SDM,
    ExemplarAdaptor,
    Region,
    SDMExplanation,
    SDMPrediction,
    SDMScorer,
    sdm_activation,
    sdm_log_activation,
    sdm_loss,
)
from ood_toolkit.detectors.sequences import (
    SequenceEntropy,
    SequenceLogProbability,
    SequenceSoftmaxVariance,
    SequenceWorstToken,
)
from ood_toolkit.detectors.shaped import DICE, VRA, ReAct
from ood_toolkit.detectors.subspace import Residual, ViM
from ood_toolkit.detectors.templates import KLMatching
from ood_toolkit.detectors.trust import TrustScore
from ood_toolkit.detectors.weiper import WeiPer

__all__ = [
    "ASHB",
    "ASHP",
    "ASHS",
    "After",
    "CFOOD",
    "ClassIncremental",
    "CoP",
    "CoRP",
    "Composed",
    "CosinePrototype",
    "DICE",
    "Energy",
    "Ensemble",
    "Entropy",
    "Evidential",
    "ExemplarAdaptor",
    "FDBD",
    "FeatureNorm",
    "FeatureODIN",
    "GEN",
    "GMM",
    "Gini",
    "GradNorm",
    "HVCMBlocks",
    "InformationGain",
    "InhibitedSoftmax",
    "IsolationForest",
    "KDE",
    "KLFromUniform",
    "KLMatching",
    "KNN",
    "LOF",
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
    "NAC",
    "NCI",
    "NECO",
    "NNGuide",
    "ODINTemperature",
    "ORA",
    "OpenMax",
    "ReAct",
    "Region",
    "Relation",
    "RelativeMahalanobis",
    "RelativeMahalanobisPP",
    "Renyi",
    "Residual",
    "SDM",
    "SDMExplanation",
    "SDMPrediction",
    "SDMScorer",
    "SHE",
    "SSD",
    "Scale",
    "SequenceEntropy",
    "SequenceLogProbability",
    "SequenceSoftmaxVariance",
    "SequenceWorstToken",
    "SoftmaxCentroid",
    "StandardizedLogit",
    "StandardizedMaxLogit",
    "TSimilarity",
    "TrustScore",
    "VRA",
    "ViM",
    "VoteEntropy",
    "WeiPer",
    "find_method",
    "load_scorer",
    "make_detector",
    "registered",
    "save_scorer",
    "sdm_activation",
    "sdm_log_activation",
    "sdm_loss",
]
