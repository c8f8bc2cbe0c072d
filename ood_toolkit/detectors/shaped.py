"""Energy after clipping or a sparse head; `+` puts any other logit score in its place."""

from __future__ import annotations

from dataclasses import dataclass

from ood_toolkit.detectors.catalogue import PSEUDO_OUTLIERS, method
from ood_toolkit.detectors.composed import Shaping
from ood_toolkit.outputs import Outputs
from ood_toolkit.parameters import require, require_percentile
from ood_toolkit.protocols import Transform
from ood_toolkit.shaping import Clip, Sparsify

__all__ = ["DICE", "VRA", "ReAct"]

FAMILY = "features + head"


@method(
    "react",
    family=FAMILY,
    needs="features head",
    train="features head",
    reference="Sun et al., NeurIPS 2021",
    laws="class_permutation",
    grid={"percentile": (85, 90, 95, 99)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class ReAct(Shaping):
    """Energy of the logits recomputed from clipped features.

    S = lse(W min(f, c) + b), unbounded; larger = more in-distribution.  c is a percentile of
    all activations of the training features.

    Parameters
    ----------
    percentile : float
        In [0, 100].

    Notes
    -----
    Fit O(N C D) time, O(N D) memory; score O(N C D) time, O(N + n (C + D)) memory; n rows at a
    time, about 2^24 logits.

    Works where few very large activations make the logits of outliers large; fails where familiar
    rows need theirs as well, and does little where no activation is far above the percentile.

    References
    ----------
    Sun, Guo & Li, "ReAct: Out-of-distribution Detection With Rectified Activations",
    NeurIPS 2021.  The authors take the percentile on validation features; here it is taken
    on the features the method is fitted on.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs, ReAct
    >>> head = Head(weight=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]), bias=[0.1, -0.1])
    >>> f = np.array([[2.0, 0, 1], [3, 1, 1], [1, 0, 0], [0, 2, 0], [1, 3, 1], [0, 1, 1]])
    >>> scorer = ReAct(percentile=90).fit(Outputs(features=f, head=head))
    >>> scorer.score(Outputs(features=np.array([[0.0, 0.0, 4.0]]), head=head)).round(4)
    array([1.3289])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        require_percentile("react.percentile", self.percentile)

    def fitted(self, train: Outputs) -> Transform:
        """Clipping at the percentile of the training activations."""
        return Clip(self.percentile).fit(train)


@method(
    "vra",
    family=FAMILY,
    needs="features head",
    train="features head",
    reference="Xu et al., NeurIPS 2023",
    laws="class_permutation",
    grid={"low": (0, 5, 10, 20), "high": (85, 90, 95, 99)},
)
@dataclass(frozen=True)
class VRA(Shaping):
    """Energy of the logits recomputed from features clipped on both sides.

    S = lse(W clip(f, a, c) + b), unbounded; larger = more in-distribution.

    Parameters
    ----------
    low : float
        Percentile of the training activations below which activations are raised.
    high : float
        Percentile above which they are cut.

    Notes
    -----
    Fit O(N C D) time, O(N D) memory; score O(N C D) time, O(N + n (C + D)) memory; n rows at a
    time, about 2^24 logits.

    Works where outliers have too large activations and too many tiny ones; fails where small
    activations carry the class, and is `react` again where a tenth of rectified features are zeros.

    References
    ----------
    Xu et al., "VRA: Variational Rectified Activation for Out-of-distribution Detection",
    NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs, VRA
    >>> head = Head(weight=np.eye(2))
    >>> train = Outputs(features=np.array([[0.0, 1.0], [2.0, 3.0]]), head=head)
    >>> VRA(low=0, high=50).fit(train).score(Outputs(features=np.array([[9.0, 9.0]]), head=head))
    array([2.19314718])
    """

    low: float = 10.0
    high: float = 90.0

    def __post_init__(self) -> None:
        require_percentile("vra.low", self.low)
        require_percentile("vra.high", self.high)
        require(self.low <= self.high, f"vra.low = {self.low} is above vra.high = {self.high}")

    def fitted(self, train: Outputs) -> Transform:
        """Clipping at both percentiles of the training activations."""
        return Clip(self.high, self.low).fit(train)


@method(
    "dice",
    family=FAMILY,
    needs="features head",
    train="features head",
    reference="Sun & Li, ECCV 2022",
    laws="class_permutation",
    grid={"percentile": (10, 30, 50, 70, 90)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class DICE(Shaping):
    """Energy under a head that keeps only its usually strongest weights.

    S = lse((W * M) f + b), unbounded; larger = more in-distribution.  M keeps a weight whose
    mean contribution mean(f)_d W_cd lies above a percentile of all.

    Parameters
    ----------
    percentile : float
        In [0, 100].

    Notes
    -----
    Fit O(N C D) time, O(C D) memory; score O(N C D) time, O(N + n (C + D) + C D) memory; n rows at
    a time, about 2^24 logits.

    Works where a wide head adds up many small contributions that are noise in outliers; fails where
    a logit is made of many equal parts, as of signed embeddings, since most of its weights are
    dropped.

    References
    ----------
    Sun & Li, "DICE: Leveraging Sparsification for Out-of-Distribution Detection", ECCV 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import DICE, Head, Outputs
    >>> head = Head(weight=np.array([[1.0, 3.0], [2.0, 0.5]]))
    >>> scorer = DICE(percentile=50).fit(Outputs(features=np.ones((4, 2)), head=head))
    >>> scorer.score(Outputs(features=np.array([[1.0, 1.0]]), head=head)).round(4)
    array([3.3133])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        require_percentile("dice.percentile", self.percentile)

    def fitted(self, train: Outputs) -> Transform:
        """The sparse head."""
        return Sparsify(self.percentile).fit(train)
