"""`score`: which columns, of which rows, in which format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.io import load_scores
from tests.cli.running import csv_rows, save, tool


def test_one_file_gives_index_prediction_label_and_a_column_a_method(files: Path) -> None:
    run = tool("score", files / "test.npz", "-m", "energy,msp")
    assert (run.status, run.err) == (0, "")
    header, *rows = csv_rows(run.out)
    assert header == ["index", "prediction", "label", "energy", "msp"]
    test = ood.load(files / "test.npz")
    scores = ood.score(test, ["energy", "msp"])
    assert [int(r[0]) for r in rows] == list(range(len(test)))
    assert [int(r[1]) for r in rows] == test.logits.argmax(axis=1).tolist()
    assert [int(r[2]) for r in rows] == test.labels.tolist()
    assert [float(r[3]) for r in rows] == scores["energy"].tolist()
    assert [float(r[4]) for r in rows] == scores["msp"].tolist()


def test_without_labels_there_is_no_label_column(files: Path) -> None:
    run = tool("score", files / "logits.npz", "-m", "energy")
    assert csv_rows(run.out)[0] == ["index", "prediction", "energy"]


def test_features_alone_give_no_prediction(files: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", ood.load(files / "test.npz").features)
    run = tool(
        "score", tmp_path / "f.npy", "--as", "features",
        "-m", "marginal_mahalanobis", "--train", files / "train.npz",
    )  # fmt: skip
    # the head of the training file makes them logits
    assert csv_rows(run.out)[0] == ["index", "prediction", "marginal_mahalanobis"]
    np.save(tmp_path / "train.npy", ood.load(files / "train.npz").features)
    run = tool(
        "score", tmp_path / "f.npy", "--as", "features",
        "-m", "marginal_mahalanobis", "--train", tmp_path / "train.npy",
    )  # fmt: skip
    assert csv_rows(run.out)[0] == ["index", "marginal_mahalanobis"]


def test_several_files_come_in_the_order_given_with_a_file_column(files: Path) -> None:
    far, logits = str(files / "far.npz"), str(files / "logits.npz")
    run = tool("score", far, logits, "-m", "msp")
    header, *rows = csv_rows(run.out)
    assert header == ["file", "index", "prediction", "label", "msp"]
    assert [r[0] for r in rows] == [far] * 80 + [logits] * 120
    assert [int(r[1]) for r in rows] == [*range(80), *range(120)]
    # 40 classes too many in one file, no labels in the other
    assert {r[3] for r in rows} == {"-1"}
    assert "80 labels outside -1" in run.err


def test_one_file_named_twice_is_scored_twice(files: Path) -> None:
    run = tool("score", files / "logits.npz", files / "logits.npz", "-m", "msp")
    assert len(csv_rows(run.out)) == 1 + 240


@pytest.mark.parametrize("suffix", ["csv", "npz", "jsonl", "parquet"])
def test_the_suffix_says_the_format(suffix: str, files: Path, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"scores.{suffix}"
    run = tool("score", files / "test.npz", "-m", "energy,knn", "--train", files / "train.npz",
               "--set", "knn.k=5", "-o", out)  # fmt: skip
    assert (run.status, run.out, run.err) == (0, "", "")
    table = load_scores(out)
    assert list(table) == ["index", "prediction", "label", "energy", "knn"]
    train, test = ood.load(files / "train.npz"), ood.load(files / "test.npz")
    expected = ood.score(test, ["energy", ood.KNN(k=5)], train=train)
    assert np.array_equal(table["energy"], expected["energy"])
    assert np.array_equal(table["knn"], expected["knn"])
    assert table["label"].tolist() == test.labels.tolist()
    assert list(tmp_path.iterdir()) == [out]


def test_format_overrules_the_suffix(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.txt"
    assert tool("score", files / "test.npz", "-m", "msp", "-o", out).status == 2
    assert not out.exists()
    assert tool("score", files / "test.npz", "-m", "msp", "-o", out, "--format", "csv").status == 0
    assert out.read_text().startswith("index,prediction,label,msp\n")


def test_json_lines_on_stdout(files: Path) -> None:
    run = tool("score", files / "test.npz", "-m", "msp", "-o", "-", "--format", "jsonl")
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert len(lines) == 120
    assert list(lines[0]) == ["index", "prediction", "label", "msp"]


def test_stdout_takes_no_binary_format(files: Path) -> None:
    run = tool("score", files / "test.npz", "-m", "msp", "-o", "-", "--format", "npz")
    assert run.status == 2
    assert "csv or jsonl" in run.error


def test_json_describes_the_run(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    first, second = files / "test.npz", files / "logits.npz"
    run = tool("score", first, second, "-m", "msp", "-o", out, "--json")
    assert run.document == {
        "output": str(out),
        "rows": 240,
        "files": [{"file": str(first), "rows": 120}, {"file": str(second), "rows": 120}],
        "columns": ["file", "index", "prediction", "label", "msp"],
    }
    clash = tool("score", first, "-m", "msp", "--json")
    assert (clash.status, clash.out) == (2, "")


def test_methods_may_be_repeated_and_come_once(files: Path) -> None:
    run = tool("score", files / "logits.npz", "-m", "msp, energy", "-m", "msp", "-m", "margin,")
    assert csv_rows(run.out)[0] == ["index", "prediction", "msp", "energy", "margin"]


def test_set_reaches_the_method_it_names(files: Path) -> None:
    one = tool("score", files / "logits.npz", "-m", "energy", "--set", "temperature=2")
    same = tool("score", files / "logits.npz", "-m", "energy,msp", "--set", "energy.temperature=2")
    assert [r[2] for r in csv_rows(one.out)] == [r[2] for r in csv_rows(same.out)]
    expected = ood.score(ood.load(files / "logits.npz"), ood.Energy(temperature=2.0))["energy"]
    assert [float(r[2]) for r in csv_rows(one.out)[1:]] == expected.tolist()


def test_a_matrix_can_be_set(files: Path) -> None:
    cost = [[abs(i - j) for j in range(5)] for i in range(5)]
    run = tool("score", files / "logits.npz", "-m", "label_non_uniformity",
               "--set", f"ground={json.dumps(cost)}")  # fmt: skip
    made = ood.detector("label_non_uniformity", ground=cost)
    expected = ood.score(ood.load(files / "logits.npz"), made)["label_non_uniformity"]
    assert [float(r[2]) for r in csv_rows(run.out)[1:]] == expected.tolist()


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (np.eye(3)[[0, 1, 2, 0]] * 0.97 + 0.01, "look like probabilities"),
        (np.log(np.eye(3)[[0, 1, 2, 0]] * 0.97 + 0.01), "look like log-probabilities"),
        (
            np.full((4, 3), 65504, np.float16),
            "100.0% of the float16 values sit at the type's limit",
        ),
    ],
)
def test_doubtful_logits_are_scored_with_a_warning(
    logits: np.ndarray, words: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "p.npz", logits=logits)
    run = tool("score", path, "-m", "max_logit")
    assert run.status == 0
    assert f"Warning: {path}: logits: " in run.err
    assert words in run.err
    # never a silent change
    assert [float(r[2]) for r in csv_rows(run.out)[1:]] == logits.max(axis=1).tolist()
    assert words in " ".join(tool("info", path, "--json").document["warnings"])
    assert tool("score", path, "-m", "max_logit", "-q").err == ""


def test_rows_in_the_unit_interval_that_are_no_probabilities_are_no_doubt(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).uniform(size=(50, 3))
    run = tool("score", save(tmp_path / "x.npz", logits=logits), "-m", "msp")
    assert (run.status, run.err) == (0, "")


def test_the_head_comes_from_its_file_or_the_training_file(files: Path, tmp_path: Path) -> None:
    test = ood.load(files / "test.npz")
    assert test.head is not None
    bare = save(tmp_path / "bare.npz", features=test.features)
    head = save(tmp_path / "head.npz", W=test.head.weight, b=test.head.bias)
    direct = tool("score", files / "test.npz", "-m", "energy").out
    energies = [r[3] for r in csv_rows(direct)]
    for option in (["--head", head], ["--train", files / "train.npz"]):
        run = tool("score", bare, "-m", "energy", *option)
        assert run.status == 0, run.err
        assert [r[2] for r in csv_rows(run.out)] == energies
    run = tool("score", bare, "-m", "energy")
    assert run.status == 3
    assert "energy needs logits" in run.error


def test_keys_may_have_any_name(files: Path, tmp_path: Path) -> None:
    test = ood.load(files / "test.npz")
    odd = save(tmp_path / "odd.npz", z=test.logits, answer=test.labels)
    run = tool("score", odd, "-m", "msp", "--logits-key", "z", "--labels-key", "answer")
    assert run.out == tool("score", files / "test.npz", "-m", "msp").out
    missing = tool("score", odd, "-m", "msp", "--logits-key", "w")
    assert missing.status == 3
    assert "'z'" in missing.error
    assert "'answer'" in missing.error


def test_shards_are_one_file(files: Path, tmp_path: Path) -> None:
    test = ood.load(files / "test.npz")
    (tmp_path / "parts").mkdir()
    for i, rows in enumerate((slice(0, 50), slice(50, 51), slice(51, 120))):
        save(tmp_path / "parts" / f"{i}.npz", logits=test.logits[rows])
    whole = tool("score", files / "logits.npz", "-m", "energy,msp").out
    assert tool("score", tmp_path / "parts", "-m", "energy,msp").out == whole
    assert tool("score", tmp_path / "parts" / "*.npz", "-m", "energy,msp").out == whole
