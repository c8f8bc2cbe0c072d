"""Energy after each row is shaped by its own largest activations: ASH and SCALE."""

from __future__ import annotations

from dataclasses import dataclass

from ood_toolkit.detectors.catalogue import PSEUDO_OUTLIERS, method
from ood_toolkit.detectors.composed import Shaping
from ood_toolkit.outputs import Outputs
from ood_toolkit.parameters import require_percentile
from ood_toolkit.protocols import Transform
from ood_toolkit.shaping import Prune

__all__ = ["ASHB", "ASHP", "ASHS", "Scale"]

FAMILY = "features + head"
ASH = "Djurisic et al., ICLR 2023"


@method(
    "ash_p",
    family=FAMILY,
    needs="features head",
    reference=ASH,
    laws="class_permutation",
    grid={"percentile": (65, 70, 75, 80, 85, 90, 95)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class ASHP(Shaping):
    """Energy of the logits recomputed from each row's largest activations.

    S = lse(W g + b), g = f with all but its largest entries zeroed, unbounded; larger = more
    in-distribution.  Features should not be negative.

    Parameters
    ----------
    percentile : float
        Share of the entries that is zeroed, in percent.

    Notes
    -----
    Fit nothing; score O(N D (C + log D)) time, O(N + n (C + D)) memory; n rows at a time, about
    2^24 logits.

    Works where D is large and a tenth of the rectified activations says what class it is; fails
    where the rest of them matters, as in dense signed embeddings.

    References
    ----------
    Djurisic et al., "Extremely Simple Activation Shaping for Out-of-Distribution Detection",
    ICLR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import ASHP, Head, Outputs
    >>> x = Outputs(features=np.array([[1.0, 3.0]]), head=Head(weight=np.eye(2)))
    >>> ASHP(percentile=50).fit().score(x).round(4)
    array([3.0486])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        require_percentile("ash_p.percentile", self.percentile)

    def fitted(self, train: Outputs) -> Transform:
        """Pruning; nothing is learned."""
        return Prune("ash_p", self.percentile)


@method(
    "ash_b",
    family=FAMILY,
    needs="features head",
    reference=ASH,
    laws="class_permutation",
    grid={"percentile": (65, 70, 75, 80, 85, 90, 95)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class ASHB(Shaping):
    """Energy after each row's largest activations share the sum of all equally.

    S = lse(W g + b), unbounded; larger = more in-distribution.  Features should not be
    negative.

    Parameters
    ----------
    percentile : float
        Share of the entries that is zeroed, in percent.

    Notes
    -----
    Fit nothing; score O(N D (C + log D)) time, O(N + n (C + D)) memory; n rows at a time, about
    2^24 logits.

    Works where it matters which activations are largest and how large all are together, but not
    their own values; fails where negative features cancel the others, for their sum then means
    nothing.

    References
    ----------
    Djurisic et al., ICLR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import ASHB, Head, Outputs
    >>> x = Outputs(features=np.array([[1.0, 3.0]]), head=Head(weight=np.eye(2)))
    >>> ASHB(percentile=50).fit().score(x).round(4)
    array([4.0181])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        require_percentile("ash_b.percentile", self.percentile)

    def fitted(self, train: Outputs) -> Transform:
        """Pruning; nothing is learned."""
        return Prune("ash_b", self.percentile)


@method(
    "ash_s",
    family=FAMILY,
    needs="features head",
    reference=ASH,
    laws="class_permutation",
    grid={"percentile": (65, 70, 75, 80, 85, 90, 95)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class ASHS(Shaping):
    """Energy after each row's largest activations are scaled by exp(sum / sum kept).

    S = lse(W g + b), unbounded; larger = more in-distribution.  Features should not be
    negative.

    Parameters
    ----------
    percentile : float
        Share of the entries that is zeroed, in percent.

    Notes
    -----
    Fit nothing; score O(N D (C + log D)) time, O(N + n (C + D)) memory; n rows at a time, about
    2^24 logits.

    Works where the sum of all activations over that of the largest is greater for familiar rows;
    fails where it is greater for outliers, which are then scaled up, and where `ash_p` does.

    References
    ----------
    Djurisic et al., ICLR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import ASHS, Head, Outputs
    >>> x = Outputs(features=np.array([[1.0, 3.0]]), head=Head(weight=np.eye(2)))
    >>> ASHS(percentile=50).fit().score(x).round(4)
    array([11.381])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        require_percentile("ash_s.percentile", self.percentile)

    def fitted(self, train: Outputs) -> Transform:
        """Pruning and scaling; nothing is learned."""
        return Prune("ash_s", self.percentile)


@method(
    "scale",
    family=FAMILY,
    needs="features head",
    reference="Xu et al., ICLR 2024",
    laws="class_permutation",
    grid={"percentile": (65, 70, 75, 80, 85, 90, 95)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class Scale(Shaping):
    """Energy after all activations are scaled by exp(sum / sum of the largest).

    S = lse(W g + b), g = f exp(s1 / s2), unbounded; larger = more in-distribution.  Features
    should not be negative.

    Parameters
    ----------
    percentile : float
        Percentile of the row above which activations count as large.

    Notes
    -----
    Fit nothing; score O(N D (C + log D)) time, O(N + n (C + D)) memory; n rows at a time, about
    2^24 logits.

    Works where familiar rows have the greater ratio of all activations to the largest, and every
    activation counts; fails where outliers have it, and is `energy` where signed features sum to
    nothing.

    References
    ----------
    Xu et al., "Scaling for Training Time and Post-hoc Out-of-distribution Detection
    Enhancement", ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs, Scale
    >>> x = Outputs(features=np.array([[1.0, 3.0]]), head=Head(weight=np.eye(2)))
    >>> Scale(percentile=50).fit().score(x).round(4)
    array([11.3815])
    """

    percentile: float = 85.0

    def __post_init__(self) -> None:
        require_percentile("scale.percentile", self.percentile)

    def fitted(self, train: Outputs) -> Transform:
        """Scaling; nothing is learned."""
        return Prune("scale", self.percentile)
