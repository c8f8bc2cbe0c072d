"""`calibrate`, `apply` and `threshold`, and what `info` and `score` then say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.calibration import find_calibrator, load_calibrator, probability_quality
from ood_toolkit.decision import Monitor, Threshold, guaranteed_rank
from tests.calibration.cases import overconfident
from tests.cli.running import Run, csv_rows, save, tool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validation, test and training rows of a classifier that is too sure."""
    made = tmp_path_factory.mktemp("sure")
    for name, rows, seed in (("val", 300, 1), ("test", 200, 2), ("train", 100, 3)):
        ood.save_outputs(overconfident(rows, seed=seed), made / f"{name}.npz")
    return made


def calibrate(folder: Path, *arguments: object) -> Run:
    return tool("calibrate", folder / "val.npz", *map(str, arguments))


def test_calibrate_tells_what_it_did(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.safetensors"
    document = calibrate(folder, "-m", "temperature", "-o", out, "--json").document
    validation = ood.load(folder / "val.npz")
    fitted = ood.Temperature().fit(validation)
    digest = hashlib.sha256((folder / "val.npz").read_bytes()).hexdigest()
    assert document == {
        "method": "temperature",
        "output": str(out),
        "fitted_on": {"file": str(folder / "val.npz"), "rows": 300, "sha256": digest},
        "report": {"temperature": fitted.temperature, "status": "minimum"},
        "keeps_prediction": True,
        "changed_predictions": 0.0,
        "before": probability_quality(validation).to_json(),
        "after": probability_quality(fitted.apply(validation)).to_json(),
    }
    assert document["after"]["nll"] < document["before"]["nll"]
    loaded = load_calibrator(out)
    assert loaded.temperature == fitted.temperature  # type: ignore[attr-defined]
    facts = tool("info", out, "--json").document
    assert (facts["kind"], facts["method"], facts["classes"]) == ("calibrator", "temperature", 4)
    assert facts["fitted_on"] == document["fitted_on"]
    assert facts["report"] == document["report"]


def test_calibrate_prints_before_and_after(folder: Path, tmp_path: Path) -> None:
    run = calibrate(folder, "-m", "vector", "-o", tmp_path / "c.safetensors")
    assert run.status == 0
    lines = [line.split() for line in run.out.splitlines()]
    assert ["accuracy", "NLL", "Brier", "ECE"] in lines
    before = next(line for line in lines if line[:1] == ["before"])
    validation = ood.load(folder / "val.npz")
    assert before[2] == f"{probability_quality(validation).nll:.4f}"
    quiet = calibrate(folder, "-m", "vector", "-o", tmp_path / "d.safetensors", "-q")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")


def test_auto_is_what_calibrate_does_unasked(folder: Path, tmp_path: Path) -> None:
    document = calibrate(folder, "-o", tmp_path / "c.safetensors", "--json").document
    assert document["method"] == "auto"
    assert document["report"]["chosen"] in document["report"]["cross_validated_nll"]


def test_auto_keeps_predictions_where_what_it_chose_does(folder: Path, tmp_path: Path) -> None:
    given = ("-m", "auto", "-o", tmp_path / "c.safetensors")
    document = calibrate(folder, *given, "--json").document
    keeps = find_calibrator(document["report"]["chosen"]).keeps_prediction
    assert keeps  # in these rows a temperature is all that is wrong
    assert document["keeps_prediction"] is document["report"]["keeps_prediction"] is keeps
    lines = [
        line for line in calibrate(folder, *given).out.splitlines() if "keeps prediction" in line
    ]
    assert [line.split() for line in lines] == [["keeps", "prediction", "True"]]
    vector = ood.AutoCalibration(candidates=("vector",)).fit(ood.load(folder / "val.npz"))
    assert not vector.keeps_prediction


def test_apply_writes_calibrated_outputs(folder: Path, tmp_path: Path) -> None:
    made, out = tmp_path / "c.safetensors", tmp_path / "out.npz"
    assert calibrate(folder, "-m", "temperature", "-o", made).status == 0
    run = tool("apply", folder / "test.npz", "--calibrator", made, "-o", out, "--json")
    test = ood.load(folder / "test.npz")
    expected = load_calibrator(made).apply(test)
    written = ood.load(out)
    assert np.array_equal(written.logits, expected.logits)
    assert np.array_equal(written.labels, test.labels)
    assert np.array_equal(written.features, test.features)
    assert written.head is None
    assert run.document == {
        "method": "temperature",
        "output": str(out),
        "rows": 200,
        "changed_predictions": 0.0,
        "before": probability_quality(test).to_json(),
        "after": probability_quality(expected).to_json(),
    }
    assert run.err == ""


def test_apply_works_without_labels(folder: Path, tmp_path: Path) -> None:
    made, out = tmp_path / "c.safetensors", tmp_path / "out.csv"
    assert calibrate(folder, "-m", "spline", "-o", made).status == 0
    logits = save(tmp_path / "x.npz", logits=ood.load(folder / "test.npz").logits)
    run = tool("apply", logits, "--calibrator", made, "-o", out, "--json")
    assert set(run.document) == {"method", "output", "rows", "changed_predictions"}
    assert ood.load(out).logits.shape == (200, 4)


def test_figures_on_the_rows_fitted_on_are_warned_of(folder: Path, tmp_path: Path) -> None:
    """A planted leak: the test file is the validation file under another name."""
    made = tmp_path / "c.safetensors"
    assert calibrate(folder, "-m", "isotonic", "-o", made).status == 0
    planted = tmp_path / "test.npz"
    planted.write_bytes((folder / "val.npz").read_bytes())
    run = tool("apply", planted, "--calibrator", made, "-o", tmp_path / "out.npz")
    assert run.status == 0
    assert f"Warning: {planted}: the calibrator was fitted on these rows" in run.err


def test_calibrating_never_reads_another_file(folder: Path, tmp_path: Path) -> None:
    """The same calibrator whatever lies beside the validation file."""
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "val.npz").write_bytes((folder / "val.npz").read_bytes())
    for name in ("temperature", "vector", "isotonic"):
        one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
        assert calibrate(folder, "-m", name, "-o", one).status == 0
        assert tool("calibrate", alone / "val.npz", "-m", name, "-o", other).status == 0
        test = ood.load(folder / "test.npz")
        first, second = (load_calibrator(path).apply(test).logits for path in (one, other))
        assert np.array_equal(first, second)


