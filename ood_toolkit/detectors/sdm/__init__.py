"""Similarity, distance, magnitude: predictions that know how much of the training data backs them.

`activation` holds the functions, `matching` and `distances` what goes into them, `region` the
search for where they can be relied on, `estimator` and `scorer` the method.
"""

from ood_toolkit.detectors.sdm.activation import (
    balanced_sdm_loss,
    rescaled_similarity,
    sdm_activation,
    sdm_log_activation,
    sdm_loss,
)
from ood_toolkit.detectors.sdm.adaptor import ExemplarAdaptor
from ood_toolkit.detectors.sdm.answers import Exemplar, Reliability, SDMExplanation, SDMPrediction
from ood_toolkit.detectors.sdm.estimator import SDM
from ood_toolkit.detectors.sdm.region import Region, find_region
from ood_toolkit.detectors.sdm.scorer import SDMScorer

__all__ = [
    "SDM",
    "Exemplar",
    "ExemplarAdaptor",
    "SDMExplanation",
    "Region",
    "Reliability",
    "SDMPrediction",
    "SDMScorer",
    "balanced_sdm_loss",
    "find_region",
    "rescaled_similarity",
    "sdm_activation",
    "sdm_log_activation",
    "sdm_loss",
]
