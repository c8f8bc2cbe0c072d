"""Activation shaping: transforms of features or head that change what the head then says."""

from ood_toolkit.shaping.clipping import Clip, ClippedFeatures
from ood_toolkit.shaping.pruning import Prune
from ood_toolkit.shaping.sparsifying import SparseHead, Sparsify

__all__ = ["Clip", "ClippedFeatures", "Prune", "SparseHead", "Sparsify"]
