"""The radix sort against numpy's, on every shape of input that steers it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.errors import InputError
from ood_toolkit.kernels import sorting
from ood_toolkit.kernels.sorting import scores_of, sort_descending, sort_pair_descending
from ood_toolkit.kernels.threads import thread_count
from tests.metrics.score_strategies import compiled

WIDTHS = (np.float32, np.float64)


def check(scores):
    keys, first_bad = sort_descending(scores)
    assert first_bad == -1
    assert (keys[1:] >= keys[:-1]).all()
    found = scores_of(keys)
    assert found.dtype == scores.dtype
    assert not np.signbit(found[found == 0]).any()
    np.testing.assert_array_equal(found, np.sort(scores)[::-1])


@pytest.mark.parametrize("dtype", WIDTHS)
@compiled
@given(data=st.data())
def test_equals_numpy(dtype, data):
    check(data.draw(hnp.arrays(dtype, st.integers(0, 200), elements={"allow_nan": False})))


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.normal(size=20_000),
        lambda rng: np.full(5_000, 0.25),
        lambda rng: np.round(rng.normal(size=20_000), 1),
        lambda rng: 1.0 + rng.integers(0, 2**40, 20_000) * 2.0**-52,  # one octave, close by
        lambda rng: np.append(1.0 + rng.integers(0, 2**20, 20_000) * 2.0**-52, [1e300, -1e300]),
        lambda rng: 1.0 - np.exp(-rng.exponential(20.0, 20_000)),  # saturated probabilities
        lambda rng: rng.integers(-1_000, 1_000, 20_000) * 5e-324,
        lambda rng: np.append(rng.normal(size=1_000), [np.inf, -np.inf, 0.0, -0.0] * 50),
        lambda rng: np.repeat(rng.normal(size=300), 40) + rng.integers(0, 9, 12_000) * 1e-16,
        lambda rng: np.arange(3_000.0),
        lambda rng: -np.arange(3_000.0),
    ],
)
def test_every_way_through_the_sort(dtype, make):
    with np.errstate(over="ignore"):
        check(make(np.random.default_rng(0)).astype(dtype))


def test_keys_tie_exactly_where_scores_do():
    keys, _ = sort_descending(np.array([0.0, -0.0, 5e-324, -5e-324, np.inf, np.inf]))
    assert np.diff(keys.astype(object)).tolist().count(0) == 2


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("nan", [np.nan, -np.nan])
def test_first_nan_is_named(dtype, nan):
    scores = np.linspace(-1, 1, 1_000).astype(dtype)
    scores[[700, 300, 999]] = nan
    assert sort_descending(scores).first_bad == 300


@pytest.mark.parametrize("layout", ["strided", "reversed", "read-only"])
def test_any_memory_layout(layout):
    scores = np.random.default_rng(1).normal(size=999)
    expected = np.sort(scores[::2] if layout == "strided" else scores)[::-1]
    view = {"strided": scores[::2], "reversed": scores[::-1], "read-only": scores}[layout]
    view.flags.writeable = False
    before = view.copy()
    np.testing.assert_array_equal(scores_of(sort_descending(view).keys), expected)
    np.testing.assert_array_equal(view, before)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_pair_has_the_same_bits_with_any_number_of_threads(monkeypatch, threads):
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
    monkeypatch.setattr(sorting, "PARALLEL_FROM", 10)
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=5_000), rng.normal(size=3_000)
    for scores, found in zip((first, second), sort_pair_descending(first, second), strict=True):
        np.testing.assert_array_equal(scores_of(found.keys), np.sort(scores)[::-1])


def test_thread_count(monkeypatch):
    monkeypatch.delenv("OOD_TOOLKIT_THREADS", raising=False)
    assert thread_count() >= 1
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", "3")
    assert thread_count() == 3
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("OOD_TOOLKIT_THREADS", bad)
        with pytest.raises(InputError, match="OOD_TOOLKIT_THREADS"):
            thread_count()
