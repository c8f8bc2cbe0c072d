"""Evaluation from Python: which figures, of which scores, and which methods are left out."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors.catalogue import registered
from tests.cases import CLASSES, mostly_right

TRAIN = mostly_right(200, seed=1)
TEST = mostly_right(90, seed=2)
FAR = mostly_right(60, seed=3, spread=0.2)
NEAR = mostly_right(50, seed=4, spread=0.6)
LOGITS_ONLY = ood.Outputs(logits=TEST.logits)


def evaluate(methods: Any = ("msp", "energy"), **changes: Any) -> Any:
    options: dict[str, Any] = {
        "id": TEST, "ood": {"far/a": FAR, "near/b": NEAR}, "train": TRAIN, "bootstrap": 0,
    }  # fmt: skip
    return ood.evaluate(methods, **(options | changes))


def test_results_are_the_metrics_of_the_scores() -> None:
    result = evaluate(["energy", "mahalanobis"])
    assert [(r.method, r.ood, r.group, r.n_ood) for r in result.results] == [
        ("energy", "a", "far", 60),
        ("energy", "b", "near", 50),
        ("mahalanobis", "a", "far", 60),
        ("mahalanobis", "b", "near", 50),
    ]
    for r in result.results:
        inside = ood.score(TEST, r.method, train=TRAIN)[r.method]
        outside = ood.score({"a": FAR, "b": NEAR}[r.ood], r.method, train=TRAIN)[r.method]
        assert r.auroc == ood.metrics.auroc(inside, outside)
        assert r.fpr == ood.metrics.fpr_at_tpr(inside, outside)
        assert r.aupr_in == ood.metrics.aupr_in(inside, outside)
        assert r.aupr_out == ood.metrics.aupr_out(inside, outside)
        assert r.detection_error == ood.metrics.detection_error(inside, outside)
        assert r.autc == ood.metrics.autc(inside, outside)
        assert r.auroc_ci[0] <= r.auroc <= r.auroc_ci[1]
        assert r.fpr_ci == ood.metrics.fpr_interval(ood.metrics.Ranking.of(inside, outside))
        assert r.aupr_in_ci is r.aupr_out_ci is None
    right = TEST.logits.argmax(axis=1) == TEST.labels
    assert result.accuracy == right.mean()


@pytest.mark.parametrize("rule", ["id_positive", "ood_positive", "openood", "nearest_id", "odin"])
def test_the_rule_asked_for_is_used_and_recorded(rule: str) -> None:
    inside, outside = (ood.score(x, "energy")["energy"] for x in (TEST, FAR))
    with np.errstate(all="ignore"):
        result = evaluate("energy", fpr_rule=rule, tpr=0.8)
    expected = ood.metrics.Ranking.of(inside, outside).fpr_at_tpr(0.8, rule=rule)
    assert result.results[0].fpr == pytest.approx(expected, nan_ok=True)
    assert result.to_json()["convention"] == {
        "positive": "id",
        "fpr_at_tpr": 0.8,
        "fpr_rule": rule,
        "aupr": "step",
        "id_subset": "all",
    }


def test_only_correct_rows_count_where_asked() -> None:
    right = TEST.logits.argmax(axis=1) == TEST.labels
    result = evaluate("energy", id_subset="correct")
    some = ood.score(TEST.rows(right), "energy")["energy"]
    assert result.n_id == right.sum()
    assert result.accuracy == right.mean()
    assert result.results[0].auroc == ood.metrics.auroc(some, ood.score(FAR, "energy")["energy"])
    with pytest.raises(ood.InputError, match="id_subset=correct needs logits and labels"):
        evaluate("energy", id_subset="correct", id=LOGITS_ONLY)


def test_means_are_over_groups_and_leave_synthetic_sets_out() -> None:
    noise = ood.Outputs(logits=np.random.default_rng(0).normal(size=(30, CLASSES)))
    other = mostly_right(40, seed=5, spread=0.5)
    sets = {"far/a": FAR, "far/b": NEAR, "near/c": other, "synthetic/d": noise}
    result = evaluate("energy", ood=sets)
    by = {r.ood: r for r in result.results}
    means = {m["group"]: m for m in result.means()}
    assert list(means) == ["far", "near", "synthetic", "all"]
    assert means["far"]["auroc"] == pytest.approx((by["a"].auroc + by["b"].auroc) / 2)
    assert means["all"]["fpr"] == pytest.approx((by["a"].fpr + by["b"].fpr + by["c"].fpr) / 3)


def test_sets_without_a_group_have_only_the_mean_of_all() -> None:
    result = evaluate("energy", ood={"a": FAR, "b": NEAR})
    assert [m["group"] for m in result.means()] == ["all"]
    assert [r.group for r in result.results] == ["", ""]


def test_sets_of_one_name_in_two_groups_stay_apart() -> None:
    result = evaluate("energy", ood={"far/a": FAR, "near/a": NEAR})
    assert [(r.ood, r.group, r.n_ood) for r in result.results] == [
        ("far/a", "far", 60),
        ("near/a", "near", 50),
    ]


def test_all_skips_what_cannot_run_and_names_it() -> None:
    result = evaluate("all", id=LOGITS_ONLY, train=None)
    ran = set(result.methods())
    assert {"msp", "energy", "entropy"} <= ran
    reasons = {note.method: note.reason for note in result.skipped}
    assert ran | set(reasons) == {row.name for row in registered()}
    assert reasons["knn"] == "needs features"
    assert "features" in reasons["vim"]
    assert "needs training outputs" in reasons["kl_matching"]
    assert result.failed == ()


def test_a_method_asked_for_that_cannot_run_has_failed() -> None:
    result = evaluate(["energy", "knn"], id=LOGITS_ONLY)
    assert result.methods() == ("energy",)
    assert [(note.method, note.reason) for note in result.failed] == [("knn", "needs features")]
    assert result.skipped == ()


def test_a_fit_that_fails_is_named_and_the_others_run() -> None:
    constant = ood.Outputs(
        logits=TRAIN.logits, features=np.ones_like(TRAIN.features), labels=TRAIN.labels
    )
    result = evaluate(["energy", "mahalanobis"], train=constant)
    assert result.methods() == ("energy",)
    assert "covariance is zero" in result.failed[0].reason


def test_a_score_that_fails_on_one_set_fails_the_method() -> None:
    features = FAR.features.copy()
    features[3] = np.nan
    broken = ood.Outputs(logits=FAR.logits, features=features)
    result = evaluate(["energy", "knn"], ood={"a": broken, "b": NEAR})
    assert result.methods() == ("energy",)
    assert [note.method for note in result.failed] == ["knn"]
    assert "row 3 holds NaN" in result.failed[0].reason


def test_unreadable_logits_stop_everything() -> None:
    logits = FAR.logits.copy()
    logits[5, 0] = np.nan
    with pytest.raises(ood.InputError, match="row 5 holds NaN"):
        evaluate(["energy", "msp"], ood={"a": ood.Outputs(logits=logits)})


def test_labels_of_ood_sets_do_not_matter() -> None:
    other = ood.Outputs(logits=FAR.logits, labels=np.full(len(FAR), -1))
    first, second = (evaluate("energy", ood={"a": x}).results[0] for x in (FAR, other))
    assert first == second


def test_the_bootstrap_is_seeded() -> None:
    first, again, other = (evaluate("energy", bootstrap=60, seed=s).results[0] for s in (1, 1, 2))
    assert first == again
    assert first.aupr_in_ci != other.aupr_in_ci
    assert first.fpr_ci[0] <= first.fpr <= first.fpr_ci[1]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"fpr_rule": "mine"}, "fpr_rule is one of id_positive, "),
    ({"aupr": "area"}, "aupr is one of step, trapezoid, got 'area'"),
    ({"id_subset": "some"}, "id_subset is all or correct"),
    ({"tpr": 0.0}, r"tpr must lie in \(0, 1\]"),
    ({"tpr": float("nan")}, r"tpr must lie in \(0, 1\]"),
    ({"bootstrap": -1}, "bootstrap must be at least 0"),
    (
        {"ood": {"a": mostly_right(9, seed=1, classes=4)}},
        "a: 4 classes, but the in-distribution rows have 5; both must come from one classifier",
    ),
    ({"ood": {}}, "at least one out-of-distribution set"),
    ({"ood": {"a": FAR.rows(slice(0, 0))}}, "a: has no rows"),
    ({"id": TEST.rows(slice(0, 0))}, "id: has no rows"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=lambda v: str(v)[:30])
def test_what_cannot_be_evaluated_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ood.InputError, match=words):
        evaluate(**change)


@pytest.mark.filterwarnings("ignore::ood_toolkit.errors.ToolkitWarning")  # small sets
def test_the_document_is_strict_json() -> None:
    document = evaluate("all").to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_constant_score_is_chance_in_any_row_order() -> None:
    same = ood.Outputs(logits=np.ones((40, 3)))
    result = ood.evaluate("msp", id=same, ood={"a": ood.Outputs(logits=np.full((7, 3), 2.0))},
                          bootstrap=0)  # fmt: skip
    assert (result.results[0].auroc, result.results[0].fpr) == (0.5, 1.0)


def test_error_report_is_the_metrics_of_the_scores() -> None:
    report = ood.evaluate_errors(["msp", "knn"], TEST, train=TRAIN)
    correct = TEST.logits.argmax(axis=1) == TEST.labels
    assert (report.n, report.accuracy) == (len(TEST), correct.mean())
    assert report.nll == pytest.approx(ood.metrics.nll(TEST.logits, TEST.labels))
    for r in report.results:
        scores = ood.score(TEST, r.method, train=TRAIN)[r.method]
        assert r.auroc == ood.metrics.auroc(scores[correct], scores[~correct])
        assert r.aurc == ood.metrics.aurc(scores, correct)
        assert r.e_aurc == ood.metrics.e_aurc(scores, correct)
        assert r.risk_at_coverage["0.8"] == ood.metrics.risk_at_coverage(scores, correct, 0.8)
    json.dumps(report.to_json(), allow_nan=False)


def test_errors_need_every_label() -> None:
    with pytest.raises(ood.InputError, match="needs labels"):
        ood.evaluate_errors("msp", LOGITS_ONLY)
    labels = TEST.labels.copy()
    labels[4] = -1
    with pytest.raises(ood.InputError, match="row 4 is -1"):
        ood.evaluate_errors("msp", ood.Outputs(logits=TEST.logits, labels=labels))
    with pytest.raises(ood.InputError, match="holds no rows; error detection needs labelled ones"):
        ood.evaluate_errors("msp", TEST.rows(slice(0, 0)))


def test_errors_of_a_perfect_classifier_are_undefined_and_say_so() -> None:
    right = TEST.rows(TEST.logits.argmax(axis=1) == TEST.labels)
    with pytest.warns(ood.ToolkitWarning, match="NaN"):
        report = ood.evaluate_errors("msp", right)
    assert np.isnan(report.results[0].auroc)
    assert report.results[0].aurc == 0
    assert report.to_json()["results"][0]["auroc"] is None


def test_reported_sets_that_share_rows_are_said_to() -> None:
    with pytest.warns(ood.ToolkitWarning) as caught:
        evaluate("energy", ood={"a": FAR, "b": NEAR, "c": TEST.rows(slice(0, 30)), "d": FAR})
    assert [str(w.message) for w in caught] == [
        "c: of its 30 rows there are also 30 in id; was a file given twice?",
        f"d: of its {len(FAR)} rows there are also {len(FAR)} in a; was a file given twice?",
    ]
    many = np.random.default_rng(0).normal(size=(300, CLASSES))
    shared = np.concatenate([many[:2], many[2:] + 0.5])  # few may be alike by chance
    ood.evaluate("energy", id=ood.Outputs(logits=many), ood={"a": ood.Outputs(logits=shared)},
                 bootstrap=0)  # fmt: skip


def test_a_group_may_not_be_called_as_the_mean_over_all() -> None:
    with pytest.raises(ood.BadParameter, match="no group may be called all"):
        evaluate("energy", ood={"all/a": FAR, "b": NEAR})
    with pytest.raises(ood.BadParameter, match="no group may be called all"):
        evaluate("energy", ood={"a": FAR}, groups={"a": "all"})


def test_means_of_any_group_are_shown() -> None:
    sets = {"street/a": FAR, "near/b": NEAR, "synthetic/c": FAR.rows(slice(0, 20)), "d": FAR}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ood.ToolkitWarning)
        result = evaluate(["energy", "msp"], ood=sets)
    columns = [name for name in result.table().columns if name.startswith("mean")]
    assert columns == ["mean near AUROC", "mean near FPR", "mean street AUROC", "mean street FPR"]
    means = {(m["method"], m["group"]): m["auroc"] for m in result.means()}
    for row in result.table().rows:
        assert row[3].text == f"{100 * means[row[0].text, 'street']:.2f}"


def test_the_table_names_methods_without_results() -> None:
    logits = ood.Outputs(logits=TEST.logits, labels=TEST.labels)
    sets = {"a": ood.Outputs(logits=FAR.logits)}
    result = ood.evaluate(["energy", "knn"], id=logits, ood=sets, bootstrap=0)
    (note,) = result.failed
    assert str(result).splitlines()[-1] == f"Failed: knn: {note.reason}"
    assert result._repr_html_().endswith(f"<p>Failed: knn: {note.reason}</p>")
    asked = ood.evaluate(["energy", "knn"], id=logits, ood=sets, bootstrap=0, skip_unmet=True)
    assert "Skipped: knn (" in str(asked)
    everything = ood.evaluate("all", id=logits, ood=sets, bootstrap=0)
    assert everything.skipped
    assert "Skipped" not in str(everything)
    nothing = ood.evaluate("knn", id=logits, ood=sets, bootstrap=0)
    assert str(nothing).splitlines()[0] == "No method could run."
    assert "Failed: knn" in nothing._repr_html_()
