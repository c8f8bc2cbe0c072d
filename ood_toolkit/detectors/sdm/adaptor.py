"""The exemplar adaptor as it is applied: two affine layers, in numpy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.chunks import feature_chunks
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = ["ExemplarAdaptor"]


@dataclass(frozen=True)
class ExemplarAdaptor:
    """A trained exemplar adaptor: new features and logits from old features.

    h' = G (h - mean) / scale + g, then z' = W h' + b.  It replaces the classifier's own head,
    so predictions may differ from the classifier's.

    Parameters
    ----------
    mean, scale : float
        Of all entries of the features that it was trained on, one number each.
    weight, bias : (M, D) and (M,) arrays of float32
        G and g.
    head_weight, head_bias : (C, M) and (C,) arrays of float32
        W and b.

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", arXiv 2509.12760.

    Examples
    --------
    >>> import numpy as np
    >>> adaptor = ExemplarAdaptor(
    ...     2.0, 1.0, np.array([[1, 0, -1], [0.5, 0.5, 0.5]]), np.array([0.25, -0.5]),
    ...     np.array([[1.0, 2], [-1, 1]]), np.array([0.1, -0.2]),
    ... )
    >>> new = adaptor.apply(Outputs(features=np.array([[2.0, 3, 1]])))
    >>> new.features, new.logits
    (array([[ 1.25, -0.5 ]]), array([[ 0.35, -1.95]]))
    """

    mean: float
    scale: float
    weight: Array
    bias: Array
    head_weight: Array
    head_bias: Array

    def __post_init__(self) -> None:
        shapes = self.weight.shape, self.bias.shape, self.head_weight.shape, self.head_bias.shape
        try:
            (width, _), (classes, inner) = self.weight.shape, self.head_weight.shape
            good = shapes[1] == (width,) and shapes[3] == (classes,) and inner == width
        except ValueError:
            good = False
        if not good:
            raise InputError(
                "an adaptor's arrays must be (M, D), (M,), (C, M) and (C,), got "
                + ", ".join(map(str, shapes))
            )

    def apply(self, x: Outputs, /) -> Outputs:
        """The record with the adaptor's features and logits; its head is left out.

        Raises
        ------
        InputError
            If features are missing, have another number of columns, or hold NaN.
        """
        if x.features is None or x.features.shape[1] != self.weight.shape[1]:
            got = "none" if x.features is None else f"{x.features.shape[1]} columns"
            raise InputError(
                f"the adaptor needs features of {self.weight.shape[1]} columns, got {got}"
            )
        dtype = self.weight.dtype
        features = np.empty((len(x), self.weight.shape[0]), dtype=dtype)
        logits = np.empty((len(x), self.head_weight.shape[0]), dtype=dtype)
        for part, chunk in feature_chunks(x):
            scaled = ((chunk - self.mean) / self.scale).astype(dtype)
            features[part] = scaled @ self.weight.T + self.bias
            logits[part] = features[part] @ self.head_weight.T + self.head_bias
        return replace(x, features=features, logits=logits, head=None, members=None, layers={})
