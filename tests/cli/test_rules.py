"""`threshold --rule`, `policy`, and what `score` and `info` then say."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.decision import ClassThresholds, RiskRule, load_policy
from ood_toolkit.decision.verdict import predicted_classes, right_predictions
from tests.calibration.cases import overconfident, softmax
from tests.cli.running import TOOL, Run, csv_rows, save, tool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rules")
    for name, rows, seed in (
        ("val", 400, 1),
        ("test", 200, 2),
        ("train", 150, 3),
        ("more", 900, 4),
    ):
        ood.save_outputs(overconfident(rows, seed=seed), made / f"{name}.npz")
    for method in ("energy", "softmax_centroid", "msp"):
        fit = tool("fit", made / "train.npz", "-m", method, "-o", made / f"{method}.safetensors")
        assert fit.status == 0
    run = tool("calibrate", made / "val.npz", "-m", "temperature", "-q", "-o",
               made / "cal.safetensors")  # fmt: skip
    assert run.status == 0
    return made


def threshold(folder: Path, method: str, out: Path, *arguments: object) -> Run:
    return tool("threshold", "--detector", folder / f"{method}.safetensors", "--id-val",
                folder / "val.npz", "-o", out, *map(str, arguments))  # fmt: skip


def accepted(folder: Path, detector: Path) -> list[bool]:
    run = tool("score", folder / "test.npz", "--detector", detector, "-o", "-", "--format", "jsonl")
    assert (run.status, run.err) == (0, "")
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert all(0.0 < row["p_value"] <= 1.0 for row in rows)
    return [row["accept"] for row in rows]


def test_thresholds_by_class_are_stored_shown_and_applied(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    run = threshold(folder, "energy", out, "--rule", "class", "--tpr", 0.9, "--json")
    val, test = ood.load(folder / "val.npz"), ood.load(folder / "test.npz")
    scores = {name: ood.score(x, "energy")["energy"] for name, x in (("v", val), ("t", test))}
    expected = ClassThresholds.at_tpr(scores["v"], predicted_classes(val), 4, 0.9)
    facts = tool("info", out, "--json").document["threshold"]
    assert facts == run.document["threshold"]
    assert facts["values"] == [t.value for t in expected.thresholds]
    assert (facts["rule"], facts["tpr"], facts["rows"]) == ("class", 0.9, 400)
    assert accepted(folder, out) == expected.accept(scores["t"], predicted_classes(test)).tolist()
    guaranteed = threshold(folder, "energy", out, "--rule", "class", "--tpr", 0.8,
                           "--guarantee", "--delta", 0.2, "--json").document  # fmt: skip
    for low, value in zip(guaranteed["threshold"]["values"], facts["values"], strict=True):
        assert low != value
    assert guaranteed["threshold"]["guarantee"] is True


def test_a_method_s_own_rule_is_applied(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    run = threshold(folder, "softmax_centroid", out, "--rule", "method", "--json")
    scorer = ood.load_scorer(out)
    facts = run.document["threshold"]
    assert facts["coverage"] == scorer.accept(ood.load(folder / "val.npz")).mean()
    expected = scorer.accept(ood.load(folder / "test.npz"))
    assert accepted(folder, out) == expected.tolist()
    assert 0 < sum(expected) < 200
    run = threshold(folder, "energy", out, "--rule", "method")
    assert run.status == 3
    assert run.error.startswith(f"{folder / 'val.npz'}: energy has no rule of its own")


@pytest.mark.parametrize("rule", ["selective-risk", "expected-error"])
def test_a_risk_is_kept(rule: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    more = ["--delta", 0.1] if rule == "selective-risk" else []
    run = threshold(folder, "msp", out, "--rule", rule, "--risk", 0.2, *more, "--json")
    val, test = ood.load(folder / "val.npz"), ood.load(folder / "test.npz")
    scores, correct = ood.score(val, "msp")["msp"], right_predictions(val)
    expected = (
        RiskRule.selective(scores, correct, 0.2, 0.1)
        if more
        else RiskRule.expected(scores, correct, 0.2)
    )
    facts = run.document["threshold"]
    assert facts["value"] == expected.value
    assert facts["coverage"] == expected.coverage > 0.1
    assert accepted(folder, out) == (ood.score(test, "msp")["msp"] >= expected.value).tolist()
    # a wrong label is the only thing that a bound on wrong predictions sees
    bare = save(tmp_path / "bare.npz", logits=val.logits)
    run = tool("threshold", "--detector", folder / "msp.safetensors", "--id-val", bare, "--rule",
               rule, "--risk", "0.2", "-o", out)  # fmt: skip
    assert run.status == 3
    assert run.error == f"{bare}: a bound on wrong predictions needs logits and labels"


def test_a_rule_that_accepts_nothing_says_so(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    run = threshold(folder, "energy", out, "--rule", "selective-risk", "--risk", 0.02)
    assert run.status == 0
    assert "the rule accepts none of these rows" in run.err
    assert tool("info", out, "--json").document["threshold"]["value"] == "inf"
    assert not any(accepted(folder, out))


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--rule", "selective-risk"], 2, "--rule selective-risk needs --risk"),
        (["--risk", "0.1"], 2, "--risk belongs to --rule selective-risk and expected-error"),
        (["--rule", "method", "--tpr", "0.9"], 2, "belong to --rule tpr and class"),
        (["--rule", "method", "--guarantee"], 2, "belong to --rule tpr and class"),
        (["--rule", "expected-error", "--risk", "0.1", "--delta", "0.1"], 2, "--delta belongs to"),
        (["--rule", "selective-risk", "--risk", "0"], 2, "risk"),
        (["--rule", "selective-risk", "--risk", "1"], 2, "risk"),
        (["--rule", "selective-risk", "--risk", "nan"], 2, "risk"),
        (["--rule", "expected-error", "--risk", "-0.1"], 2, "risk"),
        (["--rule", "best"], 2, "rule"),
        (
            ["--rule", "selective-risk", "--risk", "0.001"],
            3,
            "400 labelled rows cannot show a risk of 0.001 with confidence 0.95; it takes 2995",
        ),
        (
            ["--rule", "expected-error", "--risk", "0.001"],
            3,
            "400 labelled rows cannot hold an error rate of 0.001; it takes 999",
        ),
    ],
)
def test_requests_that_make_no_sense(
    options: list[str], status: int, words: str, folder: Path, tmp_path: Path
) -> None:
    run = threshold(folder, "msp", tmp_path / "d.safetensors", *options)
    assert run.status == status
    assert words in " ".join(run.err.replace("│", " ").split())
    assert not (tmp_path / "d.safetensors").exists()


def test_a_class_absent_from_validation_is_named(folder: Path, tmp_path: Path) -> None:
    val = ood.load(folder / "val.npz")
    some = tmp_path / "some.npz"
    ood.save_outputs(val.rows(predicted_classes(val) != 2), some)
    out = tmp_path / "d.safetensors"
    run = tool("threshold", "--detector", folder / "energy.safetensors", "--id-val", some,
               "--rule", "class", "-o", out)  # fmt: skip
    assert run.status == 3
    assert run.error == (
        f"{some}: class 2: 0 in-distribution rows are predicted as it, its threshold takes 1"
    )
    run = threshold(folder, "energy", out, "--rule", "class", "--guarantee", "--tpr", 0.99)
    assert run.status == 3
    assert "its threshold takes 299" in run.error


def test_probabilities_for_logits_are_warned_of(folder: Path, tmp_path: Path) -> None:
    val = ood.load(folder / "val.npz")
    wrong = save(tmp_path / "p.npz", logits=softmax(val.logits), labels=val.labels)
    out = tmp_path / "d.safetensors"
    run = tool("threshold", "--detector", folder / "energy.safetensors", "--id-val", wrong,
               "-o", out)  # fmt: skip
    assert run.status == 0
    assert "they look like probabilities" in run.err


def test_unknown_labels_have_no_say_in_a_risk(folder: Path, tmp_path: Path) -> None:
    val = ood.load(folder / "val.npz")
    labels = np.array(val.labels)
    labels[11] = -1
    some = save(tmp_path / "some.npz", logits=val.logits, labels=labels)
    run = tool("threshold", "--detector", folder / "msp.safetensors", "--id-val", some, "--rule",
               "selective-risk", "--risk", "0.2", "-o", tmp_path / "d.safetensors")  # fmt: skip
    assert run.status == 3
    assert run.error == f"{some}: labels: row 11 is -1 (unknown); use labelled rows"


# policy


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Path:
    """A policy of two detectors, a calibrator and a confidence."""
    first, second = tmp_path / "e.safetensors", tmp_path / "s.safetensors"
    assert threshold(folder, "energy", first, "--tpr", 0.9).status == 0
    assert threshold(folder, "softmax_centroid", second, "--rule", "method").status == 0
    out = tmp_path / "policy.safetensors"
    run = tool("policy", "--detector", first, "--detector", second, "--calibrator",
               folder / "cal.safetensors", "--confidence", "0.7", "-o", out)  # fmt: skip
    assert (run.status, run.err) == (0, "")
    return out


def test_score_says_what_to_do_and_why(made: Path, folder: Path, tmp_path: Path) -> None:
    run = tool("score", folder / "test.npz", "--policy", made, "-o", "-", "--format", "jsonl")
    assert (run.status, run.err) == (0, "")
    rows = [json.loads(line) for line in run.out.splitlines()]
    x = ood.load(folder / "test.npz")
    expected = load_policy(made).decide(x)
    assert [row["action"] for row in rows] == expected.action.tolist()
    assert [row["reason"] for row in rows] == list(expected.reason)
    assert [row["accept"] for row in rows] == (expected.action == "accept").tolist()
    assert [row["prediction"] for row in rows] == expected.prediction.tolist()
    assert [row["probability"] for row in rows] == expected.probability.tolist()
    assert [row["label"] for row in rows] == np.asarray(x.labels).tolist()
    energy = ood.score(x, "energy")["energy"]
    assert [row["energy"] for row in rows] == energy.tolist()
    counts = Counter(row["action"] for row in rows)
    assert set(counts) == {"accept", "defer", "reject"}
    for row in rows:
        assert (row["action"] == "reject") == (
            not (row["energy.accept"] and row["softmax_centroid.accept"])
        )
    # every format takes the words
    for suffix in ("csv", "parquet", "npz"):
        out = tmp_path / f"s.{suffix}"
        run = tool("score", folder / "test.npz", "--policy", made, "-o", out)
        assert (run.status, run.err) == (0, "")
    header, first, *_ = csv_rows((tmp_path / "s.csv").read_text())
    assert first[header.index("action")] == rows[0]["action"]


def test_accept_can_be_read_with_jq(made: Path, folder: Path) -> None:
    command = f"{TOOL} score {folder / 'test.npz'} --policy {made} -o - --format jsonl"
    plain = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    accept = [json.loads(line)["accept"] for line in plain.stdout.splitlines()]
    assert set(accept) == {True, False}
    if shutil.which("jq"):
        piped = subprocess.run(
            ["sh", "-c", f"{command} | jq .accept"], capture_output=True, text=True, check=True
        )
        assert piped.stdout.split() == [json.dumps(value) for value in accept]


def test_info_shows_what_a_policy_is_made_of(made: Path, folder: Path) -> None:
    document = tool("info", made, "--json").document
    assert (document["kind"], document["calibrator"]) == ("policy", "temperature")
    assert document["confidence"] == 0.7
    assert {n: r.get("rule", "tpr") for n, r in document["detectors"].items()} == {
        "energy": "tpr",
        "softmax_centroid": "method",
    }
    assert "softmax centroid" in tool("info", made).out
    run = tool("info", folder / "energy.safetensors", "--json")
    assert run.document["kind"] == "detector"


def test_a_risk_sets_the_confidence(folder: Path, tmp_path: Path) -> None:
    detector, out = tmp_path / "e.safetensors", tmp_path / "policy.safetensors"
    assert threshold(folder, "energy", detector, "--tpr", 0.9).status == 0
    given = ["policy", "--detector", detector, "--calibrator", folder / "cal.safetensors",
             "--risk", "0.25", "--delta", "0.1", "-o", out]  # fmt: skip
    run = tool(*given, "--id-val", folder / "more.npz", "--json")
    assert (run.status, run.err) == (0, "")
    expected = load_policy(out).keeping_risk(ood.load(folder / "more.npz"), 0.25, 0.1)
    assert run.document["confidence"] == expected.confidence
    assert 0.0 < expected.confidence < 1.0
    run = tool(*given, "--id-val", folder / "val.npz")
    assert "the risk is promised for rows used for nothing else" in run.err


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--risk", "0.1"], 2, "--risk and --id-val go together"),
        (["--id-val", "VAL"], 2, "--risk and --id-val go together"),
        (["--id-val", "VAL", "--risk", "0.1", "--confidence", "0.5"], 2, "let --risk find it"),
        (["--delta", "0.1"], 2, "--delta belongs to --risk"),
        (["--confidence", "1.5"], 2, "confidence"),
        (["--id-val", "VAL", "--risk", "0"], 2, "risk"),
        (["--detector", "SAME"], 2, "energy is in the policy twice"),
        (["--detector", "BARE"], 3, "threshold: there is none; `ood-toolkit threshold` sets one"),
        (["--calibrator", "SAME"], 3, "holds no calibrator"),
    ],
)
def test_policies_that_make_no_sense(
    options: list[str], status: int, words: str, folder: Path, tmp_path: Path
) -> None:
    detector, out = tmp_path / "e.safetensors", tmp_path / "policy.safetensors"
    assert threshold(folder, "energy", detector).status == 0
    names = {"VAL": folder / "val.npz", "SAME": detector, "BARE": folder / "msp.safetensors"}
    given = [str(names.get(option, option)) for option in options]
    run = tool("policy", "--detector", detector, "-o", out, *given)
    assert run.status == status
    assert words in " ".join(run.err.replace("│", " ").split())
    assert not out.exists()


def test_a_policy_of_two_classifiers_names_both_files(folder: Path, tmp_path: Path) -> None:
    x = ood.load(folder / "val.npz")
    few = save(tmp_path / "few.npz", logits=x.logits[:, :3], labels=x.labels % 3)
    detector, calibrator = tmp_path / "s.safetensors", tmp_path / "c.safetensors"
    assert threshold(folder, "softmax_centroid", detector, "--rule", "method").status == 0
    assert tool("calibrate", few, "-m", "temperature", "-q", "-o", calibrator).status == 0
    out = tmp_path / "policy.safetensors"
    run = tool("policy", "--detector", detector, "--calibrator", calibrator, "-o", out)
    assert run.status == 3
    assert run.error == (
        f"{calibrator}: temperature is for 3 classes, but softmax_centroid ({detector}) for 4; "
        "fit every part of a policy on outputs of one classifier"
    )
    assert not out.exists()


def test_a_policy_has_its_own_detectors(made: Path, folder: Path) -> None:
    run = tool("score", folder / "test.npz", "--policy", made, "-m", "energy")
    assert run.status == 2
    assert "leave out -m and --detector" in " ".join(run.err.split())
    run = tool("score", folder / "test.npz", "--policy", folder / "energy.safetensors")
    assert run.status == 3
    assert "holds no policy" in run.error


# errors with outliers


def test_errors_weighs_outliers_against_wrong_predictions(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    far = save(tmp_path / "far.npz", logits=rng.normal(size=(80, 4)), labels=np.full(80, 77))
    given = ["errors", folder / "test.npz", "-m", "msp,energy", "--ood", far, "--ood", f"b={far}",
             "--ood-cost", "0.5", "--bootstrap", "50"]  # fmt: skip
    document = tool(*given, "--json").document
    x = ood.load(folder / "test.npz")
    correct = right_predictions(x)
    for row in document["results"]:
        inside = ood.score(x, row["method"])[row["method"]]
        outside = ood.score(ood.load(far, labels=False), row["method"])[row["method"]]
        scod = row["scod"]["far"]
        assert (scod["n_ood"], scod["cost"]) == (80, 0.5)
        assert scod["aurc"] == ood.metrics.scod_aurc(inside, correct, outside, 0.5)
        assert scod["augrc"] == ood.metrics.scod_augrc(inside, correct, outside, 0.5)
        expected = ood.metrics.scod_risk_at_coverage(inside, correct, outside, 0.8, 0.5)
        assert scod["risk_at_coverage"]["0.8"] == expected
        assert row["scod"]["b"] == scod
        intervals = ood.metrics.selective_intervals(
            inside, correct, coverages=[0.8], risks=[0.05], resamples=50
        )
        assert row["risk_at_coverage_ci"]["0.8"] == list(intervals.risk_at_coverage[0])
        assert row["coverage_at_risk_ci"]["0.05"] == list(intervals.coverage_at_risk[0])
        assert row["coverage_at_risk"]["0.05"] == ood.metrics.coverage_at_risk(
            inside, correct, 0.05
        )
    text = tool(*given).out
    assert "With 80 outliers of far among the rows, each of which costs 0.5" in text
    run = tool("errors", folder / "test.npz", "-m", "msp", "--bootstrap", "0", "--json")
    assert run.document["results"][0]["risk_at_coverage_ci"] == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ood", "a.npz", "--ood", "b/a.npz"], "--ood a is given twice"),
        (["--ood", "=a.npz"], "expected [NAME=]FILE"),
        (["--ood-cost", "-1"], "ood-cost"),
        (["--ood-cost", "nan"], "--ood-cost must be a number"),
        (["--bootstrap", "-1"], "bootstrap"),
    ],
)
def test_wrong_requests_for_outliers(options: list[str], words: str, folder: Path) -> None:
    run = tool("errors", folder / "test.npz", "-m", "msp", *options)
    assert run.status == 2
    assert words in " ".join(run.err.replace("│", " ").split())
