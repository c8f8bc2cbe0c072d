"""A method that raises what nobody foresaw fails alone, is told, and loses no traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors.logit_values import Energy
from ood_toolkit.detectors.nearest import KNN
from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.evaluation import stress
from tests.cases import mostly_right
from tests.cli.running import save, tool

TRAIN, TEST = mostly_right(120, seed=1), mostly_right(60, seed=2)
FAR = mostly_right(40, seed=3, spread=0.2)
REASON = "unexpected LinAlgError: no way; please report it"
METHODS = ["msp", "knn", "mahalanobis"]


def broken(error: BaseException) -> Any:
    def raising(*_: Any, **__: Any) -> Any:
        raise error

    return raising


@pytest.fixture
def no_knn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KNN, "fit", broken(np.linalg.LinAlgError("no\n way")))


def evaluate(methods: Any, **more: Any) -> Any:
    return ood.evaluate(methods, id=TEST, ood={"a": FAR}, train=TRAIN, bootstrap=0, **more)


@pytest.mark.usefixtures("no_knn")
def test_the_other_methods_of_an_evaluation_run() -> None:
    with pytest.warns(ToolkitWarning, match="knn: unexpected LinAlgError") as said:
        result = evaluate(METHODS, workers=1)
    assert result.methods() == ("msp", "mahalanobis")
    assert [(note.method, note.reason) for note in result.failed] == [("knn", REASON)]
    (warning,) = said
    (trace,) = warning.message.__notes__
    assert trace.startswith("Traceback")
    assert "in raising" in trace


@pytest.mark.usefixtures("no_knn")
def test_the_other_methods_of_errors_and_stress_run() -> None:
    x = mostly_right(300, seed=6, spread=0.5)
    for report in (lambda: ood.evaluate_errors(METHODS, x, train=TRAIN),
                   lambda: stress(METHODS, x, train=TRAIN, rows=20)):  # fmt: skip
        with pytest.warns(ToolkitWarning, match="knn: unexpected LinAlgError"):
            found = report()
        assert [r.method for r in found.results] == ["msp", "mahalanobis"]
        assert [(note.method, note.reason) for note in found.failed] == [("knn", REASON)]


def test_a_setting_that_cannot_be_fitted_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    really = KNN.fit

    def fit(self: KNN, *records: Any) -> Any:
        return broken(RuntimeError("odd"))() if self.k == 10 else really(self, *records)

    monkeypatch.setattr(KNN, "fit", fit)
    with pytest.warns(ToolkitWarning, match="knn: unexpected RuntimeError: odd"):
        chosen = ood.tune("knn", TRAIN)
    reasons = {c.parameters["k"]: c.reason for c in chosen.candidates if c.auroc is None}
    assert reasons == {10: "unexpected RuntimeError: odd; please report it"}


def test_a_fault_in_the_shared_pass_is_that_of_its_method(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = evaluate(["msp", "entropy"]).to_json()
    monkeypatch.setattr(Energy, "combine", broken(FloatingPointError("odd")))
    with pytest.warns(ToolkitWarning, match="energy: unexpected FloatingPointError: odd"):
        result = evaluate(["energy", "msp", "entropy"])
    assert [note.method for note in result.failed] == ["energy"]
    for part in ("results", "means", "id"):
        assert result.to_json()[part] == expected[part]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_who_wants_to_stop_is_not_held(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KNN, "fit", broken(error))
    with pytest.raises(type(error)):
        evaluate(METHODS)


def test_a_method_without_room_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KNN, "fit", broken(MemoryError("9 GiB")))
    with pytest.warns(ToolkitWarning, match=r"knn: not enough memory \(9 GiB\)"):
        assert evaluate(METHODS).failed[0].reason == "not enough memory (9 GiB)"


@pytest.mark.parametrize("methods", ["msp", "knn", "mahalanobis"])
def test_what_the_callers_own_function_raises_is_no_failure(methods: str) -> None:
    with pytest.raises(ValueError, match="enough"):
        evaluate(methods, progress=broken(ValueError("enough")))


def test_warnings_that_were_made_errors_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KNN, "fit", broken(RuntimeWarning("odd")))
    with pytest.raises(RuntimeWarning, match="odd"):
        evaluate(METHODS)


@pytest.mark.usefixtures("no_knn")
def test_the_command_goes_on_and_says_so(tmp_path: Path) -> None:
    head = {"head_weight": TRAIN.head.weight, "head_bias": TRAIN.head.bias}
    for name, x in (("tr", TRAIN), ("te", TEST), ("far", FAR)):
        save(tmp_path / f"{name}.npz", logits=x.logits, features=x.features, labels=x.labels,
             **head)  # fmt: skip
    out = tmp_path / "results.json"
    words = ["evaluate", "--id", tmp_path / "te.npz", "--ood", f"a={tmp_path / 'far.npz'}",
             "--train", tmp_path / "tr.npz", "-m", ",".join(METHODS), "--bootstrap", "0",
             "--workers", "1", "--json-out", out]  # fmt: skip
    run = tool(*words)
    assert run.status == 4
    assert f"Warning: knn: {REASON}" in run.err
    assert f"Failed: knn: {REASON}" in run.err
    assert "Traceback" not in run.err
    document = json.loads(out.read_text())
    assert document["failed"] == [{"method": "knn", "reason": REASON}]
    assert {r["method"] for r in document["results"]} == {"msp", "mahalanobis"}
    debugged = tool(*words, "--debug")
    assert debugged.status == 4
    assert "Traceback" in debugged.err
    assert "in raising" in debugged.err
