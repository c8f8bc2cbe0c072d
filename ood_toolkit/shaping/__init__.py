"""Activation shaping: transforms of features that change what the head then says."""

from ood_toolkit.shaping.clipping import Clip, ClippedFeatures

__all__ = ["Clip", "ClippedFeatures"]
