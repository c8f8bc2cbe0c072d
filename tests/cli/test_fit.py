"""`fit`, and `score --detector` with what it saved."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import ood_toolkit as ood
from tests.cases import mostly_right
from tests.cli.running import Run, csv_rows, save, tool


@pytest.fixture(scope="module")
def folder(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detectors: one with a threshold, one without."""
    made = tmp_path_factory.mktemp("detectors")
    for name, options in (("mahalanobis", ["--tpr", "0.9"]), ("knn", ["--set", "k=5"])):
        run = tool("fit", files / "train.npz", "-m", name, "--id-val", files / "val.npz",
                   *options, "-o", made / f"{name}.safetensors")  # fmt: skip
        assert (run.status, run.err) == (0, "")
    return made


def fit(files: Path, *arguments: object) -> Run:
    return tool("fit", files / "train.npz", *map(str, arguments))


def test_fit_tells_what_it_did(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    run = fit(files, "-m", "mahalanobis", "--id-val", files / "val.npz", "--tpr", 0.9, "-o", out,
              "--json")  # fmt: skip
    document = run.document
    digest = hashlib.sha256((files / "train.npz").read_bytes()).hexdigest()
    train = {"file": str(files / "train.npz"), "rows": 300, "sha256": digest}
    assert document["fitted_on"] == train
    assert (document["method"], document["output"]) == ("mahalanobis", str(out))
    assert document["report"]["rank"] == document["report"]["dimensions"] == 10
    assert {"condition_number", "constant_features", "covariance"} <= set(document["report"])
    scores = ood.score(ood.load(files / "val.npz"), [ood.load_scorer(out)])["mahalanobis"]
    assert document["threshold"]["value"] == np.sort(scores)[::-1][89]
    with safe_open(out, framework="numpy") as file:
        assert json.loads(file.metadata()["fitted_on"]) == train


def test_fit_prints_the_conditioning(files: Path, tmp_path: Path) -> None:
    run = fit(files, "-m", "mahalanobis", "-o", tmp_path / "d.safetensors")
    assert run.status == 0
    lines = [line.split() for line in run.out.splitlines()]
    assert ["rank", "10"] in lines
    assert ["constant", "features", "0"] in lines
    assert any(line[:2] == ["condition", "number"] for line in lines)
    quiet = fit(files, "-m", "mahalanobis", "-o", tmp_path / "e.safetensors", "-q")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")


def test_fit_names_rank_and_dead_features(files: Path, tmp_path: Path) -> None:
    train = ood.load(files / "train.npz")
    wide = np.c_[train.features, np.zeros(300), train.features[:, 0]]
    path = save(tmp_path / "wide.npz", features=wide, labels=train.labels)
    run = tool("fit", path, "-m", "mahalanobis", "-o", tmp_path / "d.safetensors", "--json")
    report = run.document["report"]
    assert (report["dimensions"], report["rank"], report["constant_features"]) == (12, 10, 1)
    facts = tool("info", tmp_path / "d.safetensors", "--json").document
    assert facts["report"] == report


def test_a_saved_detector_scores_as_in_memory(files: Path, folder: Path) -> None:
    run = tool("score", files / "test.npz", "--detector", folder / "knn.safetensors", "-m", "msp")
    header, *rows = csv_rows(run.out)
    assert header == ["index", "prediction", "label", "msp", "knn"]
    train, test = ood.load(files / "train.npz"), ood.load(files / "test.npz")
    expected = ood.score(test, ood.KNN(k=5), train=train)["knn"]
    assert [float(r[4]) for r in rows] == expected.tolist()


def test_a_threshold_adds_p_values_and_decisions(files: Path, folder: Path) -> None:
    detector = folder / "mahalanobis.safetensors"
    header, *rows = csv_rows(tool("score", files / "test.npz", "--detector", detector).out)
    assert header == [
        "index", "prediction", "label", "mahalanobis", "mahalanobis.p_value",
        "mahalanobis.accept", "p_value", "accept",
    ]  # fmt: skip
    scorer = ood.load_scorer(detector)
    inside = scorer.score(ood.load(files / "val.npz"))
    for row, score in zip(rows, scorer.score(ood.load(files / "test.npz")), strict=True):
        assert float(row[3]) == score
        assert float(row[4]) == (1 + (inside <= score).sum()) / (len(inside) + 1)
        assert row[5] == ("true" if score >= np.sort(inside)[::-1][89] else "false")
        assert row[6:] == row[4:6]


def test_with_two_thresholds_neither_is_the_one(files: Path, folder: Path, tmp_path: Path) -> None:
    second = tmp_path / "energy.safetensors"
    run = fit(files, "-m", "energy", "--tpr", 0.95, "--id-val", files / "val.npz", "-o", second)
    assert run.status == 0
    run = tool("score", files / "test.npz", "--detector", folder / "mahalanobis.safetensors",
               "--detector", second)  # fmt: skip
    header = csv_rows(run.out)[0]
    assert {"mahalanobis.accept", "energy.accept", "energy.p_value"} <= set(header)
    assert not {"accept", "p_value"} & set(header)


def test_a_method_cannot_come_from_two_places(files: Path, folder: Path) -> None:
    detector = folder / "knn.safetensors"
    for options in (["--detector", detector], ["-m", "knn", "--train", files / "train.npz"]):
        run = tool("score", files / "test.npz", "--detector", detector, *options)
        assert run.status == 2
        assert "knn is asked for twice" in " ".join(run.err.split())


def test_a_threshold_on_the_training_rows_is_warned_of(files: Path, tmp_path: Path) -> None:
    run = fit(files, "-m", "mahalanobis", "--tpr", 0.95, "-o", tmp_path / "d.safetensors")
    assert run.status == 0
    assert "Warning: the threshold is set on the training rows themselves" in run.err


def test_other_dimensions_and_classes_are_refused(
    files: Path, folder: Path, tmp_path: Path
) -> None:
    narrow = save(tmp_path / "narrow.npz", features=ood.load(files / "test.npz").features[:, :7])
    run = tool("score", narrow, "--detector", folder / "mahalanobis.safetensors")
    assert run.status == 3
    assert run.error == (f"{narrow}: features have 7 columns, but mahalanobis was fitted on 10")
    other = mostly_right(20, seed=1, classes=4)
    few = save(tmp_path / "few.npz", logits=other.logits, features=other.features)
    run = tool("score", few, "--detector", folder / "mahalanobis.safetensors")
    assert run.status == 3
    assert run.error == f"{few}: 4 classes, but mahalanobis was fitted on 5 classes"


def test_a_flipped_byte_is_refused(files: Path, folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "mahalanobis.safetensors").read_bytes())
    data[-20] ^= 4
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(data)
    for arguments in (["score", files / "test.npz", "--detector", bad], ["info", bad]):
        run = tool(*arguments)
        assert (run.status, run.out) == (3, "")
        assert run.error.startswith(f"{bad}: is damaged or was changed")


