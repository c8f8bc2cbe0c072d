"""The published schemes against plain loops over their own equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.schemes import SCHEMES
from ood_toolkit.kernels.statistics import log_sum_exp
from ood_toolkit.kernels.top_classes import softmax_top_k

UNITS = 4  # in the last place, of a probability and of max(|lse|, 1)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def three_pass(z: list[float]) -> tuple[list[float], float]:
    top = max(z)
    total = math.fsum(math.exp(x - top) for x in z)
    return [math.exp(x - top) / total for x in z], top + math.log(total)


def online_normalizer(z: list[float]) -> tuple[list[float], float]:
    top, total = -math.inf, 0.0
    for x in z:
        if x > top:
            total *= math.exp(top - x)
            top = x
        if x > -math.inf:
            total += math.exp(x - top)
    return [math.exp(x - top) / total for x in z], top + math.log(total)


def pair(x: float) -> tuple[float, int]:
    """e^x as a mantissa and a power of two."""
    power = round(x / math.log(2)) if x > -math.inf else -(10**6)
    return (math.exp(x - power * math.log(2)) if x > -math.inf else 0.0), power


def two_pass(z: list[float]) -> tuple[list[float], float]:
    total, power = 0.0, -(10**6)
    for x in z:
        m, n = pair(x)
        above = max(power, n)
        total = math.ldexp(total, power - above) + math.ldexp(m, n - above)
        power = above
    shares = [math.ldexp(m, n - power) / total for m, n in map(pair, z)]
    return shares, power * math.log(2) + math.log(total)


TWINS = {"three_pass": three_pass, "online_normalizer": online_normalizer, "two_pass": two_pass}


def test_every_scheme_has_a_twin() -> None:
    assert TWINS.keys() == SCHEMES.keys()


def rows_of(classes: int, dtype: type) -> np.ndarray:
    rng = np.random.default_rng(classes)
    logits = rng.normal(0.0, rng.choice([0.1, 3.0, 60.0], (9, 1)), (9, classes))
    logits[4] = np.sort(logits[4])
    logits[5] = np.sort(logits[5])[::-1]
    logits[6] = 2.0
    logits[7, : classes // 2] = -np.inf
    logits[8, 1:] = -np.inf
    return logits.astype(dtype)


@dtypes
@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("classes", [2, 15, 16, 17, 100, 511, 513, 1100])
def test_equals_its_twin(name: str, classes: int, dtype: type) -> None:
    logits = rows_of(classes, dtype)
    found = SCHEMES[name](logits)
    assert found.probabilities.shape == logits.shape
    assert found.probabilities.dtype == dtype
    eps = np.finfo(dtype).eps
    for z, p, lse in zip(logits.tolist(), found.probabilities, found.log_sum_exp, strict=True):
        expected, exact = TWINS[name](z)
        # the difference to the largest is rounded; so are, in the twin, arguments and sums
        live, of_twin = np.maximum(z, -800.0), 2.0**-53 * classes
        relative = eps * (UNITS + 0.5 * (max(z) - live))
        relative = relative + of_twin + 2.0**-52 * (UNITS + abs(live) + max(z) - live)
        nothing = 2.0**-99 if name == "two_pass" else 2e-36
        np.testing.assert_array_less(abs(p - expected), relative * expected + nothing)
        assert abs(lse - exact) <= UNITS * eps * max(abs(exact), 1.0) + of_twin


@dtypes
def test_the_schemes_and_the_default_agree(dtype: type) -> None:
    logits = rows_of(300, dtype)
    default = row_statistics(logits, [log_sum_exp()])[log_sum_exp()]
    for scheme in SCHEMES.values():
        np.testing.assert_allclose(
            scheme(logits).log_sum_exp, default, rtol=UNITS * np.finfo(dtype).eps
        )


def test_other_types_are_refused() -> None:
    for function in (*SCHEMES.values(), lambda z: softmax_top_k(z, 1)):
        with pytest.raises(InputError, match="logits must be float32 or float64, got float16"):
            function(np.zeros((2, 3), np.float16))


def slow_top_k(z: list[float], k: int) -> tuple[list[float], list[int]]:
    order = sorted(range(len(z)), key=lambda j: (-z[j], j))[:k]
    p = three_pass(z)[0]
    return [p[j] for j in order], order


@dtypes
@settings(max_examples=120)
@given(data=st.data())
def test_top_k(dtype: type, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(2, 70)))
    ties = st.sampled_from([0.0, -0.0, 1.0, 2.0, -np.inf])
    elements = data.draw(st.sampled_from([ties, st.floats(-50.0, 50.0, width=32), ties]))
    logits = data.draw(hnp.arrays(dtype, shape, elements=elements))
    logits[:, data.draw(st.integers(0, shape[1] - 1))] = 1.0
    k = data.draw(st.integers(1, shape[1]))
    values, classes = softmax_top_k(logits, k)
    for z, p, order in zip(logits.tolist(), values, classes.tolist(), strict=True):
        expected, which = slow_top_k(z, k)
        assert order == which
        np.testing.assert_allclose(p, expected, rtol=60 * np.finfo(dtype).eps, atol=1e-300)


def test_top_k_of_many_classes() -> None:
    logits = np.random.default_rng(0).standard_normal((3, 3001)).astype(np.float32)
    for k in (1, 5, 100):
        _, classes = softmax_top_k(logits, k)
        np.testing.assert_array_equal(classes, np.argsort(-logits, kind="stable")[:, :k])
    for k in (0, 3002):
        with pytest.raises(InputError, match=f"k must be 1 ... 3001, got {k}"):
            softmax_top_k(logits, k)
