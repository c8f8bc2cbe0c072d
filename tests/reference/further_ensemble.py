"""Twin of the ensemble: other twins, made comparable on held-out rows and combined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ood_toolkit.outputs import Array, Outputs
from tests.reference.known import Case, fixture, floats

__all__ = ["ENSEMBLE_CASES", "ENSEMBLE_TWINS", "ensemble", "held_out"]


def held_out(train: Outputs) -> list[int]:
    """The second, seventh, twelfth, ... row of each class."""
    seen: dict[int, int] = {}
    rows = []
    labels = [0] * len(train) if train.labels is None else train.labels.tolist()
    for row, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] % 5 == 2:
            rows.append(row)
    return rows


def ensemble(
    x: Outputs,
    train: Outputs,
    members: str | tuple[Any, ...] = "energy,knn",
    combine: str = "zscore",
) -> Array:
    """Mean of (s - mean)/std, sum of ln((1 + #{h ≤ s})/(1 + n)), or mean of mid-ranks."""
    from tests.reference import TWINS  # it holds this twin too

    held = held_out(train)
    rest = train.rows(np.array([row for row in range(len(train)) if row not in set(held)]))
    names = members.split(",") if isinstance(members, str) else members
    total = np.zeros(len(x))
    for member in names:
        name, parameters = (
            (member["method"], member["parameters"])
            if isinstance(member, Mapping)
            else (member, {})
        )
        known = TWINS[name](train.rows(np.array(held)), rest, **parameters).tolist()
        new = TWINS[name](x, rest, **parameters).tolist()
        for row, s in enumerate(new):
            total[row] += made_comparable(s, known, combine)
    return total if combine == "fisher" else total / len(names)


def made_comparable(s: float, known: list[float], combine: str) -> float:
    n = len(known)
    if combine == "zscore":
        mean = math.fsum(known) / n
        std = math.sqrt(math.fsum((h - mean) ** 2 for h in known) / n)
        return (s - mean) / (std if max(known) > min(known) else 1.0)
    smaller, equal = sum(h < s for h in known), sum(h == s for h in known)
    if combine == "fisher":
        return math.log((1 + smaller + equal) / (1 + n))
    return (smaller + equal / 2) / n


def by_hand() -> list[Case]:
    """Logits (a, b) in whole numbers: max_logit and margin of them are worked out on paper."""
    known = fixture("ensemble")
    given = known["inputs"]
    train = Outputs(logits=floats(given["train_logits"]), labels=given["train_labels"])
    x = Outputs(logits=floats(given["logits"]))
    members = tuple(given["members"])
    return [
        Case("ensemble", "ensemble", x, score, train, {"members": members, "combine": combine})
        for combine, score in known["outputs"].items()
    ]


ENSEMBLE_TWINS: dict[str, Callable[..., Array]] = {"ensemble": ensemble}
ENSEMBLE_CASES: list[Case] = by_hand()
