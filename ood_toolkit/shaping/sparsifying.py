"""DICE: a head that keeps only the weights that usually contribute most."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.kernels.products import row_chunks
from ood_toolkit.kernels.quantiles import exact_quantile
from ood_toolkit.outputs import Array, Head, Outputs
from ood_toolkit.shaping.base import finite_features

__all__ = ["SparseHead", "Sparsify"]


@dataclass(frozen=True)
class Sparsify:
    """Zero the head's weights whose mean contribution to a logit is small.

    Parameters
    ----------
    percentile : float
        In [0, 100]: a weight is kept if mean(f)_d W_cd lies above this percentile of all.

    References
    ----------
    Sun & Li, "DICE: Leveraging Sparsification for Out-of-Distribution Detection", ECCV 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs
    >>> head = Head(weight=np.array([[1.0, 3.0], [2.0, 0.5]]))
    >>> sparse = Sparsify(percentile=50).fit(Outputs(features=np.ones((4, 2)), head=head))
    >>> sparse.apply(Outputs(features=np.array([[1.0, 1.0]]), head=head)).logits
    array([[3., 2.]])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.percentile <= 100.0:
            raise BadParameter(f"a percentile lies in [0, 100], got {self.percentile}")

    def fit(self, train: Outputs, /) -> SparseHead:
        """Learn which weights to keep.

        Raises
        ------
        InputError
            If features or head are missing, or a row holds NaN or infinity.
        """
        features = finite_features(train)
        if train.head is None or len(train) == 0:
            raise InputError("sparsifying needs training features and the head")
        total = np.zeros(features.shape[1])
        for part in row_chunks(len(train)):
            total += features[part].astype(np.float64).sum(axis=0)
        contribution = total / len(train) * train.head.weight.astype(np.float64)
        kept = contribution > exact_quantile(contribution, self.percentile / 100.0)
        return SparseHead(kept.astype(np.float64))


@dataclass(frozen=True)
class SparseHead:
    """Fitted `Sparsify`.

    Attributes
    ----------
    mask : (C, D) array of float64
        1 for a weight that stays, 0 for one that goes.
    """

    mask: Array

    def apply(self, x: Outputs, /) -> Outputs:
        """The record with the sparse head and the logits it gives.

        Raises
        ------
        InputError
            If features or head are missing or of another size, or a row holds NaN or infinity.
        """
        finite_features(x)
        if x.head is None:
            raise InputError("a sparse head needs the head it was made from")
        if x.head.weight.shape != self.mask.shape:
            raise InputError(
                f"head_weight is {x.head.weight.shape}, but the mask was fitted on "
                f"{self.mask.shape}"
            )
        weight = x.head.weight.astype(np.result_type(x.head.weight.dtype, np.float32))
        sparse = weight * self.mask.astype(weight.dtype)
        return replace(x, head=Head(sparse, x.head.bias), logits=None)
