"""`report`, and the options by which other commands draw what they found."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.running import Run, tool
from tests.report.documents import document

PAGE = "<!doctype html>"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "results.json"
    path.write_text(json.dumps(document(rows=120)), encoding="utf-8")
    return path


def evaluate(files: Path, *arguments: object) -> Run:
    return tool(
        "evaluate", "-q", "--id", files / "test.npz", "--train", files / "train.npz",
        "--ood", f"near/shifted={files / 'near.npz'}", "--ood", f"far/other={files / 'far.npz'}",
        "-m", "energy,knn", "--bootstrap", "0", *map(str, arguments),
    )  # fmt: skip


def test_one_command_writes_every_file(files: Path, tmp_path: Path) -> None:
    names = ("json-out", "csv", "html", "png", "svg")
    outs = [f"--{name}={tmp_path / f'out.{name}'}" for name in names]
    run = evaluate(files, *outs)
    assert (run.status, run.err) == (0, "")
    held = json.loads((tmp_path / "out.json-out").read_text(encoding="utf-8"))
    assert [m["method"] for m in held["pictures"]["methods"]] == ["energy", "knn"]
    assert len(held["pictures"]["pairs"]) == 4
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert page.startswith(PAGE)
    assert "energy" in page
    assert (tmp_path / "out.png").read_bytes()[1:4] == b"PNG"
    assert b"<svg" in (tmp_path / "out.svg").read_bytes()


def test_the_page_of_a_results_file_is_that_of_the_evaluation(files: Path, tmp_path: Path) -> None:
    evaluate(files, "--json-out", tmp_path / "a.json", "--html", tmp_path / "a.html")
    run = tool("report", tmp_path / "a.json", "-o", tmp_path / "b.html")
    assert (run.status, run.out, run.err) == (0, "", f"Written: {tmp_path / 'b.html'}\n")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_pictures_are_only_in_what_is_written(files: Path) -> None:
    assert "pictures" not in evaluate(files, "--json").document


def test_the_results_file_is_json_with_the_pictures_on_a_line(files: Path, tmp_path: Path) -> None:
    evaluate(files, "--json-out", tmp_path / "a.json")
    lines = (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert lines[-2].startswith(' "pictures": {"')
    assert lines[-1] == "}"
    assert max(map(len, lines[:-2])) < 400


def test_a_benchmark_draws_too(tmp_path: Path) -> None:
    run = tool(
        "benchmark", "digits", "-m", "msp", "--bootstrap", "0", "--html", tmp_path / "d.html"
    )
    assert run.status == 0
    assert f"Results: {tmp_path / 'd.html'}" in run.err
    page = (tmp_path / "d.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "ood-toolkit benchmark digits" in page


def test_figures_go_into_a_folder_whatever_sets_are_called(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document(("energy",), ("../up", "far/b"), rows=60)))
    run = tool("report", path, "--figures", tmp_path / "figures", "-q")
    assert (run.status, run.err) == (0, "")
    found = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert {"leaderboard-all.svg", "curves-up.png", "curves-b.svg", "cost.png"} <= set(found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures", "results.json"]


def test_a_title_heads_the_page(results: Path, tmp_path: Path) -> None:
    tool("report", results, "-o", tmp_path / "r.html", "--title", "Dogs & <cats>")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h1>Dogs &amp; &lt;cats&gt;</h1>" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[1]", "no results of an evaluation"),
        ('{"schema": 1}', "no results of an evaluation"),
        (json.dumps(document(rows=60) | {"schema": 7}), "schema 7"),
        (json.dumps(document(rows=60) | {"pictures": {"pairs": [{}]}}), "no 'method'"),
        ("\udc80", "is no JSON"),
    ],
)
def test_what_is_no_results_file_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    run = tool("report", path, "-o", tmp_path / "r.html")
    assert run.status == 3
    assert run.error.startswith(f"{path}: ")
    assert said in run.error
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to draw"),
        (("-o", "a.html", "--html", "b.html"), "give one"),
        (("-o", "report.pdf"), "a page ends in .html"),
    ],
)
def test_usage_is_checked(results: Path, arguments: tuple[str, ...], said: str) -> None:
    run = tool("report", results, *arguments)
    assert run.status == 2
    assert said in " ".join(run.err.split())


def test_a_page_does_not_replace_what_it_is_made_from(files: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.html"
    page.write_text(json.dumps(document(rows=60)))
    assert tool("report", page, "-o", page).status == 3
    assert evaluate(files, "--html", files / "test.npz").status == 3


@pytest.mark.parametrize(("library", "option"), [("jinja2", "html"), ("matplotlib", "png")])
def test_a_missing_library_is_named_before_anything_is_scored(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, option: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr("ood_toolkit.api.evaluate", lambda *_, **__: pytest.fail("was scored"))
    run = evaluate(files, f"--{option}", tmp_path / f"r.{option}")
    assert run.status == 5
    assert "pip install 'ood_toolkit[report]'" in run.error


def test_what_it_shares_with_every_command(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    run = tool("report", results, "-o", page, "--json")
    assert (run.status, run.err) == (0, "")
    assert run.document == {"schema": 1, "results": str(results), "written": [str(page)]}
    settings = tool("report", results, "-o", page, "--show-config", "--json").document["settings"]
    assert settings["--out"] == {"value": str(page), "from": "command line"}


def test_a_folder_of_scores_holds_results_too(files: Path, tmp_path: Path) -> None:
    page = tmp_path / "kept" / "r.html"
    assert evaluate(files, "--scores-out", tmp_path / "kept").status == 0
    run = tool("report", tmp_path / "kept", "-o", page)
    assert run.status == 0, run.err
    assert "energy" in page.read_text(encoding="utf-8")
    run = tool("report", files, "-o", page)
    assert run.status == 3
    assert run.error.startswith(f"{files / 'results.json'}: no such file")


def test_sets_whose_names_make_one_file_name_have_two(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document(("energy",), ("a b", "a_b", "A_B"), rows=60)))
    run = tool("report", path, "--figures", tmp_path / "figures", "-q")
    assert (run.status, run.err) == (0, "")
    found = {p.name for p in (tmp_path / "figures").glob("curves-*.svg")}
    assert found == {"curves-a_b.svg", "curves-a_b-2.svg", "curves-A_B-3.svg"}
