"""`--show-config`: every setting, and which of two sources that disagree wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import tool

NOWHERE = ["--id", "nowhere.npz", "--ood", "a=nothing.npz"]


def test_nothing_is_read_and_every_value_says_where_it_comes_from(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    run = tool("score", "nowhere.npz", "-m", "energy,knn", "--set", "knn.k=7", "-o", out,
               "--show-config", "--json")  # fmt: skip
    assert (run.status, run.err) == (0, "")
    found = run.document["settings"]
    assert found["FILE..."] == {"value": ["nowhere.npz"], "from": "command line"}
    assert found["--method"] == {"value": ["energy,knn"], "from": "command line"}
    assert found["--as"] == {"value": "logits", "from": "default"}
    assert found["knn.k"] == {"value": 7, "from": "--set"}
    assert found["energy.temperature"] == {"value": 1.0, "from": "default"}
    assert not out.exists()


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["evaluate", *NOWHERE, "-m", "msp", "--show-config", "--json"]
    assert tool(*asked).document["settings"]["--cache"]["from"] == "default"
    monkeypatch.setenv("OOD_TOOLKIT_CACHE", "there")
    found = tool(*asked).document["settings"]["--cache"]
    assert found == {"value": "there", "from": "environment OOD_TOOLKIT_CACHE"}
    found = tool(*asked, "--cache", "here").document["settings"]["--cache"]
    assert found == {"value": "here", "from": "command line"}


def test_of_two_variables_for_threads_the_toolkits_own_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ["methods", "--show-config", "--json"]
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    monkeypatch.delenv("OOD_TOOLKIT_THREADS", raising=False)
    found = tool(*asked).document["settings"]["threads"]
    assert found == {"value": 3, "from": "environment NUMBA_NUM_THREADS"}
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", "1")
    found = tool(*asked).document["settings"]["threads"]
    assert found == {"value": 1, "from": "environment OOD_TOOLKIT_THREADS"}


def test_of_two_values_of_one_parameter_the_later_wins() -> None:
    twice = ["--set", "energy.temperature=2", "--set", "energy.temperature=3"]
    run = tool("score", "nowhere.npz", "-m", "energy", *twice, "--show-config", "--json")
    assert run.document["settings"]["energy.temperature"] == {"value": 3.0, "from": "--set"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "t.npz", "-m", "knn", "-o", "d.safetensors"], "knn.k"),
        (["calibrate", "v.npz", "-m", "histogram", "-o", "c.safetensors"], "histogram.bins"),
        (["evaluate", *NOWHERE], "knn.k"),
        (["benchmark", "fashion"], "knn.k"),
        (["threshold", "--detector", "d", "--id-val", "v"], "--guarantee"),
        (["info", "x.npz"], "--dtype"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_table_holds_options_and_parameters(arguments: list[str], said: str) -> None:
    run = tool(*arguments, "--show-config")
    assert (run.status, run.err) == (0, "")
    names = [line.split()[0] for line in run.out.splitlines() if line.strip()]
    assert names[0] == "setting"
    assert said in names
    assert names[-1] == "threads"


def test_what_is_wrong_is_refused_before_it_is_shown() -> None:
    run = tool("score", "x.npz", "-m", "energie", "--show-config")
    assert (run.status, run.out) == (2, "")
    assert "did you mean energy" in run.error
    run = tool("score", "x.npz", "-m", "energy", "--set", "temprature=1", "--show-config")
    assert (run.status, run.out) == (2, "")


def test_a_setting_without_a_method_is_refused() -> None:
    run = tool("score", "x.npz", "--detector", "d.safetensors", "--set", "k=1")
    assert run.status == 2
    assert "there is no --method that it is of" in run.err
