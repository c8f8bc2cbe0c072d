"""Twins of the further detectors: other logit scores, members, shaping, geometry."""

from __future__ import annotations

from collections.abc import Callable

from ood_toolkit.outputs import Array
from tests.reference.further_density import FURTHER_DENSITY_TWINS
from tests.reference.further_ensemble import ENSEMBLE_TWINS
from tests.reference.further_features import FURTHER_FEATURE_TWINS
from tests.reference.further_head import HEAD_AND_LOGIT_TWINS
from tests.reference.further_incremental import INCREMENTAL_TWINS
from tests.reference.further_logits import FURTHER_LOGIT_TWINS
from tests.reference.further_sdm import SDM_TWINS
from tests.reference.further_sequences import SEQUENCE_TWINS

__all__ = ["FURTHER"]

FURTHER: dict[str, Callable[..., Array]] = {
    **FURTHER_LOGIT_TWINS,
    **FURTHER_FEATURE_TWINS,
    **HEAD_AND_LOGIT_TWINS,
    **SEQUENCE_TWINS,
    **INCREMENTAL_TWINS,
    **ENSEMBLE_TWINS,
    **SDM_TWINS,
    **FURTHER_DENSITY_TWINS,
}
