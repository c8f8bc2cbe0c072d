"""Calibration errors and proper scores against plain loops, torchmetrics and known answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning, UnknownName
from tests.reference import metrics_reference as slow
from tests.reference.known import fixture

CLOSE = 1e-12


def binary(confidence, correct):
    """Probabilities of two classes, and labels, with these top labels (confidence >= 1/2)."""
    p = np.asarray(confidence, np.float64)
    return np.stack([p, 1 - p], axis=1), np.where(correct, 0, 1)


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sample(rows, classes, seed, scale=2.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, classes)) * scale
    labels = np.array([rng.choice(classes, p=p) for p in softmax(0.6 * logits)])
    return logits, softmax(logits), labels


ON_EDGES = st.lists(
    st.tuples(st.one_of(st.integers(0, 15).map(lambda k: k / 15), st.floats(0, 1)), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(ON_EDGES, st.sampled_from([1, 5, 15]), st.sampled_from(["equal_width", "equal_mass"]))
def test_bins_equal_the_plain_loops(rows, bins, binning):
    confidence, correct = map(list, zip(*rows, strict=True))
    edges = slow.even_edges(bins) if binning == "equal_width" else slow.mass_edges(confidence, bins)
    table = slow.binned(confidence, correct, edges)
    found = metrics.reliability(confidence, correct, bins, binning)
    held = found.rows > 0
    np.testing.assert_array_equal(found.rows[held], [n for n, _, _ in table])
    np.testing.assert_allclose(found.accuracy[held], [a for _, a, _ in table], atol=CLOSE)
    np.testing.assert_allclose(found.confidence[held], [c for _, _, c in table], atol=CLOSE)
    np.testing.assert_array_equal(found.lower, edges[:-1])
    np.testing.assert_array_equal(found.upper, edges[1:])
    assert np.isnan(found.accuracy[~held]).all()


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
@pytest.mark.parametrize("bins", [1, 4, 15, 60])
def test_errors_equal_the_plain_loops(bins, binning):
    _, p, labels = sample(137, 4, seed=bins)
    p = np.round(p, 2)
    confidence, correct = (x.tolist() for x in metrics.top_label(p, labels))
    edge = {"equal_width": lambda _: slow.even_edges(bins), "equal_mass": None}[binning]
    edge = edge or (lambda c: slow.mass_edges(c, bins))
    table = slow.binned(confidence, correct, edge(confidence))
    by_class = [
        slow.ece(slow.binned(column, hits, edge(column)))
        for column, hits in ((p[:, c].tolist(), (labels == c).tolist()) for c in range(4))
    ]
    for found, expected in (
        (metrics.expected_calibration_error(p, labels, bins, binning), slow.ece(table)),
        (
            metrics.maximum_calibration_error(p, labels, bins, binning),
            max(abs(a - c) for _, a, c in table),
        ),
        (metrics.debiased_calibration_error(p, labels, bins, binning), slow.debiased(table)),
        (metrics.classwise_calibration_error(p, labels, bins, binning), sum(by_class) / 4),
    ):
        assert found == pytest.approx(expected, abs=CLOSE)
    found = metrics.ks_calibration_error(p, labels)
    assert found == pytest.approx(slow.ks_error(confidence, correct), abs=CLOSE)


def test_known_answers():
    known = fixture("known_answers")["ece"]
    p, labels = binary(known["conf"], known["correct"])
    ece = metrics.expected_calibration_error
    assert ece(p, labels, bins=5) == pytest.approx(known["bins5"], abs=CLOSE)
    assert ece(p, labels) == pytest.approx(known["bins15"], abs=CLOSE)
    found = metrics.top_label_brier(known["conf"], known["correct"])
    assert found == pytest.approx(known["brier_top1"], abs=CLOSE)


def test_equal_torchmetrics_off_the_edges():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    _, p, labels = sample(3_000, 7, seed=2)
    tensors = torch.tensor(p), torch.tensor(labels)
    for norm, ours in (
        ("l1", metrics.expected_calibration_error),
        ("max", metrics.maximum_calibration_error),
    ):
        expected = functional.multiclass_calibration_error(
            *tensors, num_classes=7, n_bins=15, norm=norm
        )
        assert ours(p, labels) == pytest.approx(float(expected), abs=1e-6)  # float32 inside


def test_confidences_on_edges():
    # (lower, upper]: 1/15 belongs to the first bin, what lies above it to the second
    table = metrics.reliability([0.0, 1 / 15, np.nextafter(1 / 15, 1), 1.0], [1, 0, 1, 1])
    assert table.rows.tolist() == [2, 1, *[0] * 11, 0, 1]


def test_equal_confidences_share_a_bin():
    table = metrics.reliability([0.3] * 7 + [0.9], [True] * 8, bins=4, binning="equal_mass")
    assert table.rows.tolist() == [7, 1]
    table = metrics.reliability([1.0] * 5, [True] * 5, bins=3, binning="equal_mass")
    assert table.rows.tolist() == [5]


def test_debiasing_removes_the_bias():
    # Calibrated by construction: the plain error is far from 0 at 60 rows, the debiased not.
    rng = np.random.default_rng(8)
    plain, debiased = [], []
    for _ in range(300):
        confidence = rng.uniform(0.5, 1.0, 60)
        p, labels = binary(confidence, rng.random(60) < confidence)
        table = metrics.reliability(*metrics.top_label(p, labels), 15, "equal_mass")
        share, gap = table.gaps()
        plain.append(share @ gap**2)
        n, accuracy = table.rows, table.accuracy
        debiased.append(share @ (gap**2 - accuracy * (1 - accuracy) / (n - 1)))
    assert np.mean(plain) > 0.03
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(300)


@pytest.mark.parametrize(("rows", "seed"), [(1, 0), (12, 1), (25, 2)])
def test_smooth_error_equals_the_plain_loops(rows, seed):
    _, p, labels = sample(rows, 3, seed)
    confidence, correct = (x.tolist() for x in metrics.top_label(p, labels))
    expected = slow.smooth_ece(confidence, correct, steps=400)
    assert metrics.smooth_calibration_error(p, labels) == pytest.approx(expected, abs=1e-4)


def test_smooth_error_of_the_extremes():
    sure = np.array([[1.0, 0.0]] * 5)
    assert metrics.smooth_calibration_error(sure, [0] * 5) == pytest.approx(0.0, abs=1e-8)
    # all the mass at one end: its size is 1 at every bandwidth
    assert metrics.smooth_calibration_error(sure, [1] * 5) == pytest.approx(1.0, abs=1e-6)
    p, labels = binary([0.5] * 4, [True, False, True, False])
    assert metrics.smooth_calibration_error(p, labels) == pytest.approx(0.0, abs=1e-8)


# logits shorter than float64 are exponentiated in float32
ROUNDING = {np.float16: 4 * 2.0**-23, np.float32: 4 * 2.0**-23, np.float64: CLOSE}


@pytest.mark.parametrize("dtype", ROUNDING)
def test_proper_scores_equal_scikit_learn(dtype):
    logits, _, labels = sample(200, 5, seed=3)
    logits = logits.astype(dtype)
    p = softmax(logits.astype(np.float64))
    expected = log_loss(labels, p, labels=range(5))
    assert metrics.nll(logits, labels) == pytest.approx(expected, rel=ROUNDING[dtype])
    twin = slow.nll(logits.astype(np.float64).tolist(), labels.tolist())
    assert metrics.nll(logits, labels) == pytest.approx(twin, rel=ROUNDING[dtype])
    expected = brier_score_loss(labels, p, labels=range(5), scale_by_half=False)
    assert metrics.brier(p, labels) == pytest.approx(expected, rel=1e-12)
    twin = slow.brier(p.tolist(), labels.tolist())
    assert metrics.brier(p, labels) == pytest.approx(twin, rel=1e-12)
    predictions = p.argmax(axis=1)
    assert metrics.accuracy(predictions, labels) == accuracy_score(labels, predictions)


def test_nll_of_extreme_logits():
    assert metrics.nll([[1e30, -1e30]], [0]) == 0.0
    small = metrics.nll(np.array([[30.0, 0.0]], np.float32), [0])
    assert small == pytest.approx(math.exp(-30), rel=4 * 2.0**-23)
    assert metrics.nll([[1e30, -1e30]], [1]) == pytest.approx(2e30)
    assert metrics.nll([[0.0, 0.0, -np.inf]], [0]) == pytest.approx(math.log(2))
    assert metrics.nll([[0.0, 0.0, -np.inf]], [2]) == math.inf


def test_first_of_tied_classes_is_the_prediction():
    confidence, correct = metrics.top_label([[0.5, 0.5], [0.5, 0.5]], [0, 1])
    assert confidence.tolist() == [0.5, 0.5]
    assert correct.tolist() == [True, False]


UNIFORM = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: metrics.accuracy([0, 1], [0, -1]), r"labels\[1\] is -1: 1 rows have no known"),
        (lambda: metrics.brier(UNIFORM, [0, 1, -1]), r"labels\[2\] is -1"),
        (lambda: metrics.brier(UNIFORM, [0, 1, 2]), r"labels\[2\] is 2, but there are 2 classes"),
        (lambda: metrics.brier(UNIFORM, [0, 1]), "labels has 2 rows where 3"),
        (lambda: metrics.brier(UNIFORM, [0, 1.5, 1]), r"labels\[1\] is 1.5, not a class"),
        (lambda: metrics.brier(UNIFORM, ["a", "b", "c"]), "labels must be class numbers"),
        (lambda: metrics.brier([[0.5, math.nan]], [0]), r"probabilities\[0, 1\] is nan"),
        (lambda: metrics.brier([[4.0, -1.0]], [0]), "logits must go through a softmax"),
        (lambda: metrics.brier([0.5, 0.5], [0, 1]), r"must be \(N, C\) with C >= 2"),
        (lambda: metrics.brier([["a", "b"]], [0]), "must be numbers"),
        (lambda: metrics.nll([[0.0, 1.0], [math.nan, 0.0]], [0, 0]), "logits: row 1"),
        (lambda: metrics.nll([[0.0], [1.0]], [0, 0]), "C >= 2"),
        (lambda: metrics.reliability([0.5], [True], bins=0), "bins is 0"),
        (lambda: metrics.reliability([0.5], [True], bins=2.5), "bins is 2.5"),
        (lambda: metrics.expected_calibration_error(UNIFORM, [0, 1, -1]), r"labels\[2\] is -1"),
    ],
)
def test_wrong_input_is_refused(call, match):
    with pytest.raises(InputError, match=match):
        call()


def test_whole_floats_are_labels():
    assert metrics.accuracy([0, 1], [0.0, 1.0]) == 1.0


def test_unknown_binning():
    with pytest.raises(UnknownName, match="did you mean 'equal_mass'"):
        metrics.expected_calibration_error(UNIFORM, [0, 0, 0], binning="mass")


def test_no_rows():
    p, labels = np.empty((0, 3)), np.empty(0, int)
    for call in (
        metrics.expected_calibration_error,
        metrics.maximum_calibration_error,
        metrics.classwise_calibration_error,
        metrics.debiased_calibration_error,
        metrics.ks_calibration_error,
        metrics.smooth_calibration_error,
        metrics.brier,
        metrics.nll,
        lambda *_: metrics.accuracy([], []),
        lambda *_: metrics.top_label_brier([], []),
    ):
        with pytest.warns(ToolkitWarning, match="there are no rows"):
            assert math.isnan(call(p, labels))
    assert metrics.reliability([], []).rows.sum() == 0


# Brier's parts, and intervals


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_parts_of_the_brier_score(bins, binning):
    _, p, labels = sample(150, 3, seed=bins)
    found = metrics.brier_decomposition(p, labels, bins, binning)
    expected = np.zeros(4)
    for c in range(3):
        column, hits = p[:, c].tolist(), (labels == c).tolist()
        edges = slow.even_edges(bins) if binning == "equal_width" else slow.mass_edges(column, bins)
        base = sum(hits) / 150
        for i, (low, high) in enumerate(itertools.pairwise(edges)):
            at = [k for k in range(150) if (low < column[k] or i == 0) and column[k] <= high]
            if not at:
                continue
            mean = sum(column[k] for k in at) / len(at)
            frequency = sum(hits[k] for k in at) / len(at)
            spread = sum((column[k] - mean) ** 2 for k in at)
            along = sum((column[k] - mean) * (hits[k] - frequency) for k in at)
            expected += np.array([
                len(at) * (mean - frequency) ** 2,
                len(at) * (frequency - base) ** 2,
                0.0,
                spread - 2 * along,
            ]) / 150  # fmt: skip
        expected[2] += base * (1 - base)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    total = found.reliability - found.resolution + found.uncertainty + found.within
    assert total == pytest.approx(metrics.brier(p, labels), abs=1e-12)


def test_one_bin_for_each_probability_hides_nothing():
    p, labels = binary([0.5, 0.75, 0.75, 1.0] * 10, [True, False, True, True] * 10)
    assert metrics.brier_decomposition(p, labels, 20).within == pytest.approx(0.0, abs=1e-12)


def test_the_interval_of_a_mean_is_the_normal_one():
    rng = np.random.default_rng(0)
    values = rng.normal(size=2000)
    low, high = metrics.metric_interval(np.mean, values, resamples=2000)
    error = values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert metrics.metric_interval(np.mean, values) == metrics.metric_interval(np.mean, values)


def test_intervals_of_calibration_metrics_hold_them():
    logits, p, labels = sample(300, 4, seed=9)
    for metric in (metrics.nll, metrics.brier, metrics.debiased_calibration_error):
        arrays = (logits if metric is metrics.nll else p, labels)
        low, high = metrics.metric_interval(metric, *arrays, resamples=200, level=0.9)
        assert low < metric(*arrays) < high


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"resamples": 0}, "resamples is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"level": 1.0}, "level is 1"),
    ],
)
def test_wrong_requests_for_an_interval(options, match):
    with pytest.raises(InputError, match=match):
        metrics.metric_interval(np.mean, np.ones(3), **options)
    with pytest.raises(InputError, match="one number of rows"):
        metrics.metric_interval(metrics.brier, UNIFORM, [0, 1])


def test_an_interval_without_rows():
    with pytest.warns(ToolkitWarning, match="there are no rows"):
        assert math.isnan(metrics.metric_interval(np.mean, []).low)
    with pytest.warns(ToolkitWarning, match="there are no rows"):
        assert math.isnan(metrics.brier_decomposition(np.empty((0, 3)), []).within)
