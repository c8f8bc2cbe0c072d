"""Twin of the SDM estimator: every support row sorted by distance, every share counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ood_toolkit.outputs import Array, Outputs
from tests.reference.further_ensemble import held_out
from tests.reference.known import Case, fixture, floats

__all__ = ["SDM_CASES", "SDM_TWINS", "activation", "distance_quantile", "judge", "run", "sdm"]

OFFSET = 2.0


def predicted(z: Array) -> int:
    return max(range(len(z)), key=lambda c: (z[c], -c))


def run(
    f: Array, prediction: int, support: list[tuple[Array, int, int]], left_out: int = -1
) -> tuple[int, float, int]:
    """q, the distance to the nearest support row, and the row that ends the run, or -1."""
    away = [math.dist(f.tolist(), g.tolist()) for g, _, _ in support]
    order = sorted((d, i) for i, d in enumerate(away) if i != left_out)
    q = 0
    for _, i in order:
        _, label, said = support[i]
        if not label == said == prediction:
            return q, order[0][0], i
        q += 1
    return q, order[0][0] if order else math.inf, -1


def distance_quantile(t: float, known: list[list[float]]) -> float:
    """min_c (1 - #{a ∈ A_c: a < t} / |A_c|); 0 for an empty A_c."""
    return min(1 - sum(a < t for a in of) / len(of) if of else 0.0 for of in known)


def activation(z: Array, q: float, d: float) -> list[float]:
    """(2 + q)^(d z_i) over their sum; a masked class, -inf, has none."""
    top = max(z)
    raised = [0.0 if v == -math.inf else (OFFSET + q) ** (d * (v - top)) for v in z]
    return [v / sum(raised) for v in raised]


def rank(q: float, bits: float, nearest: float, usual: float) -> float:
    """q', then l / (1 + l) of bits l = -ln(1 - p), then 1 / (2 + ln(1 + distance / usual))."""
    grid = 2**14
    sure = 1.0 if bits == math.inf else bits / (1 + bits)
    near = 1 / (2 + math.log(1 + nearest / usual))
    parts = math.floor(q * grid), min(math.floor(sure * grid), grid - 1), near
    return parts[0] / grid + parts[1] / grid**2 + parts[2] / grid**2


def weights(v: Array, scale: Array, labels: list[int]) -> Array:
    """1000 steps W ← W - ∇/L from the identity."""
    weight = np.eye(v.shape[1])
    step = max(1.0, np.mean([s * np.dot(r, r) for s, r in zip(scale, v, strict=True)]) / 2)
    truth = np.eye(v.shape[1])[labels]
    for _ in range(1000):
        raised = np.exp(scale[:, None] * (v @ weight.T))
        slope = (raised / raised.sum(axis=1, keepdims=True) - truth).T @ v / len(v)
        weight = weight - slope / step
    return weight


def quantile_of_class(p: list[float], known: list[list[float]]) -> Array:
    """v_c = #{a ∈ P_c: a < p_c} / |P_c|, and 1 from the largest on."""
    return np.array(
        [
            0.0 if not a else 1.0 if value >= max(a) else sum(b < value for b in a) / len(a)
            for value, a in zip(p, known, strict=True)
        ]
    )


def judge(
    x: Outputs,
    train: Outputs,
    validation: Outputs,
    cap: int = 2048,
    temperature: float = 1.0,
    normalize: bool = False,
    variant: str = "activations",
) -> dict[str, list[Any]]:
    """q, nearest, d, p of every class, -ln(1 - p) and q' of x; and of the held-out rows."""

    def rows(r: Outputs) -> list[tuple[Array, Array]]:
        f = np.array(r.features, np.float64)
        if normalize:
            f = f / np.linalg.norm(f, axis=1, keepdims=True)
        return list(zip(f, np.array(r.logits, np.float64) / temperature, strict=True))

    support = [
        (f, int(y), predicted(z)) for (f, z), y in zip(rows(train), train.labels, strict=True)
    ]
    classes = range(train.classes)
    labels = [int(y) for y in validation.labels]
    found = [run(f, predicted(z), support) for f, z in rows(validation)]
    known = [[t for (q, t, _), y in zip(found, labels, strict=True) if y == c and q > 0]
             for c in classes]  # fmt: skip

    def first(f: Array, z: Array) -> tuple[int, float, float, list[float]]:
        q, nearest, _ = run(f, predicted(z), support)
        d = distance_quantile(nearest, known)
        return min(q, cap), nearest, d, activation(z, min(q, cap), d)

    held = [first(f, z) for f, z in rows(validation)]
    own = [[p[y] for (_, _, _, p), y in zip(held, labels, strict=True) if y == c] for c in classes]
    if variant == "verification":
        said = [predicted(z) for _, z in rows(validation)]
        v = np.array([quantile_of_class(p, own) for *_, p in held])
        scale = [math.log(2 + v[i, said[i]] * math.log(2 + q)) for i, (q, *_) in enumerate(held)]
        weight = weights(v, np.array(scale), labels)
    answer: dict[str, list[Any]] = {k: [] for k in ("q", "nearest", "d", "p", "bits", "rescaled")}
    for f, z in rows(x):
        q, nearest, d, p = first(f, z)
        y = predicted(z)
        if variant == "verification":
            v = quantile_of_class(p, own)
            rescaled = v[y] * math.log(2 + q)
            p = activation(weight @ v, rescaled, 1.0)
            rescaled = rescaled if predicted(np.array(p)) == y and rescaled >= 1 else 0.0
        else:
            rescaled = min(q, (2 + q) ** p[y])
        rest = math.fsum(p[c] for c in classes if c != y)
        bits = -math.log(rest) if rest > 0 else math.inf
        for key, value in zip(answer, (q, nearest, d, p, bits, rescaled), strict=True):
            answer[key].append(value)
    answer["held_nearest"] = [nearest for _, nearest, _, _ in held]
    return answer


def sdm(
    x: Outputs,
    train: Outputs,
    alpha: float = 0.95,
    validation: Outputs | None = None,
    **parameters: Any,
) -> Array:
    """q', p and the nearest distance in one number; alpha moves the decision alone."""
    assert 0.5 < alpha <= 1
    if validation is None:
        held = held_out(train)
        rest = [row for row in range(len(train)) if row not in set(held)]
        validation, train = train.rows(np.array(held)), train.rows(np.array(rest))
    found = judge(x, train, validation, **parameters)
    usual = float(np.median(found["held_nearest"])) or 1.0
    return np.array(
        [
            rank(*parts, usual)
            for parts in zip(found["rescaled"], found["bits"], found["nearest"], strict=True)
        ],
        np.float64,
    )


def end_to_end() -> Case:
    """The known answer's q', probability and distances, put in order by the rule above."""
    known = fixture("known_answers")["sdm_end_to_end_alpha0.9"]

    def outputs(values: Any, labels: Any = None) -> Outputs:
        f = floats(values)
        return Outputs(features=f, logits=np.hstack([-f, f]), labels=labels)

    usual = float(np.median([row["dnear"] for row in known["cal"]]))
    score = [
        rank(row["qp"], -math.log(min(row["sdm"])), row["dnear"], usual) for row in known["test"]
    ]
    return Case(
        "sdm",
        "sdm_end_to_end_alpha0.9",
        outputs(known["test_x"]),
        score,
        outputs(known["support"], known["support_y"]),
        {"alpha": 0.9},
        validation=outputs(known["cal_x"], known["cal_y"]),
    )


SDM_CASES: list[Case] = [end_to_end()]

SDM_TWINS: dict[str, Callable[..., Array]] = {"sdm": sdm}
