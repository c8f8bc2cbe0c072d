"""What `-o` cannot write is refused before the work whose result it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Run, tool


def flat(run: Run) -> str:
    return " ".join(run.err.split())


BAD = "absent.npz"  # refused as soon as it is read
COMMANDS = {
    "fit": ("fit", BAD, "-m", "knn", "-o"),
    "calibrate": ("calibrate", BAD, "-o"),
    "apply": ("apply", BAD, "--calibrator", BAD, "-o"),
    "threshold": ("threshold", "--detector", BAD, "--id-val", BAD, "-o"),
    "policy": ("policy", "--detector", BAD, "-o"),
}
FILES = {
    **{name: (*words, "absent/x.safetensors") for name, words in COMMANDS.items()},
    "score": ("score", BAD, "-m", "msp", "-o", "absent/x.csv"),
    "errors": ("errors", BAD, "-m", "msp", "--json-out", "absent/x.json"),
    "json": ("evaluate", "--id", BAD, "--ood", f"a={BAD}", "--json-out", "absent/x.json"),
    "csv": ("evaluate", "--id", BAD, "--ood", f"a={BAD}", "--csv", "absent/x.csv"),
    "html": ("evaluate", "--id", BAD, "--ood", f"a={BAD}", "--html", "absent/x.html"),
    "report": ("report", BAD, "-o", "absent/x.html"),
    "benchmark": ("benchmark", "digits", "-q", "-m", "msp", "--json-out", "absent/x.json"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", FILES)
def test_a_folder_that_is_not_there_is_told_before_a_file_is_read(command: str) -> None:
    run = tool(*FILES[command])
    assert (run.status, run.out) == (3, "")
    assert run.error.startswith(f"{FILES[command][-1]}: there is no folder ")
    assert run.error.endswith("/absent; make it first")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["-", "x.foo", "x"])
def test_a_name_of_another_format_is_told_before_a_file_is_read(command: str, name: str) -> None:
    run = tool(*COMMANDS[command], name)
    assert run.status == 2
    what = "takes the name of a file" if name == "-" else f"{name}: what is written must end in"
    assert what in flat(run)


@pytest.mark.parametrize("name", ["x.foo", "x", "x.npy"])
def test_scores_have_a_format(name: str) -> None:
    run = tool("score", BAD, "-m", "msp", "-o", name)
    assert run.status == 2
    assert f"{name}: scores are written as .csv .jsonl .npz .parquet" in flat(run)