def test_a_newer_format_is_refused(files: Path, folder: Path, tmp_path: Path) -> None:
    data = (folder / "knn.safetensors").read_bytes()
    newer = tmp_path / "newer.safetensors"
    assert data.count(b'"format":"1"') == 1
    newer.write_bytes(data.replace(b'"format":"1"', b'"format":"9"'))
    run = tool("score", files / "test.npz", "--detector", newer)
    assert run.status == 3
    assert run.error.startswith(f"{newer}: format: is version 9")
    assert "upgrade" in run.error


@pytest.mark.parametrize("name", ["test.npz", "nowhere.safetensors"])
def test_what_is_no_detector(name: str, files: Path) -> None:
    run = tool("score", files / "test.npz", "--detector", files / name)
    assert run.status == 3
    assert name in run.error


REFUSED = [
    (["-m", "mahalanobiz"], 2, "did you mean mahalanobis"),
    (["-m", "knn", "--set", "n=3"], 2, "knn has no parameter 'n'; it takes: k, normalize"),
    (["-m", "knn", "--set", "k=0"], 2, "k"),
    (["-m", "knn", "--tpr", "0"], 2, "tpr"),
    (["-m", "knn", "--tpr", "1.5"], 2, "tpr"),
    (["-m", "knn", "--tpr", "nan"], 2, "tpr"),
    (["-m", "vim", "--set", "dim=10"], 2, "vim.dim = 10 leaves no residual"),
]


