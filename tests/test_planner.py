"""Scores made block by block are those of all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors import make_detector
from ood_toolkit.detectors.planner import (
    fit_method,
    prepared,
    score_together,
    scores_and_statistics,
)
from ood_toolkit.errors import InputError, UnknownName
from ood_toolkit.kernels import rows
from ood_toolkit.kernels.statistics import ENTROPY, PREDICTION

ROWS, CLASSES, DIMS = 1_000, 12, 6
METHODS = ("energy", "msp", "gen", "information_gain", "vim", "gradnorm", "she", "knn")


@pytest.fixture(scope="module")
def record() -> ood.Outputs:
    rng = np.random.default_rng(5)
    head = ood.Head(rng.normal(size=(CLASSES, DIMS)), rng.normal(size=CLASSES))
    features = np.abs(rng.normal(size=(ROWS, DIMS))).astype(np.float32)
    return ood.Outputs(features=features, head=head, labels=np.arange(ROWS) % CLASSES)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Windows of 48 rows, shared among threads; the number of calls that read logits."""
    calls: list[int] = []
    whole = rows.row_statistics

    def counted(logits, wanted, **options):
        calls.append(len(logits))
        return whole(logits, wanted, **options)

    monkeypatch.setattr(rows, "WINDOW_ROWS", 48)
    monkeypatch.setattr(rows, "IN_PLACE_ROWS", 48)
    monkeypatch.setattr(rows, "PARALLEL_FROM", 1)
    monkeypatch.setattr(rows, "row_statistics", counted)
    return calls


@pytest.mark.filterwarnings("ignore::ood_toolkit.errors.ToolkitWarning")
def test_windows_change_no_bit_and_every_row_is_read_once(record, small_windows) -> None:
    scorers = {name: fit_method(make_detector(name), record) for name in METHODS}
    alone = {name: scorer.score(record) for name, scorer in scorers.items()}
    small_windows.clear()
    together, found = scores_and_statistics(record, scorers, (PREDICTION, ENTROPY))
    assert sorted(small_windows) == [ROWS % 48] + [48] * (ROWS // 48)
    assert list(together) == list(METHODS)
    for name in METHODS:
        np.testing.assert_array_equal(together[name], alone[name], err_msg=name)
    np.testing.assert_array_equal(found[PREDICTION], record.logits.argmax(axis=1))
    assert found[PREDICTION].dtype == np.int64
    np.testing.assert_array_equal(
        found[ENTROPY], rows.row_statistics(record.logits, (ENTROPY,))[ENTROPY]
    )


@pytest.mark.parametrize("name", ["energy", "max_logit", "msp", "entropy", "odin_temperature"])
@pytest.mark.parametrize("pool", ["alone", "in company"])
def test_a_score_of_one_number_is_made_in_place(record, small_windows, name, pool) -> None:
    scorers = {name: fit_method(make_detector(name))}
    if pool == "in company":
        scorers["logit_margin"] = fit_method(make_detector("logit_margin"))
    found = score_together(record, scorers)[name]
    assert len(small_windows) > 1
    few = [score_together(record.rows(slice(i, i + 50)), scorers)[name] for i in range(0, ROWS, 50)]
    np.testing.assert_array_equal(found, np.concatenate(few))
    assert found.shape == (ROWS,)
    assert found.dtype == np.float64


@pytest.mark.parametrize("bad", [[0], [47, 48], [999], [700, 60, 330]])
def test_the_first_bad_row_of_all_windows_is_named(record, small_windows, bad) -> None:
    logits = np.array(record.logits)
    logits[bad, 3] = np.nan
    with pytest.raises(InputError, match=rf"logits: row {min(bad)} holds NaN"):
        score_together(ood.Outputs(logits=logits), {"energy": ood.Energy().fit()})


def test_statistics_without_scorers(record) -> None:
    scores, found = scores_and_statistics(record, {}, (PREDICTION,))
    assert scores == {}
    np.testing.assert_array_equal(found[PREDICTION], record.logits.argmax(axis=1))


def test_a_few_rows_take_the_short_way_and_score_alike(record) -> None:
    names = ("energy", "msp", "margin", "gen", "msp_kl")
    few = ood.Outputs(logits=record.logits[:5])
    many = ood.score(ood.Outputs(logits=record.logits), names)
    for asked in (names, list(names), *names):
        for name, values in ood.score(few, asked).items():
            np.testing.assert_array_equal(values, many[name][:5], err_msg=name)
    assert list(ood.score(few.logits, names)) == list(names)
    assert ood.score(few, []) == {}


def test_the_short_way_is_for_methods_of_logits_that_learn_nothing() -> None:
    assert prepared(("energy", "msp")) is prepared(("energy", "msp"))
    assert prepared(()) is prepared(("energy", "knn")) is prepared(("react+energy",)) is None
    with pytest.raises(UnknownName, match="did you mean"):
        prepared(("enrgy",))
    with pytest.raises(InputError, match="row 1 holds NaN"):
        ood.score(np.array([[1.0, 2.0], [np.nan, 0.0]]), "energy")
    with pytest.raises(InputError, match="energy needs logits"):
        ood.score(ood.Outputs(features=np.ones((3, 2))), "energy")
