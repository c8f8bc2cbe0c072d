"""From a score to a decision: thresholds and p-values."""

from ood_toolkit.decision.threshold import Threshold

__all__ = ["Threshold"]
