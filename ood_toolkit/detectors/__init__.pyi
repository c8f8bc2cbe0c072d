"""What `ood_toolkit.detectors` loads on first use."""

from .block_gaussians import HVCMBlocks
from .boundaries import FDBD, ORA
from .catalogue import Method, find_method, make_detector, registered
from .cfood import CFOOD
from .cluster_gaussians import SSD
from .collapse import NECO
from .composed import After, Composed
from .coverage import NAC
from .ensemble import Ensemble
from .entropies import GEN, Entropy, KLFromUniform, Renyi
from .evidence import (
    Evidential,
    InformationGain,
    InhibitedSoftmax,
    StandardizedLogit,
)
from .feature_perturbation import FeatureODIN
from .feature_size import FeatureNorm
from .gaussian import (
    Mahalanobis,
    MahalanobisPP,
    MarginalMahalanobis,
    RelativeMahalanobis,
    RelativeMahalanobisPP,
)
from .head_geometry import NCI, GradNorm
from .incremental import ClassIncremental
from .isolation import IsolationForest
from .kernel_density import KDE
from .kernel_pca import CoP, CoRP
from .logit_image import LogitSignature
from .logit_values import Energy, LogitMargin, MaxLogit, ODINTemperature
from .members import TSimilarity, VoteEntropy
from .mixture import GMM
from .nearest import KNN, CosinePrototype
from .nonuniformity import LabelNonUniformity
from .openmax import OpenMax
from .outlier_factor import LOF
from .patterns import SHE, NNGuide
from .persistence import load_scorer, save_scorer
from .prediction_statistics import (
    SoftmaxCentroid,
    StandardizedMaxLogit,
)
from .probability import MSP, Gini, Margin
from .pruned import ASHB, ASHP, ASHS, Scale
from .relation import Relation
from .sdm import (
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
from .sequences import (
    SequenceEntropy,
    SequenceLogProbability,
    SequenceSoftmaxVariance,
    SequenceWorstToken,
)
from .shaped import DICE, VRA, ReAct
from .subspace import Residual, ViM
from .templates import KLMatching
from .trust import TrustScore
from .weiper import WeiPer

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
