"""Results of several runs pooled, against numpy and by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.evaluation import pool_results, pooled_table
from tests.cases import mostly_right


def run(seed: int, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "id": mostly_right(60, seed=seed),
        "ood": {"far/x": mostly_right(50, seed=seed + 50, spread=0.2),
                "near/y": mostly_right(40, seed=seed + 70, spread=0.6)},
        "methods": ["energy", "msp"], "bootstrap": 0, "id_name": "test",
    }  # fmt: skip
    return ood.evaluate(**(options | changes)).to_json()


RUNS = {f"seed{s}": run(s) for s in (1, 2, 3)}


@pytest.mark.parametrize("ddof", [0, 1])
def test_means_and_deviations_are_numpys(ddof: int) -> None:
    pooled = pool_results(RUNS, ddof)
    for part in ("results", "means"):
        for row in getattr(pooled, part):
            own = [
                r for d in RUNS.values() for r in d[part]
                if all(r[k] == row[k] for k in ("method", "ood", "group") if k in row)
            ]  # fmt: skip
            assert row["runs"] == len(own) == 3
            for metric in ("auroc", "fpr"):
                values = [r[metric] for r in own]
                assert row[metric] == pytest.approx(np.mean(values), rel=1e-12)
                assert row[f"{metric}_std"] == pytest.approx(np.std(values, ddof=ddof), rel=1e-9)
    accuracies = [d["id"]["accuracy"] for d in RUNS.values()]
    assert pooled.accuracy == pytest.approx(np.mean(accuracies))
    assert pooled.accuracy_std == pytest.approx(np.std(accuracies, ddof=ddof))
    document = pooled.to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["pooled"] == {"runs": list(RUNS), "ddof": ddof}


def test_the_deviation_of_a_group_mean_is_that_of_the_runs_means() -> None:
    pooled = pool_results(list(RUNS.values()))
    (row,) = (m for m in pooled.means if (m["method"], m["group"]) == ("energy", "all"))
    by_run = [
        np.mean([r["auroc"] for r in d["results"] if r["method"] == "energy"])
        for d in RUNS.values()
    ]
    assert row["auroc_std"] == pytest.approx(np.std(by_run, ddof=1))


def test_a_method_that_a_run_lacks_is_pooled_over_the_others() -> None:
    some = {**RUNS, "more": run(4, methods=["energy"])}
    rows = {(r["method"], r["ood"]): r for r in pool_results(some).results}
    assert rows["energy", "x"]["runs"] == 4
    assert rows["msp", "x"]["runs"] == 3


def test_one_run_has_no_deviation_and_no_figure_no_mean() -> None:
    pooled = pool_results([RUNS["seed1"]])
    assert pooled.results[0]["auroc_std"] is None
    broken = json.loads(json.dumps(RUNS["seed2"]))
    broken["results"][0]["fpr"] = None
    row = pool_results([RUNS["seed1"], broken]).results[0]
    assert (row["fpr"], row["fpr_std"]) == (None, None)
    assert row["auroc_std"] is not None


def test_the_table_has_means_and_deviations() -> None:
    document = pool_results(RUNS).to_json()
    text = pooled_table(document).to_markdown()
    row = next(m for m in document["means"] if (m["method"], m["group"]) == ("msp", "near"))
    assert f"{100 * row['auroc']:.2f} ± {100 * row['auroc_std']:.2f}" in text
    assert "over 3 runs" in text


def test_sets_called_otherwise_are_said_to_be() -> None:
    with pytest.warns(ToolkitWarning, match="called test, seed2; they are pooled as one"):
        pool_results([RUNS["seed1"], run(2, id_name="seed2")])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fpr_rule": "ood_positive"}, "fpr_rule ood_positive against id_positive"),
        ({"ood": {"far/x": mostly_right(9, seed=1)}}, "its sets are not those of run 1: near/y"),
        ({"id": mostly_right(61, seed=2)}, "in-distribution rows 61 against 60"),
        (
            {"shifted": {"blur": mostly_right(20, seed=9)}},
            r"shifted sets blur \(20 rows\) against none, "
            "in-distribution rows 80 against 60",
        ),
        (
            {"ood": {"far/x": mostly_right(50, seed=1), "near/y": mostly_right(41, seed=3)}},
            "rows of y 41 against 40",
        ),
    ],
)
def test_runs_that_differ_are_not_pooled(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        pool_results([RUNS["seed1"], run(2, **change)])
    with pytest.raises(InputError, match="no results to pool"):
        pool_results([])
    with pytest.raises(InputError, match="ddof is 0 or 1"):
        pool_results(RUNS, 2)


def test_models_may_be_right_on_other_rows() -> None:
    runs = [run(seed, id_subset="correct") for seed in (1, 2)]
    assert runs[0]["id"]["n"] != runs[1]["id"]["n"]
    assert pool_results(runs).results[0]["runs"] == 2


def test_documents_that_do_not_say_how_many_rows_are_pooled() -> None:
    bare = json.loads(json.dumps(RUNS["seed2"]))
    del bare["id"]["n"]
    for row in bare["results"]:
        del row["n_ood"]
    for runs in ([bare, RUNS["seed1"]], [RUNS["seed1"], bare]):
        assert pool_results(runs).results[0]["runs"] == 2
