"""Scores of sequences from scores of their tokens: how tokens are read, judged and combined."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs

__all__ = ["SequenceDetector", "SequenceScorer"]

BLOCK_ELEMENTS = 1 << 22
"""Logits of tokens that are copied and judged at a time, or those of one token."""


class SequenceDetector(ABC):
    """A score of each token, averaged over the tokens of a sequence or taken at its worst."""

    worst: ClassVar[bool] = False
    """Whether the least token counts and not the mean."""
    reads_ids: ClassVar[bool] = False
    """Whether the score is that of the tokens that were generated."""

    @abstractmethod
    def statistics(self) -> tuple[Statistic, ...]:
        """What the score of a token is made of."""

    @abstractmethod
    def combine(self, tokens: RowStatistics, own: Array, /) -> Array:
        """(K,) float64 from the statistics and, with `reads_ids`, the tokens' own logits."""

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> SequenceScorer:
        """Nothing is learned; returns the scorer."""
        return SequenceScorer(self, 0, 0)


@dataclass(frozen=True)
class SequenceScorer(FittedScorer):
    """Scorer of every method of sequences."""

    def _score(self, x: Outputs) -> Array:
        lengths = np.zeros(len(x), dtype=np.int64)
        scores = np.full(len(x), np.inf if self.detector.worst else 0.0)
        gather = np.minimum.at if self.detector.worst else np.add.at
        for rows, values in self._tokens(x):
            gather(scores, rows, values)
            np.add.at(lengths, rows, 1)
        empty = lengths == 0
        if empty.any():
            others = f" and {empty.sum() - 1} more have" if empty.sum() > 1 else " has"
            message = f"row {int(np.argmax(empty))}{others} no token, which scores NaN"
            warnings.warn(located(x, f"{self.name}: {message}"), ToolkitWarning, stacklevel=3)
        if not self.detector.worst:
            scores /= np.maximum(lengths, 1)
        scores = super().numbers(x, scores)
        scores[empty] = np.nan
        return scores

    def numbers(self, x: Outputs, scores: Array) -> Array:
        """The scores, NaN for rows without tokens, of which a warning has told."""
        return scores

    def _tokens(self, x: Outputs) -> Iterator[tuple[Array, Array]]:
        """Row and score of each token that the mask lets count, some at a time."""
        assert x.token_logits is not None
        count, length, vocabulary = x.token_logits.shape
        for name in ("token_mask", "token_ids"):
            array = getattr(x, name)
            if array is not None and array.shape != (count, length):
                wanted = f"must be {(count, length)}, as token_logits has it, got {array.shape}"
                raise InputError(located(x, f"{name} {wanted}"))
        mask = np.ones((count, length), bool) if x.token_mask is None else x.token_mask
        every_row, every_token = np.nonzero(mask)
        step = max(1, BLOCK_ELEMENTS // max(vocabulary, 1))
        for start in range(0, len(every_row), step):
            part = slice(start, start + step)
            rows, places = every_row[part], every_token[part]
            logits = np.asarray(x.token_logits[rows, places])
            found = row_statistics(logits, self.detector.statistics())
            if found.first_bad >= 0:
                k = found.first_bad
                raise InputError(located(x, _what_is_wrong(logits[k], rows[k], places[k])))
            own = np.empty(0)
            if self.detector.reads_ids:
                own = _own_logits(x, logits, rows, places)
            yield rows, np.asarray(self.detector.combine(found, own), dtype=np.float64)


def _what_is_wrong(values: Array, row: int, place: int) -> str:
    """Why a token's logits cannot be scored."""
    wide = np.asarray(values, dtype=np.float64)
    what = "NaN" if np.isnan(wide).any() else "+inf" if wide.max() == np.inf else "only -inf"
    return f"token_logits: row {row} holds {what} at token {place}; mask, remove or repair it"


def _own_logits(x: Outputs, logits: Array, rows: Array, places: Array) -> Array:
    """The logit of the token that stands at each place.  (K,) float64."""
    assert x.token_ids is not None
    ids = x.token_ids[rows, places]
    outside = (ids < 0) | (ids >= logits.shape[1])
    if outside.any():
        k = int(np.argmax(outside))
        where = f"token_ids: row {rows[k]} has {ids[k]} at token {places[k]}"
        raise InputError(located(x, f"{where}, expected 0 ... {logits.shape[1] - 1}"))
    return np.asarray(logits[np.arange(len(ids)), ids], dtype=np.float64)
