"""Slow twins: every detector written a second time, from its equation."""

from __future__ import annotations

from collections.abc import Callable

from ood_toolkit.outputs import Array
from tests.reference.from_features import FEATURE_TWINS
from tests.reference.from_fitted_logits import FITTED_LOGIT_TWINS
from tests.reference.from_head import HEAD_TWINS
from tests.reference.from_logits import LOGIT_TWINS
from tests.reference.further import FURTHER

__all__ = ["CORE", "TWINS"]

CORE: dict[str, Callable[..., Array]] = {
    **LOGIT_TWINS,
    **FITTED_LOGIT_TWINS,
    **FEATURE_TWINS,
    **HEAD_TWINS,
}
"""Twins whose scores, every one, fall as the feature leaves its class."""

TWINS: dict[str, Callable[..., Array]] = {**CORE, **FURTHER}
"""All of them, by the name of the method."""
