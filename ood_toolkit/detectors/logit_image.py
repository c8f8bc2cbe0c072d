"""Whether logits can come from the head at all: the softmax bottleneck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.chunks import located, scored_logits
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = ["LogitSignature", "LogitSignatureScorer"]


@method(
    "logit_signature",
    family="features + head",
    needs="logits head",
    reference="Finlayson et al. 2024, arXiv 2403.09539",
    laws="class_permutation",
    grid={"ones": (False, True)},
)
@dataclass(frozen=True)
class LogitSignature:
    """Share of the logits that lies outside what the head can produce.

    S = -||(I - P)(z - b)|| / ||z - b||, in [-1, 0]; larger = more like this head's logits.
    P projects on the columns of the weight.  Where the head has at least as many features as
    classes every logit vector is possible and the score is exactly 0.  It tells altered logits or
    another model's from this one's, not unusual inputs.

    Parameters
    ----------
    ones : bool
        Whether a constant may be added, for logits that are log-probabilities.

    Notes
    -----
    Fit nothing; score O((N + D) C q) time, O(N + C D) memory; q the lesser of C and D.

    Works where C > D and logits were altered or are another model's; fails where D >= C, for every
    row then scores 0, and on unusual inputs, which pass through the same head.

    References
    ----------
    Finlayson, Ren & Swayamdipta, "Logits of API-Protected LLMs Leak Proprietary Information",
    2024, arXiv 2403.09539.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, LogitSignature, Outputs
    >>> head = Head(weight=np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    >>> x = Outputs(logits=np.array([[2.0, 1.0, 3.0], [2.0, 1.0, 0.0]]), head=head)
    >>> LogitSignature().fit().score(x).round(4) + 0.0
    array([ 0.    , -0.7746])
    """

    ones: bool = False

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return LogitSignatureScorer(self, 0, 0)


@dataclass(frozen=True)
class LogitSignatureScorer(FittedScorer):
    """Scorer of `LogitSignature`."""

    def _score(self, x: Outputs) -> Array:
        assert x.head is not None
        columns = x.head.weight.astype(np.float64)
        if self.detector.ones:
            columns = np.column_stack([columns, np.ones(len(columns))])
        u, s, _ = np.linalg.svd(columns, full_matrices=False)
        kept = s > max(columns.shape) * np.finfo(np.float64).eps * s[0]
        basis, bias = u[:, kept], x.head.bias.astype(np.float64)

        def judge(z: Array, part: slice) -> Array:
            if not np.isfinite(z).all():
                row = part.start + int(np.argmin(np.isfinite(z).all(axis=1)))
                raise InputError(
                    located(x, f"logits: row {row} has a masked class; logit_signature needs all")
                )
            centred = z - bias
            # a head that reaches every logit vector leaves nothing but rounding outside
            everything = basis.shape[1] == basis.shape[0]
            outside = 0.0 * centred if everything else centred - (centred @ basis) @ basis.T
            length = np.linalg.norm(centred, axis=1)
            return np.asarray(-np.linalg.norm(outside, axis=1) / np.where(length > 0, length, 1.0))

        return scored_logits(x, judge)
