"""The row statistics against their equations, whatever kernel computes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.request import request
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    LARGEST,
    NONUNIFORMITY,
    PREDICTION,
    SATURATED,
    SECOND,
    TAIL,
    Statistic,
    excess,
    generalized_entropy,
    kl_to_prior,
    log_sum_exp,
)
from tests.kernels.row_cases import (
    DTYPES,
    EXACT,
    all_statistics,
    assert_rows_exact,
    cast,
    hard_rows,
)
from tests.reference.rows_reference import ROW_TWINS, is_bad

ENERGY = (log_sum_exp(), LARGEST, PREDICTION)
dtypes = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())


def test_every_statistic_has_a_twin() -> None:
    assert {s.name for s in all_statistics(3)} == set(ROW_TWINS)


@dtypes
@pytest.mark.parametrize("classes", [2, 3, 10, 16, 17, 31, 32, 33, 47, 64, 100, 257])
def test_hard_rows(classes: int, dtype: np.dtype) -> None:
    logits = hard_rows(classes, dtype)
    found = row_statistics(logits, all_statistics(classes))
    assert found.first_bad == -1
    assert_rows_exact(logits, found)


@dtypes
@pytest.mark.parametrize("classes", [2, 10, 32, 33, 64, 100, 255, 256, 1000])
def test_energy_alone(classes: int, dtype: np.dtype) -> None:
    logits = hard_rows(classes, dtype)
    for wanted in ((log_sum_exp(),), ENERGY, (log_sum_exp(2.5), log_sum_exp(0.3))):
        found = row_statistics(logits, wanted)
        assert found.first_bad == -1
        assert_rows_exact(logits, found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1000, 2063])
def test_many_classes(classes: int, dtype: npt.DTypeLike) -> None:
    logits = (4.0 * np.random.default_rng(classes).standard_normal((2, classes))).astype(dtype)
    assert_rows_exact(logits, row_statistics(logits, all_statistics(classes)))


@pytest.mark.parametrize("wanted", all_statistics(33), ids=lambda s: s.name)
@pytest.mark.parametrize("classes", [5, 33])
def test_each_statistic_alone(wanted: Statistic, classes: int) -> None:
    logits = hard_rows(classes, np.float32)
    if wanted.name == "kl_to_prior":
        wanted = kl_to_prior([1.0] * classes)
    assert_rows_exact(logits, row_statistics(logits, [wanted]))


@dtypes
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_finite_rows(dtype: np.dtype, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 20), st.integers(2, 40)))
    limit = 2.0**15 if dtype == np.float16 else 2.0**127
    if data.draw(st.booleans()):
        limit = 100.0
    values = st.floats(-limit, limit, width=32) | st.sampled_from([0.0, -0.0, -np.inf, 1.0])
    logits = cast(data.draw(hnp.arrays(np.float64, shape, elements=values)), dtype)
    found = row_statistics(logits, all_statistics(shape[1]))
    wide = logits.astype(np.float64).tolist()
    bad = [i for i, row in enumerate(wide) if is_bad(row)]
    assert found.first_bad == (bad[0] if bad else -1)
    assert_rows_exact(logits, found, [i for i in range(shape[0]) if i not in bad][:4])


@dtypes
@pytest.mark.parametrize("classes", [2, 10, 32, 33, 300])
@pytest.mark.parametrize("poison", [np.nan, np.inf, "negative nan", "all masked"])
@pytest.mark.parametrize("wanted", ["energy", "ranks", "all"])
def test_first_bad_row(classes: int, dtype: np.dtype, poison: object, wanted: str) -> None:
    ask = {"energy": ENERGY, "ranks": (LARGEST, SECOND), "all": all_statistics(classes)}[wanted]
    rng = np.random.default_rng(3)
    for where in (0, 15, 16, 36):
        logits = rng.standard_normal((37, classes)).astype(dtype)
        for row in {where, 36}:
            column = int(rng.integers(classes))
            if poison == "all masked":
                logits[row] = -np.inf
            elif poison == "negative nan":
                logits.view(np.uint8)[row, column * dtype.itemsize :][: dtype.itemsize] = 255
            else:
                logits[row, column] = poison
        found = row_statistics(logits, ask)
        assert found.first_bad == where
        good = [i for i in range(37) if i not in (where, 36)]
        clean = row_statistics(logits[good], ask)
        for statistic, values in found.items():
            np.testing.assert_array_equal(values[good], clean[statistic])


def test_infinity_of_both_signs_is_bad() -> None:
    logits = np.array([[0.0, 1.0, 2.0], [np.inf, -np.inf, 0.0], [-np.inf, np.nan, np.inf]])
    assert row_statistics(logits, ENERGY).first_bad == 1


@dtypes
@pytest.mark.parametrize("classes", [10, 70])
def test_memory_layouts(classes: int, dtype: np.dtype, tmp_path) -> None:
    rng = np.random.default_rng(11)
    wanted = all_statistics(classes)
    logits = np.ascontiguousarray(rng.standard_normal((41, classes)).astype(dtype))
    expected = row_statistics(logits, wanted)
    read_only = logits.copy()
    read_only.setflags(write=False)
    spaced = np.zeros((82, 2 * classes), dtype)
    spaced[::2, ::2] = logits
    logits.tofile(tmp_path / "logits")
    mapped = np.memmap(tmp_path / "logits", dtype, "r", shape=logits.shape)
    wide = np.zeros((41, classes + 3), dtype)
    wide[:, 1:-2] = logits
    reversed_rows = np.ascontiguousarray(logits[::-1])[::-1]
    odd = np.frombuffer(b"!" + logits.tobytes(), np.uint8)[1:].view(dtype).reshape(logits.shape)
    assert not odd.flags.aligned
    for same in (
        np.asfortranarray(logits),
        read_only,
        spaced[::2, ::2],
        mapped,
        wide[:, 1:-2],
        reversed_rows,
        odd,
    ):
        found = row_statistics(same, wanted)
        for statistic in wanted:
            np.testing.assert_array_equal(found[statistic], expected[statistic])
    if dtype != DTYPES["bfloat16"]:
        swapped = row_statistics(logits.astype(dtype.newbyteorder()), wanted)
        np.testing.assert_array_equal(swapped[log_sum_exp()], expected[log_sum_exp()])


@dtypes
@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows: int, dtype: np.dtype) -> None:
    for classes in (2, 40):
        logits = np.ones((rows, classes), dtype)
        found = row_statistics(logits, all_statistics(classes))
        assert found.first_bad == -1
        assert len(found) == len(all_statistics(classes))
        for statistic, values in found.items():
            integer = statistic in (PREDICTION, CLASSES, SATURATED)
            assert values.shape == (rows,)
            assert values.dtype == (np.int64 if integer else np.float64)


def test_excess_takes_no_more_of_the_softmax_than_its_sum() -> None:
    """Squares and logarithms of all terms, which take a quarter of the time, are for others."""
    assert not request((LARGEST, excess(), excess(0.5)), 10)[1].softmax
    assert request((excess(), TAIL), 10)[1].softmax


def test_nothing_wanted() -> None:
    assert len(row_statistics(np.zeros((3, 2), np.float32), ())) == 0


def test_one_class() -> None:
    found = row_statistics(np.array([[3.0], [-2.0]]), (*EXACT, TAIL, ENTROPY, excess()))
    assert found[SECOND].tolist() == [-np.inf, -np.inf]
    assert found[TAIL].tolist() == found[ENTROPY].tolist() == found[excess()].tolist() == [0, 0]


@dtypes
@pytest.mark.parametrize("classes", [10, 32, 100, 1000])
def test_a_class_masked_is_a_class_left_out(classes: int, dtype: np.dtype) -> None:
    logits = np.random.default_rng(5).standard_normal((20, classes)).astype(dtype)
    wanted = (TAIL, ENTROPY, NONUNIFORMITY, CLASSES, excess(), generalized_entropy(0.1, 5))
    masked = logits.copy()
    masked[:, classes - 3] = -np.inf
    left_out = row_statistics(np.delete(logits, classes - 3, axis=1), wanted)
    found = row_statistics(masked, wanted)
    for statistic in wanted:
        np.testing.assert_allclose(found[statistic], left_out[statistic], rtol=2e-6)
    assert (found[CLASSES] == classes - 1).all()


@dtypes
@pytest.mark.parametrize("classes", [3, 32, 33, 500])
def test_ties_go_to_the_first_class(classes: int, dtype: np.dtype) -> None:
    logits = np.zeros((classes, classes), dtype)
    for i in range(classes):
        logits[i, i:] = 1.0
    logits[0, 0] = logits[0, -1] = 2.0
    found = row_statistics(logits, (PREDICTION, SECOND))
    assert found[PREDICTION].tolist() == list(range(classes))
    alone = row_statistics(logits, ENERGY)
    assert alone[PREDICTION].tolist() == list(range(classes))
    assert found[SECOND][0] == 2.0


def test_a_prior_that_rules_out_a_class() -> None:
    wanted = kl_to_prior([0.5, 0.0, 0.5])
    logits = np.array([[1.0, -900.0, 2.0], [1.0, -np.inf, 1.0]], np.float32)
    assert row_statistics(logits, [wanted])[wanted].tolist() == [np.inf, 0.0]


def test_uniform_logits_are_uniform() -> None:
    for classes in (2, 7, 32, 64, 1000):
        found = row_statistics(np.full((3, classes), 4.25, np.float32), (NONUNIFORMITY, excess()))
        assert (found[NONUNIFORMITY] < 2e-7).all()
        np.testing.assert_allclose(found[excess()], np.log(classes), rtol=3e-7)


@pytest.mark.parametrize(
    ("statistic", "message"),
    [
        (log_sum_exp(0.0), "log_sum_exp: temperature must be positive, got 0.0"),
        (excess(float("nan")), "excess: temperature must be positive, got nan"),
        (generalized_entropy(0.1, 0), "generalized_entropy: gamma must be positive and top >= 1"),
        (kl_to_prior([0.5, 0.5]), "kl_to_prior: the prior has 2 entries for 3 classes"),
        (kl_to_prior([0.5, -0.5, 1.0]), "kl_to_prior: a prior's entries must be finite"),
        (Statistic("median"), "no such row statistic: median"),
    ],
)
def test_impossible_requests(statistic: Statistic, message: str) -> None:
    with pytest.raises(InputError, match=message):
        row_statistics(np.zeros((2, 3)), [statistic])
