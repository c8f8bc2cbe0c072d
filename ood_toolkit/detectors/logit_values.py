"""Scores from the logits themselves; nothing is fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ood_toolkit.detectors.base import LogitDetector
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.kernels.statistics import (
    LARGEST,
    SECOND,
    RowStatistics,
    Statistic,
    excess,
    log_sum_exp,
)
from ood_toolkit.outputs import Array
from ood_toolkit.parameters import require

__all__ = ["Energy", "LogitMargin", "MaxLogit", "ODINTemperature"]


@method(
    "max_logit",
    family="logits",
    needs="logits",
    reference="Hendrycks et al., ICML 2022",
    laws="class_permutation",
)
@dataclass(frozen=True)
class MaxLogit(LogitDetector):
    """The largest logit.

    S = max z, unbounded; larger = more in-distribution.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where the size of the logits, which a softmax cancels, says how familiar a row is; fails
    where training fixed that size, as for normalised logits, and where some classes have smaller
    logits than others.

    References
    ----------
    Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings",
    ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import MaxLogit, Outputs
    >>> MaxLogit().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]])))
    array([2.])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """The largest logit."""
        return (LARGEST,)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Itself."""
        return rows[LARGEST]


@method(
    "energy",
    family="logits",
    needs="logits",
    reference="Liu et al., NeurIPS 2020",
    laws="class_permutation",
    grid={"temperature": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)},
)
@dataclass(frozen=True)
class Energy(LogitDetector):
    """Negative free energy: temperature times the log-sum-exp of the logits.

    S = T ln sum exp(z / T), unbounded, between max z and max z + T ln C; larger = more
    in-distribution.  The paper's energy is -S.

    Parameters
    ----------
    temperature : float
        T > 0; the paper finds 1 best or close to it.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where unfamiliar rows lower all logits, as they tend to under cross-entropy; fails where
    the scale of the logits carries no information, as after normalised training, and far from the
    data, where it keeps growing along a ray.

    References
    ----------
    Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Energy, Outputs
    >>> Energy().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([2.417])
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        require(
            0 < self.temperature < math.inf,
            f"energy.temperature must be positive and finite, got {self.temperature}",
        )

    def statistics(self) -> tuple[Statistic, ...]:
        """Log-sum-exp at the temperature."""
        return (log_sum_exp(self.temperature),)

    def combine(self, rows: RowStatistics, /) -> Array:
        """T lse(z / T)."""
        lse = rows[log_sum_exp(self.temperature)]
        return lse if self.temperature == 1.0 else np.asarray(self.temperature * lse)


@method(
    "odin_temperature",
    family="logits",
    needs="logits",
    reference="Liang et al., ICLR 2018 (ODIN)",
    laws="logit_shift class_permutation",
    grid={"temperature": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)},
)
@dataclass(frozen=True)
class ODINTemperature(LogitDetector):
    """ODIN without input perturbation: log-probability of the prediction at temperature T.

    S = max z / T - lse(z / T), in nats, in [-ln C, 0]; larger = more in-distribution.  The
    paper's score is exp(S); the logarithm ranks alike and keeps its digits at T = 1000,
    where every probability is close to 1/C.

    Parameters
    ----------
    temperature : float
        T > 0; the paper's 1000.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where the distance of the largest logit to the mean of all tells more than that to the
    runner-up, for at T = 1000 the former is what ranks; fails where only the runner-up is in doubt,
    which many other classes then dilute.

    References
    ----------
    Liang, Li & Srikant, "Enhancing the Reliability of Out-of-distribution Image Detection
    in Neural Networks", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import ODINTemperature, Outputs
    >>> s = ODINTemperature().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]])))
    >>> np.exp(s).round(6)
    array([0.333656])
    """

    temperature: float = 1000.0

    def __post_init__(self) -> None:
        require(
            0 < self.temperature < math.inf,
            f"odin_temperature.temperature must be positive and finite, got {self.temperature}",
        )

    def statistics(self) -> tuple[Statistic, ...]:
        """Log-sum-exp less its largest term."""
        return (excess(self.temperature),)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Max z / T - lse(z / T), which the statistic sums without cancelling."""
        return -rows[excess(self.temperature)]


@method(
    "logit_margin",
    family="logits",
    needs="logits",
    reference="log-odds of the two likeliest classes",
    laws="logit_shift class_permutation",
)
@dataclass(frozen=True)
class LogitMargin(LogitDetector):
    """Difference of the two largest logits.

    S = z_(1) - z_(2) = ln(p_(1) / p_(2)), in [0, inf]; larger = more in-distribution.  It
    never saturates, unlike `margin` and `msp`.  A row with one unmasked class scores +inf.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where doubt is between two classes, and ranks on where probabilities round to 1; fails
    where unfamiliar rows have one clear favourite, or where two classes are nearly synonyms and
    familiar rows have small margins.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import LogitMargin, Outputs
    >>> LogitMargin().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]])))
    array([1.])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """The two largest logits."""
        return (LARGEST, SECOND)

    def combine(self, rows: RowStatistics, /) -> Array:
        """z_(1) - z_(2)."""
        return np.asarray(rows[LARGEST] - rows[SECOND])
