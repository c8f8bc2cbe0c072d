"""Means of training features, and the head that goes with them."""

from __future__ import annotations

import numpy as np

from ood_toolkit.chunks import feature_chunks, located
from ood_toolkit.detectors.base import training_labels
from ood_toolkit.detectors.head_check import warn_if_head_disagrees
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Head, Outputs

__all__ = ["class_means_of", "mean_of"]


def _with_head(name: str, train: Outputs | None) -> tuple[Outputs, Head]:
    if train is None or train.features is None or train.head is None:
        raise InputError(f"{name} needs training outputs with features and head")
    if len(train) == 0:
        raise InputError(located(train, f"{name} cannot be fitted on zero rows"))
    warn_if_head_disagrees(name, train)
    return train, train.head


def mean_of(name: str, train: Outputs | None) -> tuple[Array, Head]:
    """Mean of all features, and the head.  (D,) float64."""
    checked, head = _with_head(name, train)
    total = sum((chunk.sum(axis=0) for _, chunk in feature_chunks(checked)), np.zeros(1))
    return np.asarray(total / len(checked)), head


def class_means_of(name: str, train: Outputs | None) -> tuple[Array, Head]:
    """Mean of each class's features, and the head.  (C, D) float64."""
    checked, head = _with_head(name, train)
    labels = training_labels(name, checked)
    total = np.zeros(head.weight.shape)
    for part, chunk in feature_chunks(checked):
        np.add.at(total, labels[part], chunk)
    return total / np.bincount(labels, minlength=len(total))[:, None], head
