"""Twins of detectors that the catalogue does not list yet; they move to TWINS when it does."""

from __future__ import annotations

from collections.abc import Callable

from ood_toolkit.outputs import Array
from tests.reference.future_features import FUTURE_FEATURE_TWINS
from tests.reference.future_logits import FUTURE_LOGIT_TWINS

__all__ = ["FUTURE"]

FUTURE: dict[str, Callable[..., Array]] = {**FUTURE_LOGIT_TWINS, **FUTURE_FEATURE_TWINS}
