"""Twins of the further detectors: other logit scores, members, shaping, geometry."""

from __future__ import annotations

from collections.abc import Callable

from ood_toolkit.outputs import Array
from tests.reference.further_features import FURTHER_FEATURE_TWINS
from tests.reference.further_logits import FURTHER_LOGIT_TWINS

__all__ = ["FURTHER"]

FURTHER: dict[str, Callable[..., Array]] = {**FURTHER_LOGIT_TWINS, **FURTHER_FEATURE_TWINS}
