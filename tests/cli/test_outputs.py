"""Names of outputs: what is refused before any work, with status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Run, tool

WRONG = [
    (("--json-out", "a", "--csv", "a"), "--json-out and --csv would both write a"),
    (("--markdown", "b/../a", "--latex", "a"), "--markdown and --latex would both write a"),
    (("--png", "x", "--svg", "x"), "--png and --svg would both write x"),
    (("--json-out", "d/results.json", "--scores-out", "d"), "would both write d/results.json"),
    (("--scores-out", "d", "--figures", "d"), "--figures and --scores-out would both write d"),
    (("--json-out", "-"), "--json-out takes the name of a file, not -; --json prints"),
    (("--csv", "-"), "--csv takes the name of a file, not -"),
    (("--html", "page.txt"), "--html page.txt: a page ends in .html"),
    (("--png", "x.svg"), "--png x.svg: what --png writes ends in .png"),
    (("--csv", "x.JSON"), "--csv x.JSON: what --csv writes ends in .csv"),
]


def flat(run: Run) -> str:
    return " ".join(run.err.replace("│", " ").split())


@pytest.mark.parametrize(("options", "said"), WRONG, ids=lambda v: " ".join(v)[:40])
def test_outputs_of_an_evaluation(
    options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # the inputs are not there: outputs are looked at first
    words = ("--id", "no.npz", "--ood", "x=no.npz", "-m", "msp", *options)
    for command in (("evaluate", *words), ("benchmark", "digits", "-m", "msp", *options)):
        run = tool(*command)
        assert run.status == 2, run.err
        assert said in flat(run)
        assert list(tmp_path.iterdir()) == []


def test_links_are_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.touch()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "hard").hardlink_to(real)
    for other in ("link", "hard"):
        run = tool("evaluate", "--id", "no.npz", "--ood", "x=no.npz", "--json-out", real,
                   "--csv", tmp_path / other)  # fmt: skip
        assert run.status == 2
        assert "--json-out and --csv would both write" in flat(run)


def test_outputs_of_other_commands(files: Path, tmp_path: Path) -> None:
    test, results = files / "test.npz", tmp_path / "r.json"
    assert "not -" in flat(tool("errors", test, "-m", "msp", "--json-out", "-"))
    words = ("--id", test, "--ood", f"x={files / 'far.npz'}", "-m", "msp", "--bootstrap", "0")
    assert tool("evaluate", *words, "--json-out", results).status == 0
    for options, said in (
        (("--png", "x.svg"), "--png x.svg: what --png writes ends in .png"),
        (("--png", "x", "--svg", "./x"), "--png and --svg would both write"),
        (("-o", "-"), "--html takes the name of a file, not -"),
    ):
        run = tool("report", results, *options)
        assert run.status == 2
        assert said in flat(run)
    run = tool("score", "no.npz", "-m", "msp", "-o", tmp_path / "x.csv", "--format", "npz")
    assert run.status == 2
    assert "x.csv ends in .csv, but the format is npz" in flat(run)
    assert list(tmp_path.iterdir()) == [results]


def test_a_suffix_of_no_format_is_a_part_of_the_name(files: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.v2"
    run = tool("evaluate", "--id", files / "test.npz", "--ood", f"x={files / 'far.npz'}", "-m",
               "msp", "--bootstrap", "0", "--html", page)  # fmt: skip
    assert run.status == 0, run.err
    again = tool("report", files / "test.npz", "-o", tmp_path / "report.pdf")
    assert "a page ends in .html" in flat(again)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
