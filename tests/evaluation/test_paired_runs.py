"""Two runs on the same rows: kept scores, and tests that are those of the scores themselves."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.evaluation import compare_scores, holm
from ood_toolkit.evaluation.kept_scores import KeptScores
from ood_toolkit.evaluation.paired_runs import paired_tests
from ood_toolkit.evaluation.pairs import CCR_FPR
from ood_toolkit.evaluation.score_folder import read_scores, save_scores
from ood_toolkit.evaluation.stored_scores import StoredScores, evaluate_scores
from tests.cases import mostly_right

TRAIN, TEST = mostly_right(120, seed=1), mostly_right(60, seed=2)
SETS = {
    "far/a": mostly_right(40, seed=3, spread=0.2), "near/b": mostly_right(30, seed=4, spread=0.6),
    "near/c": mostly_right(35, seed=5, spread=0.5),
}  # fmt: skip
METHODS = ["energy", "knn", "msp"]
GROUPS = {"a": "far", "b": "near", "c": "near"}


def evaluate(**changes: Any) -> Any:
    options: dict[str, Any] = {
        "id": TEST, "ood": SETS, "train": TRAIN, "bootstrap": 0, "methods": METHODS,
        "keep_scores": True,
    }  # fmt: skip
    return ood.evaluate(**(options | changes))


def test_scores_are_kept_and_come_back(tmp_path: Path) -> None:
    shifted = {"fog/deep": mostly_right(20, seed=9), "fog_deep": mostly_right(21, seed=10)}
    result = evaluate(shifted=shifted)
    save_scores(result, tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["a.npz", "b.npz", "c.npz", "fog_deep-2.npz", "fog_deep.npz", "id.npz",
                     "results.json"]  # fmt: skip
    found = read_scores(tmp_path / "run")
    for key, x in {"": TEST, **shifted}.items():
        expected = ood.score(x, METHODS, train=TRAIN)
        assert list(found.inside[key]) == METHODS
        for method in METHODS:
            np.testing.assert_array_equal(found.inside[key][method], expected[method])
        np.testing.assert_array_equal(found.labels[key], x.labels)
    for key, x in SETS.items():
        expected = ood.score(x, METHODS, train=TRAIN)
        for method in METHODS:
            np.testing.assert_array_equal(found.ood[key[-1]][method], expected[method])
    assert len(found.id_scores("msp")) == 60 + 20 + 21
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    names = document.pop("scores")
    assert names["id"]["fog/deep"] == "fog_deep.npz"
    assert document == json.loads(json.dumps(result.to_json()))
    with np.load(tmp_path / "run" / "a.npz") as file:
        assert file.files == ["index", *METHODS], "as `score` writes; labels of outliers are unread"
    assert evaluate(keep_scores=False).scores is None
    with pytest.raises(ood.InputError, match="evaluate with keep_scores=True"):
        save_scores(evaluate(keep_scores=False), tmp_path / "none")


def noisy(kept: KeptScores, deviation: float, seed: int = 0) -> KeptScores:
    rng = np.random.default_rng(seed)

    def of(sets: Any) -> Any:
        return {key: {n: s + rng.normal(0, deviation, s.size) for n, s in found.items()}
                for key, found in sets.items()}  # fmt: skip

    return KeptScores(of(kept.inside), of(kept.ood), kept.labels)


def test_each_is_the_test_of_its_two_score_columns() -> None:
    first = evaluate().scores
    runs = {"a": first, "b": noisy(first, 1.0), "c": noisy(first, 3.0, 1)}
    tests = paired_tests(runs, dict.fromkeys(runs, GROUPS))
    assert len(tests) == 2 * 3 * (3 + 3)
    for key in ("a", "b", "c"):
        own = [test for test in tests if (test.kind, test.name) == ("ood", key)]
        raw = []
        for test in own:
            assert (test.baseline, test.baseline_method) == ("a", test.method)
            other = runs[test.file]
            joint = compare_scores({
                "one": (first.id_scores(test.method), first.ood[key][test.method]),
                "two": (other.id_scores(test.method), other.ood[key][test.method]),
            })  # fmt: skip
            assert (test.baseline_auroc, test.auroc) == pytest.approx(joint.aurocs, abs=1e-15)
            raw.append(joint.p_values("none")[0, 1])
        assert [test.p_value for test in own] == pytest.approx(list(holm(raw)), rel=1e-9)
    near = [test for test in tests if (test.kind, test.name) == ("group", "near")]
    for test in near:
        members = [t for t in tests if t.kind == "ood" and t.name in "bc"
                   and (t.file, t.method) == (test.file, test.method)]  # fmt: skip
        assert test.auroc == pytest.approx(np.mean([t.auroc for t in members]), abs=1e-14)
    assert any(test.differs for test in tests)


def test_the_same_run_twice_cannot_be_told_apart() -> None:
    first = evaluate().scores
    tests = paired_tests({"a": first, "b": first}, dict.fromkeys("ab", GROUPS))
    assert {test.p_value for test in tests} == {1.0}
    assert not any(test.differs for test in tests)
    assert tests[0].to_json() == {
        "ood": "a", "baseline": "a", "file": "b", "baseline_method": "energy", "method": "energy",
        "baseline_auroc": tests[0].auroc, "auroc": tests[0].auroc, "p_value": 1.0,
        "difference": 0.0, "differs": False,
    }  # fmt: skip


def only(kept: KeptScores, *methods: str, ood: tuple[str, ...] = ("a", "b", "c")) -> KeptScores:
    def of(found: Any) -> Any:
        return {name: found[name] for name in methods}

    return KeptScores(
        {key: of(found) for key, found in kept.inside.items()},
        {key: of(kept.ood[key]) for key in ood},
        kept.labels,
    )


def test_single_methods_of_other_names_are_held_against_each_other() -> None:
    first = evaluate().scores
    one, two = only(first, "knn"), only(first, "msp")
    tests = paired_tests({"a": one, "b": two}, dict.fromkeys("ab", GROUPS))
    assert {(t.baseline_method, t.method) for t in tests} == {("knn", "msp")}
    several = {"a": only(first, "knn", "energy"), "b": two}
    with pytest.raises(ood.InputError, match="a and b have no method in common"):
        paired_tests(several, dict.fromkeys("ab", GROUPS))


def test_groups_of_which_a_run_lacks_a_set_are_left_out() -> None:
    first = evaluate().scores
    runs = {"a": first, "b": only(first, *METHODS, ood=("a", "b"))}
    tests = paired_tests(runs, dict.fromkeys("ab", GROUPS))
    assert {(t.kind, t.name) for t in tests} == {("ood", "a"), ("ood", "b"), ("group", "far")}
    with pytest.raises(ood.InputError, match="no out-of-distribution set in common"):
        paired_tests(
            {"a": only(first, "msp", ood=("a",)), "b": only(first, "msp", ood=("b",))},
            dict.fromkeys("ab", GROUPS),
        )


def test_other_rows_are_refused() -> None:
    first = evaluate().scores
    groups = dict.fromkeys("ab", GROUPS)
    fewer = evaluate(id=TEST.rows(slice(0, 50))).scores
    with pytest.raises(ood.InputError, match="id: 60 rows in a but 50 in b; a paired test needs"):
        paired_tests({"a": first, "b": fewer}, groups)
    turned = evaluate(id=TEST.rows(np.arange(60)[::-1])).scores
    with pytest.raises(ood.InputError, match=r"id: row \d+ has another label in b than in a"):
        paired_tests({"a": first, "b": turned}, groups)
    wider = evaluate(shifted={"fog": mostly_right(20, seed=9)}).scores
    with pytest.raises(ood.InputError, match="a and b count other sets as in-distribution"):
        paired_tests({"a": first, "b": wider}, groups)


def _no_names(folder: Path) -> None:
    document = json.loads((folder / "results.json").read_text())
    del document["scores"]
    (folder / "results.json").write_text(json.dumps(document))


def _elsewhere(folder: Path) -> None:
    document = json.loads((folder / "results.json").read_text())
    document["scores"]["ood"]["a"] = "../a.npz"
    (folder / "results.json").write_text(json.dumps(document))


def _cut(folder: Path) -> None:
    (folder / "b.npz").write_bytes((folder / "b.npz").read_bytes()[:-30])


def _shorter(folder: Path) -> None:
    np.savez(folder / "b.npz", index=np.arange(3), energy=np.zeros(3), knn=np.zeros(3), msp=[1.0])


def _without_a_number(folder: Path) -> None:
    np.savez(folder / "b.npz", index=np.arange(1), energy=[np.nan], knn=[0.0], msp=[1.0])


def _of_others(folder: Path) -> None:
    np.savez(folder / "b.npz", index=np.arange(1), energy=[0.0])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_no_names, "results.json: scores: are not named; write the folder with --scores-out"),
        (_elsewhere, r"'\.\./a\.npz' is no file of this folder"),
        (_cut, "b.npz: the archive's end is missing: it is truncated"),
        (_shorter, "b.npz: its columns differ in length"),
        (_without_a_number, "b.npz: energy: holds no scores, or NaN"),
        (_of_others, "of the sets are of different methods"),
    ],
)
def test_folders_that_hold_no_scores(tmp_path: Path, harm: Any, message: str) -> None:
    save_scores(evaluate(), tmp_path)
    harm(tmp_path)
    with pytest.raises(ood.InputError, match=message) as caught:
        read_scores(tmp_path)
    assert "\n" not in str(caught.value)


def test_one_rate_for_correct_classification_everywhere() -> None:
    """`evaluate`, `evaluate_scores` and the metric itself read it at the same share of outliers."""
    default = inspect.signature(ood.metrics.ccr_at_fpr).parameters["fpr"].default
    assert default == CCR_FPR == 0.05
    result = evaluate(methods=["msp"])
    right = TEST.logits.argmax(axis=1) == TEST.labels
    inside = result.scores.inside[""]["msp"]
    outside = {key: scores["msp"] for key, scores in result.scores.ood.items()}
    stored = evaluate_scores({"msp": StoredScores(inside, outside, right)}, bootstrap=0)
    for row, other in zip(result.results, stored.results, strict=True):
        expected = ood.metrics.ccr_at_fpr(inside, right, outside[row.ood])
        assert row.ccr_at_fpr == other.ccr_at_fpr == expected
    np.testing.assert_array_equal(stored.scores.inside[""]["msp"], inside)
