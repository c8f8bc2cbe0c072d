"""Twins of the scores of sequences, token by token in fifty digits, and their known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpmath import mp  # type: ignore[import-untyped]

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_logits import DIGITS, log_softmax, logit_rows
from tests.reference.known import Case, fixture, floats

__all__ = ["SEQUENCE_CASES", "SEQUENCE_TWINS"]

LogSoftmax = dict[int, Any]


def by_tokens(
    of_token: Callable[[LogSoftmax, int], Any], of_sequence: Callable[[list[Any]], Any]
) -> Callable[..., Array]:
    """Score every token that is not masked, then the sequence; NaN without tokens."""

    def twin(x: Outputs, train: Outputs | None = None) -> Array:
        assert x.token_logits is not None
        count, length, _ = x.token_logits.shape
        mask = np.ones((count, length)) if x.token_mask is None else x.token_mask
        ids = np.zeros((count, length), int) if x.token_ids is None else x.token_ids
        scores = []
        with mp.workdps(DIGITS):
            for n in range(count):
                live = [t for t in range(length) if mask[n, t]]
                tokens = [
                    of_token(log_softmax(row), int(ids[n, t]))
                    for t in live
                    for row in logit_rows(Outputs(logits=x.token_logits[n, t : t + 1]))
                ]
                scores.append(float(of_sequence(tokens)) if live else np.nan)
        return np.array(scores, np.float64)

    return twin


def mean(values: list[Any]) -> Any:
    return sum(values) / len(values)


def negative_entropy(logs: LogSoftmax, own: int) -> Any:
    """Σ p ln p."""
    return sum(mp.exp(v) * v for v in logs.values())


def variance(logs: LogSoftmax, own: int) -> Any:
    """(1/V) Σ p² - 1/V²."""
    return sum(mp.exp(2 * v) for v in logs.values()) / len(logs) - mp.mpf(1) / len(logs) ** 2


def log_probability(logs: LogSoftmax, own: int) -> Any:
    """ln p of the token itself; -inf of a masked word."""
    return logs.get(own, -mp.inf)


SEQUENCE_TWINS: dict[str, Callable[..., Array]] = {
    "sequence_entropy": by_tokens(negative_entropy, mean),
    "sequence_log_probability": by_tokens(log_probability, mean),
    "sequence_softmax_variance": by_tokens(variance, mean),
    "sequence_worst_token": by_tokens(log_probability, min),
}


def sequence_cases() -> list[Case]:
    peer = fixture("sequences")
    given = peer["inputs"]
    x = Outputs(
        token_logits=floats(given["token_logits"]),
        token_mask=np.array(given["token_mask"]),
        token_ids=np.array(given["token_ids"]),
    )
    return [Case(name, "sequences", x, score) for name, score in peer["outputs"].items()]


SEQUENCE_CASES: list[Case] = sequence_cases()