def test_dac_takes_training_rows(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.safetensors"
    run = calibrate(folder, "-m", "dac", "-o", out)
    assert run.status == 2
    assert "dac needs training outputs: --train FILE" in " ".join(run.err.split())
    run = calibrate(folder, "-m", "dac", "--set", "k=5", "--train", folder / "train.npz",
                    "-o", out, "--json")  # fmt: skip
    assert set(run.document["report"]["weights"]) == {"constant", "features", "early"}


REFUSED = [
    (["-m", "temprature"], 2, "did you mean temperature"),
    (["-m", "histogram", "--set", "bin=3"], 2, "did you mean bins"),
    (["-m", "histogram", "--set", "bins=0"], 2, "histogram.bins must be at least 1"),
    (["-m", "beta", "--set", "variant=x"], 2, "beta.variant takes"),
    (["-m", "matrix", "--set", "off_diagonal=-1"], 2, "matrix.off_diagonal"),
    (["-m", "tempered_per_sample", "--set", "divergence=0"], 2, "divergence must be above 0"),
]


@pytest.mark.parametrize(("options", "status", "words"), REFUSED)
def test_a_wrong_request_saves_nothing(
    options: list[str], status: int, words: str, folder: Path, tmp_path: Path
) -> None:
    run = calibrate(folder, *options, "-o", tmp_path / "c.safetensors")
    assert run.status == status
    assert words in " ".join(run.err.split())
    assert list(tmp_path.iterdir()) == []


def test_validation_rows_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    x = ood.load(folder / "val.npz")
    assert x.labels is not None
    assert x.logits is not None
    unknown, beyond = x.labels.copy(), x.labels.copy()
    unknown[5], beyond[6] = -1, 4
    path = tmp_path / "val.npz"
    for arrays, words in (
        ({"logits": x.logits}, "vector needs labels to be fitted"),
        ({"logits": x.logits, "labels": unknown}, "labels: row 5 is -1 (unknown)"),
        ({"logits": x.logits, "labels": beyond}, "labels: row 6 is 4, expected"),
        ({"logits": x.logits, "labels": x.labels % 3}, "class 3 has no row"),
        ({"logits": x.logits[:0], "labels": x.labels[:0]}, "cannot be fitted on zero rows"),
    ):
        save(path, **arrays)
        run = tool("calibrate", path, "-m", "vector", "-o", tmp_path / "c.safetensors")
        assert run.status == 3, arrays
        assert run.error.startswith(f"{path}: ")
        assert words in run.error
    p = np.exp(x.logits) / np.exp(x.logits).sum(axis=1, keepdims=True)
    save(path, logits=p, labels=x.labels)
    run = tool("calibrate", path, "-m", "temperature", "-o", tmp_path / "c.safetensors")
    assert run.status == 0
    assert run.err.count("they look like probabilities") == 1


def test_separable_rows_are_warned_of(tmp_path: Path) -> None:
    path = save(tmp_path / "v.npz", logits=10 * np.eye(3), labels=np.arange(3))
    run = tool("calibrate", path, "-m", "temperature", "-o", tmp_path / "c.safetensors")
    assert run.status == 0
    assert "Warning: " in run.err
    assert "the likelihood grows as T -> 0; T is set to" in run.err


def test_what_is_no_calibrator(folder: Path, tmp_path: Path) -> None:
    detector = tmp_path / "d.safetensors"
    ood.Energy().fit().save(detector)
    for path, words in (
        (detector, "holds no calibrator"),
        (tmp_path / "none.safetensors", "there is no such file"),
        (folder / "val.npz", "is not a readable .safetensors file"),
    ):
        run = tool("apply", folder / "test.npz", "--calibrator", path, "-o", tmp_path / "o.npz")
        assert run.status == 3
        assert run.error.startswith(f"{path}: ")
        assert words in run.error


def test_outputs_are_no_inputs(folder: Path, tmp_path: Path) -> None:
    made, own = tmp_path / "c.safetensors", tmp_path / "own.npz"
    assert calibrate(folder, "-m", "temperature", "-o", made).status == 0
    own.write_bytes((folder / "test.npz").read_bytes())
    for target in (own, made):
        run = tool("apply", own, "--calibrator", made, "-o", target)
        assert run.status == 3
        assert "is also an input" in run.error
    assert calibrate(folder, "-m", "temperature", "-o", tmp_path / "c.npz").status == 2


def test_another_number_of_classes(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "c.safetensors"
    assert calibrate(folder, "-m", "vector", "-o", made).status == 0
    other = save(tmp_path / "x.npz", logits=np.zeros((3, 5)))
    run = tool("apply", other, "--calibrator", made, "-o", tmp_path / "o.npz")
    assert run.error == f"{other}: 5 classes, but vector was fitted on 4 classes"
    assert not (tmp_path / "o.npz").exists()


# threshold


@pytest.fixture
def detector(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "d.safetensors"
    assert tool("fit", folder / "train.npz", "-m", "energy", "-o", path).status == 0
    return path


def threshold(detector: Path, folder: Path, *arguments: object) -> Run:
    return tool("threshold", "--detector", detector, "--id-val", folder / "val.npz",
                *map(str, arguments))  # fmt: skip


def test_threshold_is_stored(detector: Path, folder: Path) -> None:
    document = threshold(detector, folder, "--tpr", 0.9, "--json").document
    scores = ood.score(ood.load(folder / "val.npz"), "energy")["energy"]
    expected = Threshold.at_tpr(scores, 0.9)
    digest = hashlib.sha256((folder / "val.npz").read_bytes()).hexdigest()
    facts = {**expected.facts(), "set_on": {"file": str(folder / "val.npz"), "sha256": digest}}
    assert document == {"method": "energy", "output": str(detector), "threshold": facts}
    assert tool("info", detector, "--json").document["threshold"] == facts
    rows = csv_rows(tool("score", folder / "test.npz", "--detector", detector).out)
    accept = [row[rows[0].index("accept")] == "true" for row in rows[1:]]
    test = ood.score(ood.load(folder / "test.npz"), "energy")["energy"]
    assert accept == expected.accept(test).tolist()


def test_a_guaranteed_threshold_accepts_more(detector: Path, folder: Path) -> None:
    document = threshold(detector, folder, "--guarantee", "--delta", 0.1, "--json").document
    scores = np.sort(ood.score(ood.load(folder / "val.npz"), "energy")["energy"])
    facts = document["threshold"]
    assert facts["value"] == scores[guaranteed_rank(300, 0.95, 0.1) - 1]
    assert (facts["tpr"], facts["delta"], facts["guarantee"]) == (0.95, 0.1, True)
    assert facts["value"] < Threshold.at_tpr(scores).value
    default = threshold(detector, folder, "--guarantee", "--json").document["threshold"]
    assert default["delta"] == 0.05


def test_accept_can_be_read_from_json_lines(detector: Path, folder: Path) -> None:
    assert threshold(detector, folder).status == 0
    run = tool("score", folder / "test.npz", "--detector", detector, "-o", "-", "--format", "jsonl")
    accept = [json.loads(line)["accept"] for line in run.out.splitlines()]
    assert len(accept) == 200
    assert set(accept) == {True, False}


def test_another_file_can_be_written(detector: Path, folder: Path, tmp_path: Path) -> None:
    before = detector.read_bytes()
    out = tmp_path / "with.safetensors"
    assert threshold(detector, folder, "-o", out).status == 0
    assert detector.read_bytes() == before
    assert "threshold" in tool("info", out, "--json").document
    assert "threshold" not in tool("info", detector, "--json").document


def test_too_few_rows_for_a_guarantee_says_how_many(
    detector: Path, folder: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.npz"
    ood.save_outputs(ood.load(folder / "val.npz").rows(slice(58)), few)
    before = detector.read_bytes()
    run = tool("threshold", "--detector", detector, "--id-val", few, "--guarantee")
    assert run.status == 3
    assert run.error == (
        f"{few}: 58 in-distribution rows cannot guarantee a rate of 0.95 with confidence 0.95; "
        "it takes 59"
    )
    assert detector.read_bytes() == before


def test_a_threshold_on_the_training_rows_is_warned_of(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "knn.safetensors"
    fit = tool("fit", folder / "train.npz", "-m", "knn", "--set", "k=3", "-o", made)
    assert fit.status == 0
    run = tool("threshold", "--detector", made, "--id-val", folder / "train.npz")
    assert run.status == 0
    assert "the detector was fitted on these rows" in run.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tpr", "0"], "tpr"),
        (["--tpr", "1.1"], "tpr"),
        (["--tpr", "nan"], "tpr"),
        (["--delta", "0.1"], "--delta belongs to --guarantee"),
        (["--guarantee", "--delta", "0"], "delta"),
        (["--guarantee", "--delta", "1"], "delta"),
        (["--guarantee", "--tpr", "1"], "no number of rows guarantees"),
    ],
)
def test_shares_out_of_range(options: list[str], words: str, detector: Path, folder: Path) -> None:
    before = detector.read_bytes()
    run = threshold(detector, folder, *options)
    assert run.status == 2
    assert words in " ".join(run.err.split())
    assert detector.read_bytes() == before


def test_a_threshold_needs_a_detector_and_rows(
    detector: Path, folder: Path, tmp_path: Path
) -> None:
    run = tool("threshold", "--detector", folder / "val.npz", "--id-val", folder / "val.npz")
    assert run.status == 3
    other = save(tmp_path / "f.npz", features=np.ones((5, 2)))
    run = tool("threshold", "--detector", detector, "--id-val", other)
    assert run.error.startswith(f"{other}: energy needs logits; ")
    empty = save(tmp_path / "e.npz", logits=np.ones((0, 4)))
    run = tool("threshold", "--detector", detector, "--id-val", empty)
    assert run.status == 3
    assert run.error.startswith(f"{empty}: a threshold needs in-distribution scores")


# monitor


def test_the_monitor_is_quiet_on_rows_that_belong(detector: Path, folder: Path) -> None:
    assert threshold(detector, folder).status == 0
    run = tool("monitor", folder / "test.npz", "--detector", detector, "--json")
    assert run.status == 0
    document = run.document
    assert (document["alarm"], document["rows"], document["needed"]) == (False, 200, 100.0)
    assert "row" not in document


def test_the_monitor_raises_an_alarm(detector: Path, folder: Path, tmp_path: Path) -> None:
    assert threshold(detector, folder).status == 0
    other = save(tmp_path / "other.npz", logits=np.random.default_rng(0).normal(size=(90, 4)) / 9)
    run = tool("monitor", folder / "test.npz", other, "--detector", detector, "--json")
    assert run.status == 1
    document = run.document
    assert document["alarm"] is True
    assert document["file"] == str(other)
    assert 0 <= document["row"] < 90
    assert document["evidence"] >= 100.0
    scores = [ood.score(ood.load(path), "energy")["energy"] for path in
              (folder / "test.npz", other)]  # fmt: skip
    inside = ood.score(ood.load(folder / "val.npz"), "energy")["energy"]
    assert Monitor(inside).watch(np.concatenate(scores)).alarm == 200 + document["row"]
    quiet = tool("monitor", folder / "test.npz", other, "--detector", detector, "-q")
    told = f"Alarm: {other}: row {document['row']}\n"
    assert (quiet.status, quiet.out, quiet.err) == (1, "", told)


def test_the_monitor_needs_held_out_scores(detector: Path, folder: Path) -> None:
    run = tool("monitor", folder / "test.npz", "--detector", detector)
    assert run.status == 3
    assert run.error == f"{detector}: threshold: there is none; `ood-toolkit threshold` sets one"
    run = tool("monitor", folder / "test.npz", "--detector", detector, "--false-alarm", "1")
    assert run.status == 2


def test_a_name_in_capitals_gets_a_suggestion(folder: Path, tmp_path: Path) -> None:
    run = calibrate(folder, "-m", "ETS", "-o", tmp_path / "c.safetensors")
    assert run.status == 2
    assert "unknown calibrator 'ETS'; did you mean ets" in run.error
