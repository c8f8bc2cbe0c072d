"""What may be reported on, what counts as in-distribution, and what the document records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.evaluation import FittedOn, Input, Reported, run_record
from ood_toolkit.evaluation.leakage import shared_rows
from ood_toolkit.outputs import Outputs
from tests.cases import mostly_right, record
from tests.cli.running import Run, save, tool

TRAIN, TEST = mostly_right(120, seed=1), mostly_right(60, seed=2)
FAR, NEAR = mostly_right(40, seed=3, spread=0.2), mostly_right(30, seed=4, spread=0.6)
SHIFTED = mostly_right(50, seed=5, spread=0.8)


def evaluate(methods: Any = "energy", **changes: Any) -> Any:
    options: dict[str, Any] = {
        "id": TEST, "ood": {"far/a": FAR, "near/b": NEAR}, "train": TRAIN, "bootstrap": 0,
    }  # fmt: skip
    return ood.evaluate(methods, **(options | changes))


def joined(a: Outputs, b: Outputs) -> Outputs:
    return Outputs(
        logits=np.concatenate([a.logits, b.logits]),
        features=np.concatenate([a.features, b.features]),
        labels=np.concatenate([a.labels, b.labels]),
    )


@pytest.mark.parametrize("role", ["train", "id_val"])
@pytest.mark.parametrize("place", ["id", "ood", "shifted"])
def test_rows_that_were_fitted_on_are_not_reported_on(role: str, place: str) -> None:
    used = {"train": TRAIN, "id_val": mostly_right(70, seed=9)}
    rows = used[role].rows(slice(0, 30))
    change = {"id": rows} if place == "id" else {place: {"far/x": rows}}
    words = {"train": "the training rows", "id_val": "the held-out rows"}[role]
    with pytest.raises(InputError, match=f"30 of 30 rows are also in {words}"):
        evaluate("msp", **used, **change)


def test_a_few_shared_rows_are_warned_of() -> None:
    test = joined(TEST, TRAIN.rows(slice(0, 4)))
    with pytest.warns(ToolkitWarning, match="4 of 64 rows are also in the training rows"):
        evaluate("msp", id=test)


def test_equal_rows_of_other_images_count_once() -> None:
    """Saturated outputs repeat: the same few rows in both sets are no leak."""
    onehot = np.eye(5)[np.zeros(40, int)]
    a = Outputs(logits=np.concatenate([onehot, TEST.logits]))
    b = Outputs(logits=np.concatenate([onehot, FAR.logits]))
    assert shared_rows(a, b) == 1


def repeated(x: Outputs, times: int) -> Outputs:
    return x.rows(np.repeat(np.arange(len(x)), times))


def test_rows_that_repeat_do_not_hide_a_leak() -> None:
    words = "4 of 4 distinct rows are also in the training rows"
    with pytest.raises(InputError, match=words):
        evaluate("msp", id=repeated(TRAIN.rows(slice(0, 4)), 30))
    few = joined(repeated(TRAIN.rows(slice(0, 4)), 30), TEST.rows(slice(0, 36)))
    with pytest.raises(InputError, match="4 of 40 distinct rows are also in"):
        evaluate("msp", id=few)
    fewer = joined(repeated(TRAIN.rows(slice(0, 4)), 30), TEST)
    with pytest.warns(ToolkitWarning, match="4 of 120 rows are also in"):
        evaluate("msp", id=fewer)


def test_repeated_rows_are_told_apart_by_all_their_numbers() -> None:
    """Rows alike in the numbers that are looked at first are distinct rows all the same."""
    train, test = np.zeros((60, 9)), np.zeros((60, 9))
    train[:, 8], test[:, 8] = np.arange(60), 100 + np.arange(60)
    test[0] = train[0]
    keep = {"id": Outputs(logits=test), "ood": {"a": Outputs(logits=FAR.logits[:, [0] * 9])}}
    with pytest.warns(ToolkitWarning, match="1 of 60 rows are also in"):
        evaluate("msp", train=Outputs(logits=train, labels=np.arange(60) % 9), **keep)


def test_reported_sets_that_share_repeated_rows_are_said_to() -> None:
    near = repeated(TEST.rows(slice(0, 2)), 200)
    with pytest.warns(ToolkitWarning, match="of its 400 rows there are also 2 in"):
        evaluate("msp", id=repeated(TEST, 7), ood={"a": FAR, "b": near})


def test_the_first_numbers_of_a_row_do_not_decide() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 9))
    b = a.copy()
    b[:20, 8] += 1e-9
    assert shared_rows(Outputs(logits=a), Outputs(logits=b)) == 10
    stack = rng.normal(size=(4, 30, 5))
    whole, part = Outputs(members=stack), Outputs(members=stack[:, 3:9])
    assert shared_rows(whole, part) == 6
    assert shared_rows(whole, Outputs(members=stack[:2])) == 0


def test_roles_are_types() -> None:
    fitted_on = FittedOn(TRAIN, None, NEAR)
    assert list(fitted_on.given()) == ["the training rows", "the validation outliers"]
    reported = Reported(TEST, {"a": FAR}, {}, {"c": SHIFTED}, "test")
    assert list(reported.every()) == ["", "c", "a"]
    assert (reported.label(""), reported.label("a")) == ("test", "a")
    with pytest.raises(InputError, match="two sets are called 'a'"):
        Reported(TEST, {"a": FAR}, {}, {"a": SHIFTED}).check()


def test_the_full_spectrum_counts_as_in_distribution() -> None:
    result = evaluate(["energy", "knn"], shifted={"blur": SHIFTED}, id_name="test")
    whole = evaluate(["energy", "knn"], id=joined(TEST, SHIFTED))
    for r, w in zip(result.results, whole.results, strict=True):
        assert (r.auroc, r.fpr, r.aupr_in, r.oscr) == (w.auroc, w.fpr, w.aupr_in, w.oscr)
        assert r.ccr_at_fpr == w.ccr_at_fpr
    document = result.to_json()["id"]
    own = float((TEST.logits.argmax(axis=1) == TEST.labels).mean())
    assert (document["name"], document["n"], document["accuracy"]) == ("test+blur", 110, own)
    (blur,) = document["shifted"]
    assert blur == {
        "name": "blur", "n": 50,
        "accuracy": float((SHIFTED.logits.argmax(axis=1) == SHIFTED.labels).mean()),
    }  # fmt: skip
    assert "shifted" not in evaluate().to_json()["id"]
    right = evaluate(shifted={"blur": SHIFTED}, id_subset="correct")
    assert right.n_id == round(own * 60) + round(blur["accuracy"] * 50)
    unlabelled = Outputs(logits=SHIFTED.logits)
    with pytest.raises(InputError, match="labels of every ID row"):
        evaluate(shifted={"blur": unlabelled}, id_subset="correct")


def test_where_rows_were_held_out_is_recorded() -> None:
    with pytest.warns(ToolkitWarning, match="no held-out rows"):
        held_out = evaluate(["sdm", "energy"]).to_json()["held_out"]
    assert held_out == [
        {"method": "sdm", "held_out_from": "the second of every 5 training rows of a class"}
    ]
    held_out = evaluate("sdm", id_val=mostly_right(80, seed=9)).to_json()["held_out"]
    assert held_out == [{"method": "sdm", "held_out_from": "id_val"}]


def test_a_method_without_scores_is_named_and_the_others_run() -> None:
    """A sequence of no tokens has no score."""
    inside, outside = record(40, seed=1), record(15, seed=2)
    mask = outside.token_mask.copy()
    mask[[3, 7]] = False
    broken = Outputs(
        logits=outside.logits, token_logits=outside.token_logits, token_mask=mask,
        token_ids=outside.token_ids, source="texts.npz",
    )  # fmt: skip
    with pytest.warns(ToolkitWarning, match="no token"):
        result = ood.evaluate(
            ["energy", "sequence_entropy"], id=inside,
            ood={"a": broken, "b": record(9, seed=3)}, bootstrap=0,
        )  # fmt: skip
    assert result.methods() == ("energy",)
    (note,) = result.failed
    assert note.method == "sequence_entropy"
    assert "texts.npz: " in note.reason
    assert "row 3" in note.reason


def test_the_logits_are_read_once_for_scores_and_predictions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ood_toolkit.evaluation import scoring

    passes: list[str] = []

    def alone(*arguments: Any) -> Any:
        passes.append("another pass")
        raise AssertionError

    monkeypatch.setattr(scoring, "checked_statistics", alone)
    result = evaluate(["energy", "msp"], id_subset="correct")
    assert result.n_id == (TEST.logits.argmax(axis=1) == TEST.labels).sum()
    assert passes == []


def test_the_run_record_names_no_place() -> None:
    found = run_record(
        [Input("id", "", 9, "/home/someone/id.npz", "ab"), Input("ood", "x", 3, "data/x.npz")],
        ["ood-toolkit", "evaluate", "--id", "/home/someone/id.npz", "--ood", "far/x=/mnt/x.npz",
         "--tune", "ood=rel/y.npz", "--title", "two words", "--train", "file:///home/someone/t.npz",
         "--id-val", "simplecache::s3://b/v.npz", "--member", "id=dir://m.npz::file:///home/m"],
        {"seed": 3},
    )  # fmt: skip
    assert found["command"] == (
        "ood-toolkit evaluate --id id.npz --ood far/x=x.npz --tune ood=rel/y.npz --title "
        "'two words' --train t.npz --id-val simplecache::s3://b/v.npz --member "
        "id=dir://m.npz::m"
    )
    assert [i["file"] for i in found["inputs"]] == ["id.npz", "data/x.npz"]
    assert found["seed"] == 3
    assert found["machine"]["cores"] >= 1
    assert re.match(r"\d+\.\d+", found["versions"]["numpy"])
    assert {"python", "numba", "ood_toolkit"} <= set(found["versions"])
    text = json.dumps(found)
    assert "someone" not in text
    import getpass
    import platform

    if len(platform.node()) > 3:
        assert platform.node() not in text
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in text


def cli(files: Path, *arguments: object) -> Run:
    return tool(
        "evaluate", "--id", files / "test.npz", "--train", files / "train.npz",
        "--ood", f"near/shifted={files / 'near.npz'}", "--ood", f"far/other={files / 'far.npz'}",
        "-m", "energy,msp,knn", "--bootstrap", "50", *map(str, arguments),
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, x in (("test", TEST), ("train", TRAIN), ("far", FAR), ("near", NEAR),
                    ("blur", SHIFTED)):  # fmt: skip
        save(folder / f"{name}.npz", logits=x.logits, features=x.features, labels=x.labels)
    return folder


def test_every_results_file_says_how_it_was_made(files: Path) -> None:
    import hashlib

    document = cli(files, "--csid", f"blur={files / 'blur.npz'}", "--json").document
    run = document["run"]
    assert run["command"].startswith("ood-toolkit evaluate --id test.npz --train train.npz ")
    assert (run["bootstrap"], run["seed"]) == (50, 0)
    found = {(i["role"], i["name"]): i for i in run["inputs"]}
    assert list(found) == [
        ("id", ""), ("shifted", "blur"), ("ood", "near/shifted"), ("ood", "far/other"),
        ("train", ""),
    ]  # fmt: skip
    for given in found.values():
        content = (files / given["file"]).read_bytes()
        assert given["sha256"] == hashlib.sha256(content).hexdigest()
        with np.load(files / given["file"]) as held:
            assert given["rows"] == len(held["logits"])
    assert document["id"]["name"] == "test+blur"
    assert set(document["timings"]) == {"energy", "msp", "knn"}


def test_tables_of_the_command_line(files: Path, tmp_path: Path) -> None:
    out = {kind: tmp_path / f"t.{kind}" for kind in ("md", "tex", "csv", "json")}
    run = cli(
        files, "--markdown", out["md"], "--latex", out["tex"], "--csv", out["csv"], "--json-out",
        out["json"], "--tie", "--intervals",
    )  # fmt: skip
    assert (run.status, run.err) == (0, "")
    document = json.loads(out["json"].read_text())
    best = max((m for m in document["means"] if m["group"] == "near"), key=lambda m: m["auroc"])
    low, high = (f"{100 * end:.2f}" for end in best["auroc_ci"])
    cell = f"{100 * best['auroc']:.2f} [{low}, {high}]"
    assert f"**{cell}=**" in out["md"].read_text()
    assert rf"\textbf{{{cell}$^{{=}}$}}" in out["tex"].read_text()
    assert cell in run.out
    assert "share a letter" in " ".join(run.out.split())
    header = out["csv"].read_text().splitlines()[0].split(",")
    assert {"aupr_in_low", "aupr_out_high", "fpr_low", "auroc_high"} <= set(header)
    plain = cli(files)
    assert "[" not in plain.out.splitlines()[-2]


def test_a_cache_folder_may_come_from_the_environment(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOD_TOOLKIT_CACHE", str(tmp_path / "kept"))
    first = cli(files, "--json").document
    assert any((tmp_path / "kept").rglob("*.npz"))
    again = cli(files, "--json").document
    assert again["timings"]["knn"]["sets_from_cache"] == 3
    assert {**again, "timings": 0} == {**first, "timings": 0}


def test_a_result_shows_itself_as_a_table() -> None:
    result = evaluate(["energy", "msp"])
    assert "energy" in str(result)
    html = result._repr_html_()
    assert html.startswith("<table>")
    assert f"{100 * result.results[0].auroc:.2f}" in html
    table = result.table(ties=True, metrics=("auroc", "aupr_in"))
    assert table._repr_html_() == table.to_html()
    assert str(table).splitlines()[2].split()[:2] == ["method", "ties"]
    assert table.columns[1] == "ties"
    assert "a AUPR-in" in table.columns
    with pytest.raises(InputError, match="no comparisons"):
        evaluate(["energy", "msp"], compare=False).table(ties=True)


def test_names_are_escaped_in_every_format() -> None:
    result = evaluate("energy", ood={"a|b_<c>": FAR})
    assert "a\\|b_<c>" in result.table().to_markdown()
    assert r"a|b\_<c>" in result.table().to_latex()
    assert "a|b_&lt;c&gt;" in result._repr_html_()


@pytest.mark.parametrize(("threads", "memory"), [("1", None), ("3", None), ("3", 1)])
def test_figures_do_not_depend_on_threads_or_memory(
    threads: str, memory: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["energy", "msp", "knn"]
    expected = evaluate(methods, bootstrap=60, compare=False).results
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
    assert evaluate(methods, bootstrap=60, compare=False, memory=memory).results == expected


def test_a_result_draws_itself() -> None:
    figure = evaluate(["energy", "msp"]).plot()
    words = {text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))}
    assert {"energy", "msp"} <= words
