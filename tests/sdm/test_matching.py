"""Similarity and distance against sorting every distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_toolkit.detectors.sdm.distances import distance_quantiles
from ood_toolkit.detectors.sdm.matching import KNOWN_OOD, UNLABELLED, Support
from ood_toolkit.neighbors import runs
from tests.reference.further_sdm import distance_quantile, run


def assert_as_sorted(
    support: Support, queries: np.ndarray, predictions: np.ndarray, cap: int, exclude=None
) -> None:
    rows = list(zip(support.features.astype(float), support.labels, support.predictions,
                    strict=True))  # fmt: skip
    found = support.match(queries, predictions, cap, exclude)
    for i, f in enumerate(queries):
        left_out = -1 if exclude is None else int(exclude[i])
        q, nearest, breaker = run(f, predictions[i], rows, left_out)
        assert found.similarity[i] == min(q, cap)
        assert found.nearest[i] == pytest.approx(nearest, rel=1e-14)
        assert found.breaker[i] == (breaker if q < cap else -1)


SQUARE = Support(
    np.array([[0.0, 0], [0, 2], [2, 0], [2, 2]]), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
)


@pytest.mark.parametrize(
    ("f", "prediction", "left_out", "q", "squared"),
    [((0, 1), 0, -1, 2, 1), ((2, 1), 1, -1, 1, 1), ((1, 1), 0, -1, 2, 2), ((0, 2), 0, 1, 1, 4)],
)
def test_golden(f: tuple, prediction: int, left_out: int, q: int, squared: float) -> None:
    """Of the authors' tests: the third query is as far from all four rows."""
    found = SQUARE.match(np.array([f], float), np.array([prediction]), 2048, np.array([left_out]))
    assert found.similarity.tolist() == [q]
    assert found.nearest**2 == pytest.approx([squared], rel=1e-15)


grids = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-1, 2), st.integers(0, 2)),
    min_size=1,
    max_size=25,
)


@given(grids, grids, st.sampled_from([1, 2, 5, 2048]))
def test_ties_and_duplicates(rows: list, asked: list, cap: int) -> None:
    """Points of a small grid: most distances are shared."""
    a, b = np.array(rows), np.array(asked)
    support = Support(a[:, :2].astype(float), a[:, 2], a[:, 3])
    assert_as_sorted(support, b[:, :2].astype(float), b[:, 3], cap)
    exclude = np.arange(len(a))
    assert_as_sorted(support, a[:, :2].astype(float), a[:, 3], cap, exclude)
    exclude[::2] = -1
    assert_as_sorted(support, a[:, :2].astype(float), a[:, 3], cap, exclude)


def crowded(seed: int, rows: int = 600) -> tuple[Support, np.ndarray, np.ndarray]:
    """Three classes far apart, few rows that break a run, some positions shared."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    f = 20.0 * np.eye(3)[y] + rng.normal(size=(rows, 3))
    f[::7] = f[3]
    said = np.where(rng.uniform(size=rows) < 0.01, (y + 1) % 3, y)
    y[5], y[6] = UNLABELLED, KNOWN_OOD
    queries = 20.0 * np.eye(3)[rng.integers(0, 3, 60)] + rng.normal(size=(60, 3))
    return Support(f, y, said), queries, queries.argmax(axis=1)


@pytest.mark.parametrize("cap", [64, 65, 100, 128, 150, 2048])
@pytest.mark.parametrize("seed", range(3))
def test_long_runs(seed: int, cap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    support, queries, predictions = crowded(seed)
    monkeypatch.setattr(runs, "MOST_ROWS", 37)
    assert_as_sorted(support, queries, predictions, cap)
    rows = np.arange(0, 600, 5)
    assert_as_sorted(support, support.features[rows], support.predictions[rows], cap, rows)
    assert (support.match(queries, predictions, cap).similarity > 60).any()


def test_a_support_without_a_breaking_row() -> None:
    rng = np.random.default_rng(0)
    for rows in (1, 63, 64, 65, 200):
        support = Support(rng.normal(size=(rows, 2)), np.zeros(rows, int), np.zeros(rows, int))
        found = support.match(np.zeros((2, 2)), np.array([0, 1]), 2048)
        assert found.similarity.tolist() == [rows, 0]
        assert found.breaker[0] == -1
        alone = support.match(support.features[:1], np.array([0]), 2048, np.array([0]))
        assert alone.similarity.tolist() == [rows - 1]
        assert np.isinf(alone.nearest).tolist() == [rows == 1]


@pytest.mark.parametrize("label", [UNLABELLED, KNOWN_OOD, 1])
def test_a_row_that_vouches_for_nothing_shortens_runs(label: int) -> None:
    f = np.arange(100.0)[:, np.newaxis]
    y = np.zeros(100, dtype=int)
    before = Support(f, y, y).match(np.zeros((1, 1)), np.array([0]), 2048)
    y = y.copy()
    y[70] = label
    after = Support(f, y, np.where(y < 0, 0, y)).match(np.zeros((1, 1)), np.array([0]), 2048)
    assert (before.similarity[0], after.similarity[0], after.breaker[0]) == (100, 70, 70)


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_support_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f, y, said = rng.normal(size=(90, 2)), rng.integers(0, 2, 90), rng.integers(0, 2, 90)
    queries, predictions = rng.normal(size=(5, 2)), rng.integers(0, 2, 5)
    order = rng.permutation(90)
    a = Support(f, y, said).match(queries, predictions, 2048)
    b = Support(f[order], y[order], said[order]).match(queries, predictions, 2048)
    assert a.similarity.tolist() == b.similarity.tolist()
    assert a.nearest.tolist() == b.nearest.tolist()


def test_self_is_left_out_by_number_not_by_distance() -> None:
    f = np.zeros((4, 2))
    y = np.array([0, 0, 1, 0])
    found = Support(f, y, y).match(f, y, 2048, np.arange(4))
    assert found.similarity.tolist() == [1, 1, 0, 2]
    assert found.nearest.tolist() == [0, 0, 0, 0]


values = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0]), max_size=6).map(sorted)


@given(st.lists(values, min_size=1, max_size=4), values)
def test_distance_quantiles(known: list, nearest: list) -> None:
    got, lowest = distance_quantiles(np.array(nearest), [np.array(k) for k in known])
    assert got == pytest.approx([distance_quantile(t, known) for t in nearest], rel=1e-15)
    for t, c, d in zip(nearest, lowest, got, strict=True):
        assert distance_quantile(t, [known[c]]) == pytest.approx(d)
    assert (np.diff(got) <= 0).all()


def test_an_infinite_distance_is_beyond_all() -> None:
    assert distance_quantiles(np.array([np.inf]), [np.array([1.0, 2.0])])[0].tolist() == [0.0]
