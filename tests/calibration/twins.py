"""Each calibrator a second time: from the fitted numbers to probabilities, one row at a time.

Written from the equations, in plain loops and with fifty digits where a softmax is
involved.  A row is a list of logits; -inf is a masked class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mpmath import mp, mpf

mp.dps = 50

Row = list[float]
Twin = Callable[[Any, Row, dict[str, Row]], list[Any]]

__all__ = ["TWINS", "softmax_row"]


def softmax_row(z: list[Any]) -> list[Any]:
    weight = [mpf(0) if value == -math.inf else mp.exp(mpf(value)) for value in z]
    return [w / mp.fsum(weight) for w in weight]


def normalised(new: list[Any], old: list[Any]) -> list[Any]:
    """A billionth of the old probability is added before the row is made to sum to one."""
    mixed = [mpf(q) + mpf("1e-9") * p for q, p in zip(new, old, strict=True)]
    return [q / mp.fsum(mixed) for q in mixed]


def temperature(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    return softmax_row([mpf(v) / mpf(c.temperature) if v > -math.inf else v for v in z])


def vector(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    return softmax_row(
        [v if v == -math.inf else v * a + b for v, a, b in zip(z, c.scale, c.shift, strict=True)]
    )


def affine(c: Any, inputs: list[Any]) -> list[Any]:
    return [
        mp.fsum(mpf(w) * v for w, v in zip(row, inputs, strict=True)) + mpf(b)
        for row, b in zip(c.weight.tolist(), c.shift.tolist(), strict=True)
    ]


def matrix(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    return softmax_row(affine(c, [mpf(v) for v in z]))


def dirichlet(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    p = softmax_row(z)
    logs = [mp.log(max(q, mpf("1e-300"))) for q in p]
    new = affine(c, logs)
    return softmax_row([v if old > -math.inf else -math.inf for v, old in zip(new, z, strict=True)])


def beta(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    p = softmax_row(z)
    new = []
    for q, (a, b, shift) in zip(p, c.coefficients.tolist(), strict=True):
        if q == 0:
            new.append(mpf(0))
            continue
        t = a * mp.log(q) - b * mp.log(1 - q) + shift
        new.append(1 / (1 + mp.exp(-t)))
    return normalised(new, p)


def isotonic(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    p = softmax_row(z)
    new = []
    for k, q in enumerate(p):
        f = k if len(c.begins) > 2 else 0
        x = c.places[c.begins[f] : c.begins[f + 1]].tolist()
        y = c.values[c.begins[f] : c.begins[f + 1]].tolist()
        if q <= x[0]:
            new.append(mpf(y[0]))
        elif q >= x[-1]:
            new.append(mpf(y[-1]))
        else:
            i = max(j for j in range(len(x)) if x[j] <= q)
            new.append(y[i] + (y[i + 1] - y[i]) * (q - x[i]) / (mpf(x[i + 1]) - x[i]))
    return normalised([q if v > -math.inf else 0 for q, v in zip(new, z, strict=True)], p)


def binned(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    p = softmax_row(z)
    new = []
    for k, q in enumerate(p):
        edges = c.edges[c.begins[k] + k : c.begins[k + 1] + k + 1].tolist()
        values = c.values[c.begins[k] : c.begins[k + 1]].tolist()
        at = next(j for j in range(len(values)) if q <= edges[j + 1] or j == len(values) - 1)
        new.append(values[at])
    return normalised([q if v > -math.inf else 0 for q, v in zip(new, z, strict=True)], p)


def spline(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    p = softmax_row(z)
    best = z.index(max(z))
    x, y = c.places.tolist(), c.values.tolist()
    if p[best] <= x[0]:
        top = mpf(y[0])
    elif p[best] >= x[-1]:
        top = mpf(y[-1])
    else:
        i = max(j for j in range(len(x)) if x[j] <= p[best])
        top = y[i] + (y[i + 1] - y[i]) * (p[best] - x[i]) / (mpf(x[i + 1]) - x[i])
    rest = mp.fsum(q for k, q in enumerate(p) if k != best)
    if rest == 0:
        return [mpf(k == best) for k in range(len(z))]
    second = max(q for k, q in enumerate(p) if k != best) / rest
    top = max(top, second / (1 + second))
    return [top if k == best else (1 - top) * q / rest for k, q in enumerate(p)]


def ets(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    tempered, plain = temperature(c, z, more), softmax_row(z)
    count = sum(v > -math.inf for v in z)
    a, b, u = c.weights.tolist()
    return [
        a * t + b * q + (mpf(u) / count if v > -math.inf else 0)
        for t, q, v in zip(tempered, plain, z, strict=True)
    ]


def dac(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    scale = float(c.weights[0])
    for weight, name, bank in zip(c.weights[1:], ("features", *c.layers), c.banks, strict=True):
        row = more[name]
        size = math.sqrt(math.fsum(v * v for v in row))
        unit = [v / size for v in row]
        distances = sorted(math.dist(unit, other) for other in bank.tolist())
        scale += float(weight) * distances[min(c.calibrator.k, len(distances)) - 1]
    return softmax_row([mpf(v) / max(scale, 1e-20) if v > -math.inf else v for v in z])


def adaptive_temperature(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    p = softmax_row(z)
    h = -mp.fsum(q * mp.log(q + mpf("1e-9")) for q in p)
    factor = mpf(1)
    if h > 0.5:
        terms = ("-0.037", 4), ("0.481", 3), ("-2.3", 2), ("4.917", 1), ("-1.791", 0)
        factor = max(mp.fsum(mpf(a) * h**power for a, power in terms), mpf(1))
    return softmax_row([factor * mpf(v) if v > -math.inf else v for v in z])


def tempered_per_sample(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    seen = [mpf(v) for v in z if v > -math.inf]
    spread = max(seen) - min(seen) or mpf(1)
    low, high = mp.log(mpf("1e-6")), mp.log(mpf("1e6"))
    for _ in range(100):
        middle = (low + high) / 2
        p = softmax_row([v / (spread * mp.exp(middle)) for v in seen])
        divergence = mp.log(len(seen)) + mp.fsum(q * mp.log(q) for q in p if q > 0)
        if divergence > c.divergence:
            low = middle
        else:
            high = middle
    t = spread * mp.exp(low)
    return softmax_row([mpf(v) / t if v > -math.inf else v for v in z])


def spc(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    p = softmax_row(z)
    f = [v / c.size for v in more["features"]]
    said = []
    for net in range(3):
        first, second = c.first[net].tolist(), c.second[net].tolist()
        hidden = [
            max(math.fsum(v * first[d][h] for d, v in enumerate(f)) + c.first_shift[net][h], 0.0)
            for h in range(len(second))
        ]
        said.append(
            [
                math.fsum(v * second[h][k] for h, v in enumerate(hidden)) + c.second_shift[net][k]
                for k in range(len(z))
            ]
        )
    new = []
    for q, m, up, down in zip(p, *said, strict=True):
        shift = min(up - down, m - 2 * down, 2 * up - m) if abs(up + down - m) < 0.05 else 0
        new.append(min(max(q + shift, mpf(0)), mpf(1)))
    return normalised([q if v > -math.inf else 0 for q, v in zip(new, z, strict=True)], p)


def sparsemax(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    """The threshold by bisection: shares fall as it rises."""
    low, high = mpf(max(z)) - 1, mpf(max(z))
    for _ in range(150):
        middle = (low + high) / 2
        if mp.fsum(max(v - middle, mpf(0)) for v in z if v > -math.inf) > 1:
            low = middle
        else:
            high = middle
    return [max(v - low, mpf(0)) if v > -math.inf else mpf(0) for v in z]


def sparse_softmax(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    order = sorted(range(len(z)), key=lambda k: (-z[k], k))
    kept = set(order[: c.calibrator.k])
    return softmax_row([v if k in kept else -math.inf for k, v in enumerate(z)])


def stablemax(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    grown = [mpf(0) if v == -math.inf else mpf(v) + 1 if v >= 0 else 1 / (1 - mpf(v)) for v in z]
    return [s / mp.fsum(grown) for s in grown]


def auto(c: Any, z: Row, more: dict[str, Row]) -> list[Any]:
    return TWINS[c.chosen.name](c.chosen, z, more)


TWINS: dict[str, Twin] = {
    "adaptive_temperature": adaptive_temperature,
    "auto": auto,
    "bbq": binned,
    "beta": beta,
    "dac": dac,
    "dirichlet": dirichlet,
    "ets": ets,
    "histogram": binned,
    "isotonic": isotonic,
    "matrix": matrix,
    "sparse_softmax": sparse_softmax,
    "sparsemax": sparsemax,
    "spc": spc,
    "spline": spline,
    "stablemax": stablemax,
    "temperature": temperature,
    "tempered_per_sample": tempered_per_sample,
    "vector": vector,
}