@pytest.mark.parametrize(("options", "status", "words"), REFUSED)
def test_a_wrong_request_saves_nothing(
    options: list[str], status: int, words: str, files: Path, tmp_path: Path
) -> None:
    run = fit(files, *options, "-o", tmp_path / "d.safetensors")
    assert run.status == status
    assert words in " ".join(run.err.split())
    assert list(tmp_path.iterdir()) == []


def test_fit_needs_an_output_that_is_no_input(files: Path, tmp_path: Path) -> None:
    assert fit(files, "-m", "knn").status == 2
    run = fit(files, "-m", "knn", "-o", tmp_path / "d.npz")
    assert run.status == 2
    assert "must end in .safetensors" in " ".join(run.err.split())
    own = tmp_path / "own.safetensors"
    ood.save_outputs(ood.load(files / "train.npz"), own)
    before = own.read_bytes()
    run = tool("fit", own, "-m", "knn", "-o", own)
    assert run.status == 3
    assert "is also an input" in run.error
    assert own.read_bytes() == before


def changed(files: Path, path: Path, **arrays: object) -> Path:
    train = ood.load(files / "train.npz")
    held = {"logits": train.logits, "features": train.features, "labels": train.labels}
    return save(path, **(held | arrays))


def test_training_data_that_cannot_be_fitted_on(files: Path, tmp_path: Path) -> None:
    train = ood.load(files / "train.npz")
    features = train.features.copy()
    features[40, 3] = np.inf
    without = np.where(train.labels == 3, 2, train.labels)
    unknown = train.labels.copy()
    unknown[9] = -1
    many = train.labels.copy()
    many[11] = 5
    path = tmp_path / "train.npz"
    for arrays, words in (
        ({"features": features}, "features: row 40 holds NaN or infinity"),
        ({"labels": without}, "class 3 has no row, and mahalanobis needs every class"),
        ({"labels": unknown}, "labels: row 9 is -1 (unknown)"),
        ({"labels": many}, "labels: row 11 is 5, expected -1"),
        ({"labels": train.labels + 0.5}, "labels: row 0 is "),
        ({"labels": train.labels[:-1]}, "disagree on the number of rows"),
        ({"labels": np.array(["a"] * 300)}, "labels of dtype"),
    ):
        changed(files, path, **arrays)
        run = tool("fit", path, "-m", "mahalanobis", "-o", tmp_path / "d.safetensors")
        assert run.status == 3, arrays
        assert run.error.startswith(f"{path}: ")
        assert words in run.error
    save(path, features=train.features)
    run = tool("fit", path, "-m", "mahalanobis", "-o", tmp_path / "d.safetensors")
    assert run.error == f"{path}: mahalanobis needs labels to be fitted"
    save(path, features=train.features[:0], labels=train.labels[:0])
    run = tool("fit", path, "-m", "mahalanobis", "-o", tmp_path / "d.safetensors")
    assert run.error == f"{path}: mahalanobis cannot be fitted on zero rows"
    assert list(tmp_path.iterdir()) == [path]


def test_a_clamped_neighbour_count_is_warned_of(files: Path, tmp_path: Path) -> None:
    run = fit(files, "-m", "knn", "--set", "k=500", "-o", tmp_path / "d.safetensors")
    assert run.status == 0
    assert "Warning: knn: k = 500" in run.err
    assert "300" in run.err


def test_whole_floats_and_one_hot_rows_are_labels(files: Path, tmp_path: Path) -> None:
    train = ood.load(files / "train.npz")
    out = tmp_path / "d.safetensors"
    assert fit(files, "-m", "cosine_prototype", "-o", out).status == 0
    expected = ood.load_scorer(out)
    for labels, warned in ((train.labels.astype(float), ""), (np.eye(5)[train.labels], "one-hot")):
        path = changed(files, tmp_path / "train.npz", labels=labels)
        run = tool("fit", path, "-m", "cosine_prototype", "-o", out)
        assert run.status == 0
        assert warned in run.err
        assert np.array_equal(ood.load_scorer(out).prototypes, expected.prototypes)
