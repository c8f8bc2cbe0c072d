"""`evaluate` on what cannot be evaluated: one line, the right status, nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cli.running import Run, save, tool

FEW = ("-m", "energy,msp", "--bootstrap", "0")


def evaluate(files: Path, *arguments: object) -> Run:
    return tool(
        "evaluate", "--id", files / "test.npz", "--train", files / "train.npz",
        "--ood", f"near/shifted={files / 'near.npz'}", "--ood", f"far/other={files / 'far.npz'}",
        *map(str, arguments),
    )  # fmt: skip


USAGE = [
    (["--fpr-rule", "mine"], "mine"),
    (["--seed", "-1"], "seed"),
    (["--bootstrap", "-5"], "bootstrap"),
    (["--tpr", "0"], "tpr"),
    (["--tpr", "nan"], "tpr"),
    (["--aupr", "area"], "aupr"),
    (["-m", "enrgy"], "did you mean energy"),
    (["-m", "energy", "--set", "energy.t=1"], "energy has no parameter 't'"),
    (["--ood", "nameless.npz"], "expected [GROUP/]NAME=FILE"),
    (["--ood", "a="], "expected [GROUP/]NAME=FILE"),
    (["--ood", "near/shifted=x.npz"], "near/shifted is given twice"),
]


@pytest.mark.parametrize(("options", "words"), USAGE, ids=lambda v: " ".join(v)[:40])
def test_wrong_usage_is_exit_2(options: list[str], words: str, files: Path) -> None:
    run = evaluate(files, *options)
    assert (run.status, run.out) == (2, "")
    assert words in " ".join(run.err.replace("│", " ").split())


def test_sets_without_rows_and_files_without_numbers(files: Path, tmp_path: Path) -> None:
    empty = save(tmp_path / "empty.npz", logits=np.zeros((0, 5)))
    bad = np.zeros((6, 5))
    bad[2] = np.nan
    nan = save(tmp_path / "nan.npz", logits=bad)
    few = save(tmp_path / "few.npz", logits=np.zeros((6, 4)))
    for id_file, ood_file, words in (
        (files / "test.npz", empty, f"{empty}: has no rows"),
        (empty, files / "far.npz", f"{empty}: has no rows"),
        (files / "test.npz", nan, f"{nan}: logits: row 2 holds NaN"),
        (nan, files / "far.npz", f"{nan}: logits: row 2 holds NaN"),
        (files / "test.npz", tmp_path / "no.npz", "no such file"),
        (files / "logits.npz", few, f"{few}: 4 classes, but the in-distribution rows have 5"),
        (
            files / "test.npz",
            few,
            f"{few}: arrays disagree on the number of classes: logits 4, head_weight 5; the head "
            "is another input's",
        ),
    ):
        run = tool("evaluate", "--id", id_file, "--ood", f"a={ood_file}", *FEW)
        assert run.status == 3
        assert words in run.error


def test_an_input_is_never_written_over(files: Path) -> None:
    for option in ("--json-out", "--csv"):
        run = evaluate(files, *FEW, option, files / "far.npz")
        assert run.status == 3
        assert "is also an input" in run.error
    assert tool("info", files / "far.npz").status == 0


def test_the_same_rows_in_two_sets_are_said(files: Path) -> None:
    test = files / "test.npz"
    run = tool("evaluate", "--id", test, "--ood", f"near/x={test}", "-m", "msp", "--bootstrap", "0")
    assert run.status == 0
    assert (
        run.err
        == "Warning: x: of its 120 rows there are also 120 in test; was a file given twice?\n"
    )


def test_a_group_called_all_is_refused(files: Path) -> None:
    run = tool("evaluate", "--id", files / "test.npz", "--ood", f"all/x={files / 'far.npz'}")
    assert run.status == 2
    assert run.error == "no group may be called all, as the mean over all sets is"


def test_means_of_any_group_are_printed(files: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.md"
    run = tool("evaluate", "--id", files / "test.npz", "--ood", f"street/x={files / 'far.npz'}",
               "-m", "msp", "--bootstrap", "0", "--markdown", table, "--json-out",
               tmp_path / "r.json")  # fmt: skip
    assert run.status == 0, run.err
    assert "mean street" in run.out
    assert "mean street AUROC" in table.read_text()
    assert "mean street" in tool("compare", tmp_path / "r.json").out


def test_a_set_that_lacks_what_a_method_needs_is_named(files: Path) -> None:
    run = tool("evaluate", "--id", files / "test.npz", "--ood", f"near={files / 'near.npz'}",
               "--ood", f"far={files / 'logits.npz'}", "--train", files / "train.npz", "-m", "knn",
               "--bootstrap", "0")  # fmt: skip
    assert run.status == 3
    assert f"knn: needs features, which {files / 'logits.npz'} does not hold" in run.error


def test_where_the_last_layer_alone_is_missing_the_option_is_named(
    files: Path, tmp_path: Path
) -> None:
    x = ood.load(files / "test.npz")
    bare = save(tmp_path / "bare.npz", features=x.features, labels=x.labels)
    plain = save(tmp_path / "plain.npz", logits=x.logits)
    hint = "; name the file of the last layer, --head FILE (head=)"
    run = tool("evaluate", "--id", bare, "--ood", f"far={bare}", "-m", "msp")
    assert run.status == 3
    assert run.error == f"no method could run: msp: needs logits{hint}"
    run = tool("evaluate", "--id", plain, "--ood", f"far={bare}", "-m", "msp")
    assert run.error == f"no method could run: msp: needs logits, which {bare} does not hold{hint}"
    fitted_on = ood.load(files / "train.npz")
    train = save(tmp_path / "train.npz", features=fitted_on.features, labels=fitted_on.labels)
    run = tool("evaluate", "--id", files / "test.npz", "--ood", f"far={bare}", "-m", "react",
               "--train", train)  # fmt: skip
    assert run.error == f"no method could run: react: needs head in the training outputs{hint}"
    head = ("--head", files / "train.npz")
    run = tool("evaluate", "--id", bare, "--ood", f"far={bare}", *FEW, *head)
    assert run.status == 0, run.err
