"""What calibration changed: likelihood, Brier score, calibration error and predictions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import stacked_logits, validation_labels
from ood_toolkit.calibration.likelihood import log_softmax
from ood_toolkit.chunks import logit_chunks
from ood_toolkit.metrics import accuracy, brier, expected_calibration_error, nll
from ood_toolkit.outputs import Array, Outputs

__all__ = ["Quality", "changed_predictions", "probability_quality"]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the class probabilities of labelled rows are.

    Attributes
    ----------
    accuracy : float
        Share of right predictions.
    nll : float
        Mean negative log-likelihood; infinite where a label has probability zero.
    brier : float
        Mean squared distance to the one-hot label, in [0, 2].
    ece : float
        Calibration error of the top label over 15 bins of equal width.
    """

    accuracy: float
    nll: float
    brier: float
    ece: float

    def to_json(self) -> dict[str, Any]:
        """The same as a plain dict."""
        return asdict(self)


def probability_quality(x: Outputs) -> Quality:
    """Accuracy, NLL, Brier score and ECE of labelled outputs.

    Parameters
    ----------
    x : Outputs
        With logits and the label of every row.

    Returns
    -------
    Quality
        Of the softmax of the logits.

    Raises
    ------
    InputError
        If labels are missing or unknown, or a row cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> x = Outputs(logits=np.log([[0.75, 0.25], [0.5, 0.5]]), labels=[0, 1])
    >>> probability_quality(x).brier
    0.3125
    """
    if x.labels is None or x.logits is None or (x.labels < 0).any() or len(x) == 0:
        validation_labels("the quality of probabilities", x)
    assert x.labels is not None
    z = stacked_logits(x)
    p = np.exp(log_softmax(z))
    return Quality(
        accuracy(z.argmax(axis=1), x.labels),
        nll(z, x.labels),
        brier(p, x.labels),
        expected_calibration_error(p, x.labels),
    )


def changed_predictions(before: Outputs, after: Outputs) -> float:
    """Share of rows whose class with the largest logit is another one afterwards.

    Parameters
    ----------
    before, after : Outputs
        The same rows, as they were and as a transform left them.

    Returns
    -------
    float
        In [0, 1]; 0 without rows.

    Examples
    --------
    >>> import numpy as np
    >>> x = Outputs(logits=np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> changed_predictions(x, Outputs(logits=np.array([[0.0, 1.0], [0.0, 2.0]])))
    0.5
    """
    if len(before) == 0:
        return 0.0
    return float(np.mean(_predictions(before) != _predictions(after)))


def _predictions(x: Outputs) -> Array:
    return np.concatenate([chunk.argmax(axis=1) for _, chunk in logit_chunks(x)])
