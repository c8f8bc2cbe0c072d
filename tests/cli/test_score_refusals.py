"""`score` on what cannot be scored: one line, the right status, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cli.running import csv_rows, save, tool

USAGE = [
    (["-m", "energie"], "unknown method 'energie'; did you mean energy"),
    (["-m", "MSP"], "unknown method 'MSP'; did you mean msp"),
    (["-m", "energy", "--set", "temprature=1"], "did you mean temperature"),
    (["-m", "energy", "--set", "temperature=warm"], "temperature takes float, got 'warm'"),
    (["-m", "energy", "--set", "temperature=-1"], "temperature"),
    (["-m", "energy", "--set", "temperature"], "expected NAME.key=value"),
    (["-m", "energy,msp", "--set", "temperature=1"], "energy.temperature=1"),
    (["-m", "msp", "--set", "energy.temperature=1"], "energy is not among msp"),
    ([], "say what to score with"),
    (["-m", ","], "say what to score with"),
    (["-m", "msp", "--format", "xlsx"], "xlsx"),
    (["-m", "msp", "--max-bytes", "-1"], "max-bytes"),
    (["-m", "msp", "--dtype", "int3"], "dtype 'int3' is not one of"),
    (["-m", "msp", "--as", "labels"], "labels"),
    (["-m", "msp", "--nonsense"], "nonsense"),
]


@pytest.mark.parametrize(("options", "words"), USAGE, ids=lambda v: " ".join(v)[:40])
def test_wrong_usage_is_exit_2(options: list[str], words: str, files: Path) -> None:
    run = tool("score", files / "test.npz", *options)
    assert (run.status, run.out) == (2, "")
    assert words in " ".join(run.err.replace("│", " ").split())


def test_an_unknown_method_is_told_before_files_are_read(tmp_path: Path) -> None:
    run = tool("score", tmp_path / "nowhere.npz", "-m", "energie")
    assert run.status == 2


def test_no_file_at_all_is_wrong_usage() -> None:
    assert tool("score", "-m", "msp").status == 2


def test_a_nan_row_is_named_and_nothing_is_written(files: Path, tmp_path: Path) -> None:
    logits = ood.load(files / "test.npz").logits.copy()
    logits[[17, 30], 2] = np.nan
    bad = save(tmp_path / "bad.npz", logits=logits)
    out = tmp_path / "scores.csv"
    out.write_text("old")
    run = tool("score", files / "test.npz", bad, "-m", "msp", "-o", out)
    assert (run.status, run.out) == (3, "")
    assert run.error == f"{bad}: logits: row 17 holds NaN; remove or repair it"
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npz", "scores.csv"]


@pytest.mark.parametrize(
    ("value", "words"), [(np.inf, "row 4 holds +inf"), (np.nan, "row 4 holds NaN")]
)
def test_what_no_logit_can_be(value: float, words: str, tmp_path: Path) -> None:
    logits = np.zeros((6, 3))
    logits[4, 1] = value
    run = tool("score", save(tmp_path / "x.npz", logits=logits), "-m", "energy")
    assert run.status == 3
    assert words in run.error


def test_minus_infinity_masks_a_class_but_not_all(tmp_path: Path) -> None:
    logits = np.array([[1.0, -np.inf, 0.0], [0.0, 0.0, 0.0]])
    masked = tool("score", save(tmp_path / "x.npz", logits=logits), "-m", "entropy")
    alone = tool("score", save(tmp_path / "y.npz", logits=logits[:1, [0, 2]]), "-m", "entropy")
    assert masked.status == 0
    assert csv_rows(masked.out)[1] == csv_rows(alone.out)[1]
    logits[1] = -np.inf
    run = tool("score", save(tmp_path / "z.npz", logits=logits), "-m", "entropy")
    assert run.status == 3
    assert "row 1 is -inf in every class" in run.error


def test_no_rows_give_a_header(tmp_path: Path) -> None:
    run = tool("score", save(tmp_path / "x.npz", logits=np.zeros((0, 3))), "-m", "msp,energy")
    assert (run.status, run.out) == (0, "index,prediction,msp,energy\n")


def test_needs_that_are_not_met_are_named(files: Path) -> None:
    run = tool("score", files / "test.npz", "-m", "mahalanobis")
    assert run.status == 3
    assert "mahalanobis needs training outputs with features and labels" in run.error
    run = tool("score", files / "logits.npz", "-m", "knn", "--train", files / "train.npz")
    assert run.status == 3
    assert run.error == f"{files / 'logits.npz'}: knn needs features"


def test_id_val_is_read_where_it_is_given(files: Path) -> None:
    run = tool("score", files / "test.npz", "-m", "msp", "--id-val", files / "nowhere.npz")
    assert run.status == 3
    assert "nowhere.npz" in run.error


def test_output_over_an_input_is_refused(files: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    own.write_bytes((files / "test.npz").read_bytes())
    (tmp_path / "link.npz").symlink_to(own)
    for out in (own, tmp_path / "link.npz", tmp_path / "." / "own.npz"):
        run = tool("score", own, "-m", "msp", "-o", out)
        assert run.status == 3
        assert "is also an input" in run.error
    assert own.read_bytes() == (files / "test.npz").read_bytes()


def test_an_output_that_cannot_be_written(files: Path, tmp_path: Path) -> None:
    run = tool("score", files / "test.npz", "-m", "msp", "-o", tmp_path / "no" / "s.csv")
    assert run.status == 3
    assert "there is no folder" in run.error
    (tmp_path / "folder.csv").mkdir()
    run = tool("score", files / "test.npz", "-m", "msp", "-o", tmp_path / "folder.csv")
    assert run.status == 3
    assert "folder.csv" in run.error


def test_where_the_last_layer_is_missing_the_option_is_named(files: Path, tmp_path: Path) -> None:
    x = ood.load(files / "test.npz")
    bare = save(tmp_path / "bare.npz", features=x.features, labels=x.labels)
    out, calibrator = tmp_path / "d.safetensors", tmp_path / "c.safetensors"
    hint = "; name the file of the last layer, --head FILE (head=)"
    for words, said in (
        (("score", bare, "-m", "energy"), "energy needs logits"),
        (("score", bare, "-m", "vim", "--train", bare), "vim needs head to be fitted"),
        (("fit", bare, "-m", "vim", "-o", out), "vim needs head to be fitted"),
        (("fit", bare, "-m", "kl_matching", "-o", out), "kl_matching needs logits to be fitted"),
        (("calibrate", bare, "-m", "temperature", "-o", calibrator), "temperature needs logits"),
    ):
        run = tool(*words)
        assert run.status == 3
        assert run.error.startswith(f"{bare}: {said}")
        assert run.error.endswith(hint)
    alone = save(tmp_path / "alone.npz", logits=x.logits)
    run = tool("score", alone, "-m", "vim", "--train", files / "train.npz")
    assert run.error == f"{alone}: vim needs features"
