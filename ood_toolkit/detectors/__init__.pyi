"""What `ood_toolkit.detectors` loads on first use."""

from .block_gaussians import HVCMBlocks
from .boundaries import FDBD, ORA
from .catalogue import Method, find_method, make_detector, registered
from .cfood import CFOOD
from .cluster_gaussians import SSD
from .collapse import NECO
from .composed import After, Composed
from .coverage import NAC
from .disagreement import ClassVariance, MutualInformation, PredictiveEntropy
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
from .persistence import load_scorer
from .prediction_statistics import (
    SoftmaxCentroid,
    StandardizedMaxLogit,
)
from .probability import MSP, Gini, Margin
from .pruned import ASHB, ASHP, ASHS, Scale
from .relation import Relation
from .saving import save_scorer
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
    "CFOOD",
    "DICE",
    "FDBD",
    "GEN",
    "GMM",
    "KDE",
    "KNN",
    "LOF",
    "MSP",
    "NAC",
    "NCI",
    "NECO",
    "ORA",
    "SDM",
    "SHE",
    "SSD",
    "VRA",
    "After",
    "ClassIncremental",
    "ClassVariance",
    "Composed",
    "CoP",
    "CoRP",
    "CosinePrototype",
    "Energy",
    "Ensemble",
    "Entropy",
    "Evidential",
    "ExemplarAdaptor",
    "FeatureNorm",
    "FeatureODIN",
    "Gini",
    "GradNorm",
    "HVCMBlocks",
    "InformationGain",
    "InhibitedSoftmax",
    "IsolationForest",
    "KLFromUniform",
    "KLMatching",
    "LabelNonUniformity",
    "LogitMargin",
    "LogitSignature",
    "Mahalanobis",
    "MahalanobisPP",
    "Margin",
    "MarginalMahalanobis",
    "MaxLogit",
    "Method",
    "MutualInformation",
    "NNGuide",
    "ODINTemperature",
    "OpenMax",
    "PredictiveEntropy",
    "ReAct",
    "Region",
    "Relation",
    "RelativeMahalanobis",
    "RelativeMahalanobisPP",
    "Renyi",
    "Residual",
    "Scale",
    "SDMExplanation",
    "SDMPrediction",
    "SDMScorer",
    "SequenceEntropy",
    "SequenceLogProbability",
    "SequenceSoftmaxVariance",
    "SequenceWorstToken",
    "SoftmaxCentroid",
    "StandardizedLogit",
    "StandardizedMaxLogit",
    "TrustScore",
    "TSimilarity",
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
