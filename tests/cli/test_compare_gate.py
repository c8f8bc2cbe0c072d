"""`compare --fail-if-worse` as a gate: what it names, and what is no pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import tool

Put = Callable[..., Path]


def document(*pairs: tuple[str, str, float | None], n: int = 50, name: str = "cifar10") -> Any:
    """A results document of pairs (method, set, AUROC)."""
    results = [
        {"method": m, "ood": s, "group": "", "n_ood": 40, "auroc": a, "auroc_ci": None, "fpr": 0.5}
        for m, s, a in pairs
    ]
    means = [{"method": m, "group": "all", "auroc": a, "fpr": 0.5} for m, _, a in pairs]
    return {"schema": 1, "convention": {"fpr_at_tpr": 0.95, "fpr_rule": "id_positive"},
            "id": {"name": name, "n": n, "accuracy": None}, "results": results,
            "means": means}  # fmt: skip


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(stem: str, /, *pairs: Any, **more: Any) -> Path:
        path = tmp_path / f"{stem}.json"
        path.write_text(json.dumps(document(*pairs, **more)))
        return path

    return write


BOTH = (("knn", "x", 0.9), ("msp", "x", 0.8))


def test_a_pair_that_is_gone_is_no_pass(put: Put) -> None:
    before, after = put("before", *BOTH), put("after", BOTH[1])
    run = tool("compare", before, after, "--fail-if-worse", "-q")
    assert run.status == 1
    assert run.err == "Missing: knn on x (no AUROC in after)\n"
    document = tool("compare", before, after, "--fail-if-worse", "--json").document
    assert document["missing"] == [{"file": "after", "method": "knn", "ood": "x", "lacks": "after"}]
    assert tool("compare", before, after).status == 0
    assert tool("compare", after, before, "--fail-if-worse").status == 0  # more is no fall


def test_a_pair_without_a_number_is_no_pass(put: Put) -> None:
    before, after = put("before", *BOTH), put("after", BOTH[1], ("knn", "x", None))
    run = tool("compare", before, after, "--fail-if-worse", "-q")
    assert (run.status, run.err) == (1, "Missing: knn on x (no AUROC in after)\n")
    run = tool("compare", after, before, "--fail-if-worse", "-q")
    assert (run.status, run.err) == (1, "Missing: knn on x (no AUROC in after)\n")


def test_nothing_in_common_is_no_pass(put: Put) -> None:
    before, after = put("before", *BOTH), put("after", ("gen", "y", 0.9))
    run = tool("compare", before, after, "--fail-if-worse", "-q")
    assert run.status == 1
    assert run.err.splitlines() == [
        f"Missing: {m} on x (no AUROC in after)" for m in ("knn", "msp")
    ]
    run = tool("compare", put("none"), after, "--fail-if-worse")
    assert run.status == 3
    assert "none.json: results: is empty" in run.error


def test_quiet_still_says_what_fell(put: Put) -> None:
    before, after = put("before", *BOTH), put("after", ("knn", "x", 0.7), BOTH[1])
    run = tool("compare", before, after, "--fail-if-worse", "-q")
    assert (run.status, run.err) == (1, "Worse: after: knn on x: AUROC 70.00, was 90.00\n")


def test_runs_on_other_data_sets_are_said_to_be(put: Put) -> None:
    before = put("before", *BOTH)
    assert tool("compare", before, put("same", *BOTH)).err.startswith("Note: no paired tests")
    run = tool("compare", before, put("after", ("knn", "y", 0.9), n=60, name="cifar100"))
    assert run.status == 0
    assert run.err.splitlines()[0] == (
        "Warning: after is about other data sets than before: in-distribution cifar100, not "
        "cifar10; 60 in-distribution rows, not 50; without x; also with y"
    )


def test_runs_that_count_other_rows_are_no_pass(put: Put) -> None:
    """Rows that are classified right are easier: an AUROC of theirs hides a fall."""
    before, after = put("before", *BOTH), put("after", *BOTH)
    held = json.loads(after.read_text())
    held["convention"]["id_subset"] = "correct"
    after.write_text(json.dumps(held))
    run = tool("compare", before, after, "--fail-if-worse")
    assert run.status == 3
    assert run.error == (
        "after: counts correct in-distribution rows, before all; --fail-if-worse needs runs of one "
        "--id-subset"
    )
    run = tool("compare", before, after)
    assert run.status == 0
    assert "correct in-distribution rows counted, not all" in run.err
    held["convention"]["id_subset"] = "all"  # what a document that does not say so means
    after.write_text(json.dumps(held))
    assert tool("compare", before, after, "--fail-if-worse").status == 0


def test_a_margin_alone_is_refused(put: Put) -> None:
    before = put("before", *BOTH)
    run = tool("compare", before, before, "--margin", "0.1")
    assert run.status == 2
    assert "--margin goes with --fail-if-worse" in run.err


def test_runs_of_other_groups_have_the_mean_of_all_in_common(put: Put) -> None:
    street = put("street", *BOTH)
    held = json.loads(street.read_text())
    held["means"] += [{**mean, "group": "street"} for mean in held["means"]]
    street.write_text(json.dumps(held))
    assert "mean all" not in tool("compare", street).out
    out = tool("compare", put("bare", *BOTH), street).out
    assert "mean street" in out
    assert "mean all" in out
