"""`benchmark` beyond what ships, `compare` and `convert`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cli.running import save, tool

ROOT = Path(__file__).resolve().parents[2]
CIFAR = ("cifar10", "cifar100", "tin", "mnist", "svhn", "texture", "places365")
FAST = ("-m", "energy,msp", "--bootstrap", "0")


def logits(rows: int, seed: int, *, classes: int = 10, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(rows, classes)).astype(np.float32)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Outputs for CIFAR-10's benchmark, a shifted set among them."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    known = logits(40, 0, scale=4)
    save(folder / "id_test.npz", logits=known, labels=known.argmax(1))
    for seed, name in enumerate(CIFAR[1:], start=1):
        save(folder / f"{name}.npz", logits=logits(20 + seed, seed))
    shifted = logits(15, 9, scale=2)
    save(folder / "csid_cifar10c.npz", logits=shifted, labels=shifted.argmax(1))
    return folder


def test_the_list() -> None:
    run = tool("benchmark", "--list", "--json")
    assert run.status == 0
    by = {record["name"]: record for record in run.document["benchmarks"]}
    assert by["cifar10"]["near"] == ["cifar100", "tin"]
    assert by["fashion"]["shipped"]
    mnist = by["mnist-family"]["sets"]["mnist"]["files"]
    assert mnist[0]["checksum"].startswith("md5:")
    run = tool("benchmark", "--list")
    assert all(name in run.out for name in by)
    run = tool("benchmark")
    assert run.status == 2
    assert "--list" in run.err


def test_a_known_benchmark_from_outputs(outputs: Path) -> None:
    run = tool("benchmark", "cifar10", "--outputs", outputs, *FAST, "--json")
    assert run.status == 0, run.err
    assert run.document["id"]["name"] == "cifar10"
    groups = {r["ood"]: r["group"] for r in run.document["results"]}
    assert groups == {n: "near" if n in ("cifar100", "tin") else "far" for n in CIFAR[1:]}
    energy = {n: ood.score(ood.load(outputs / f"{n}.npz"), "energy")["energy"] for n in CIFAR[1:]}
    inside = ood.score(ood.load(outputs / "id_test.npz"), "energy")["energy"]
    for row in run.document["results"]:
        if row["method"] == "energy":
            assert row["auroc"] == ood.metrics.auroc(inside, energy[row["ood"]])


def test_full_spectrum(outputs: Path) -> None:
    run = tool("benchmark", "cifar10", "--outputs", outputs, *FAST, "--full-spectrum", "--json")
    assert run.status == 0, run.err
    assert run.document["id"]["name"] == "cifar10+cifar10c"
    assert run.document["id"]["n"] == 55
    (outputs / "csid_cifar10c.npz").unlink()
    run = tool("benchmark", "cifar10", "--outputs", outputs, *FAST, "--full-spectrum", "-q")
    assert run.status == 3
    assert "cifar10 has no csid set" in run.error


def test_parameters_tuned_on_the_benchmarks_own_outliers(outputs: Path) -> None:
    again = ("benchmark", "cifar10", "--outputs", outputs, "-m", "gen", "--bootstrap", "0", "-q")
    run = tool(*again, "--tune", "ood")
    assert run.status == 3
    assert "cifar10 has 0 ood_val sets, but --tune ood takes one" in run.error
    save(outputs / "tin_val.npz", logits=logits(30, 20))
    held = logits(30, 21, scale=4)
    save(outputs / "id_val.npz", logits=held, labels=held.argmax(1))
    run = tool(*again, "--tune", "ood", "--json")
    assert run.status == 0, run.err
    assert run.document["tuning"]["on"] == "ood"
    assert "tin_val" not in {r["ood"] for r in run.document["results"]}
    assert tool("benchmark", "cifar10", "--scores", outputs, "--tune", "id").status == 2


def test_what_is_missing(outputs: Path) -> None:
    (outputs / "tin.npz").unlink()
    run = tool("benchmark", "cifar10", "--outputs", outputs, *FAST)
    assert run.status == 3
    assert "has no outputs for tin; name each file so" in run.error
    run = tool("benchmark", "cifar10")
    assert run.status == 3
    assert "cifar10 does not ship: give the outputs of your classifier (--outputs DIR" in run.error
    run = tool("benchmark", "cifar10", "--data-root", outputs)
    assert run.status == 3
    assert "cifar10 does not ship" in run.error


def test_a_record_of_ones_own_and_a_folder(tmp_path: Path) -> None:
    known = logits(30, 0, scale=3)
    save(tmp_path / "id_test.npz", logits=known, labels=known.argmax(1))
    save(tmp_path / "ood_a.npz", logits=logits(20, 1))
    (tmp_path / "mine.toml").write_text('id_test = "id_test.npz"\nfar = { a = "ood_a.npz" }\n')
    first = tool("benchmark", tmp_path / "mine.toml", *FAST, "--json")
    second = tool("benchmark", tmp_path, *FAST, "--json")
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert first.document["results"] == second.document["results"]
    (tmp_path / "mine.toml").write_text("naer = ['a']")
    run = tool("benchmark", tmp_path / "mine.toml")
    assert run.status == 3
    assert "mine.toml: naer: is not known; did you mean near?" in run.error


def test_score_files_of_openood(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "scores"
    folder.mkdir()
    for name in CIFAR:
        label = rng.integers(0, 10, 60) if name == "cifar10" else np.full(60, -1)
        conf = rng.normal(name == "cifar10", 1, 60).astype(np.float32)
        np.savez(folder / name, pred=rng.integers(0, 10, 60), conf=conf, label=label)
    table = tmp_path / "ood.csv"
    convention = ("--fpr-rule", "openood", "--aupr", "trapezoid", "--bootstrap", "0")
    run = tool("benchmark", "cifar10", "--scores", f"ebo={folder}", *convention,
               "--openood-csv", table, "--json")  # fmt: skip
    assert run.status == 0, run.err
    assert {r["method"] for r in run.document["results"]} == {"ebo"}
    rows = table.read_text().splitlines()
    assert rows[0] == "dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC"
    names = [row.split(",")[0] for row in rows[1:]]
    assert names == [*CIFAR[1:3], "nearood", *CIFAR[3:], "farood"]
    by = {r["ood"]: r for r in run.document["results"]}
    assert rows[1].split(",")[2] == f"{100 * by['cifar100']['auroc']:.2f}"
    run = tool("benchmark", "cifar10", "--scores", folder, "--bootstrap", "0",
               "--openood-csv", table)  # fmt: skip
    assert run.status == 3
    assert "needs its convention: --fpr-rule openood --aupr trapezoid" in run.error
    run = tool("benchmark", "cifar10", "--scores", folder, "--scores", folder)
    assert run.status == 2
    assert "METHOD=DIR" in run.err
    assert tool("benchmark", "cifar10", "--scores", folder, "-m", "msp").status == 2
    run = tool("benchmark", "cifar10", "--scores", folder, "--weights", "x.pt")
    assert run.status == 2
    assert "--weights needs --model" in run.err


FACTORY = """
import torch
class Tiny(torch.nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(48, 3))
"""


def test_a_model_over_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "tiny_network.py").write_text(FACTORY)
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for name, rows in (("train", 30), ("test", 20), ("other", 9)):
        images = rng.integers(0, 256, (rows, 4, 4, 3), dtype=np.uint8)
        np.savez(tmp_path / "data" / f"{name}.npz", images=images, labels=np.arange(rows) % 3)
    (tmp_path / "mine.toml").write_text(
        'synthetic = ["uniform"]\nfar = ["again"]\n[images]\ntrain = "npz:train.npz"\n'
        'id_test = "npz:test.npz"\nuniform = "noise:uniform,4x4x3,25"\nagain = "npz:other.npz"\n'
    )
    model = ("--model", "tiny_network:Tiny", "--mean", "0.5", "--std", "0.25")
    run = tool("benchmark", "mine.toml", "--data-root", "data", *model, *FAST,
               "--outputs", "made", "--json")  # fmt: skip
    assert run.status == 0, run.err
    made = sorted(p.name for p in (tmp_path / "made").iterdir())
    assert made == [f"{n}.safetensors" for n in ("again", "id_test", "train", "uniform")]
    assert len(ood.load("made/uniform.safetensors")) == 25
    again = tool("benchmark", "mine.toml", "--outputs", "made", *FAST, "--json")
    assert again.document["results"] == run.document["results"]
    run = tool("benchmark", "mine.toml", *model, *FAST)
    assert run.status == 2
    assert "--model needs --data-root" in run.err
    (tmp_path / "data" / "test.npz").unlink()
    run = tool("benchmark", "mine.toml", "--data-root", "data", *model, *FAST)
    assert run.status == 3
    assert "data/test.npz: there is no such file or folder" in run.error


def test_images_that_are_missing_say_how_to_come_by_them(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = ("--model", "torch.nn:Identity", "--data-root", tmp_path)
    run = tool("benchmark", "cifar10", *model)
    assert run.status == 3
    assert "scripts/download/download.py --contents datasets --datasets cifar-10" in run.error
    run = tool("benchmark", "odin", *model)
    assert run.status == 3
    assert "--download fetches what can be fetched" in run.error
    run = tool("benchmark", "odin", "--download")
    assert run.status == 2
    assert "--download needs --data-root" in run.err


# compare


@pytest.fixture
def results(tmp_path: Path, outputs: Path) -> Path:
    path = tmp_path / "first.json"
    run = tool("benchmark", "cifar10", "--outputs", outputs, *FAST, "--json-out", path,
               "--fpr-rule", "openood")  # fmt: skip
    assert run.status == 0, run.err
    return path


def test_results_beside_published_figures(results: Path) -> None:
    run = tool("compare", results, "--published", "cifar10-resnet18", "--json")
    assert run.status == 0, run.err
    published = run.document["published"]
    assert published["benchmark"] == "cifar10"
    row = next(r for r in published["rows"] if (r["method"], r["group"]) == ("msp", "near"))
    assert (row["file"], row["row"], row["published"]) == ("first", "MSP", 0.8803)
    assert row["comparable"]
    run = tool("compare", results, "--published", "cifar10-resnet18")
    assert run.status == 0
    assert "88.03 ± 0.25" in run.out
    assert "A file of results does not say which model it is of" in run.out
    run = tool("compare", results, "--published", "cifar10")
    assert run.status == 2
    assert "did you mean cifar10-resnet18?" in run.error


def test_results_side_by_side(results: Path, tmp_path: Path) -> None:
    worse = json.loads(results.read_text())
    for row in worse["results"]:
        if row["ood"] == "tin":
            row["auroc"] = 0.01
    second = tmp_path / "second.json"
    second.write_text(json.dumps(worse))
    run = tool("compare", results, second)
    assert run.status == 0
    assert "second" in run.out
    tied = json.loads(results.read_text())["comparisons"]["tables"]
    near = next(table["tied_with_best"] for table in tied if table.get("group") == "near")
    listed = tool("compare", results, "--json").document["files"][0]
    assert listed["tied_with_best"]["near"] == near
    run = tool("compare", results, second, "--fail-if-worse", "--json")
    assert run.status == 1
    assert {(w["method"], w["ood"]) for w in run.document["worse"]} == {
        ("energy", "tin"), ("msp", "tin")
    }  # fmt: skip
    run = tool("compare", results, second, "--fail-if-worse")
    assert run.status == 1
    assert "Worse: second: energy on tin: AUROC 1.00, was" in run.err
    assert tool("compare", results, second, "--fail-if-worse", "--margin", "1").status == 0
    assert tool("compare", second, results, "--fail-if-worse").status == 0
    assert tool("compare", results, "--fail-if-worse").status == 2
    assert tool("compare").status == 2
    assert tool("compare", tmp_path / "none.json").status == 3


def test_the_list_of_published_figures() -> None:
    run = tool("compare", "--list", "--json")
    assert "cifar10-resnet18" in {table["name"] for table in run.document["published"]}
    assert "imagenet1k-vit-b16" in tool("compare", "--list").out


# convert


def test_scores_for_openood_and_back(outputs: Path, tmp_path: Path) -> None:
    table, folder = tmp_path / "scores.npz", tmp_path / "scores"
    files = [outputs / "id_test.npz", *(outputs / f"{name}.npz" for name in CIFAR[1:])]
    assert tool("score", *files, "-m", "energy,msp", "-o", table).status == 0
    run = tool("convert", table, "--to", "openood", "-m", "energy", "--id", "id_test",
               "-o", folder, "--json")  # fmt: skip
    assert run.status == 0, run.err
    assert len(run.document["written"]) == 7
    with np.load(folder / "tin.npz") as held:
        assert (held["label"] == -1).all()
    (folder / "id_test.npz").rename(folder / "cifar10.npz")
    direct = tool("benchmark", "cifar10", "--outputs", outputs, "-m", "energy", "--bootstrap", "0",
                  "--json")  # fmt: skip
    through = tool("benchmark", "cifar10", "--scores", f"energy={folder}", "--bootstrap", "0",
                   "--json")  # fmt: skip
    assert through.status == 0, through.err
    assert through.document["results"] == direct.document["results"]
    assert through.document["id"]["accuracy"] == direct.document["id"]["accuracy"]


def test_scores_that_cannot_be_converted(outputs: Path, tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    assert tool("score", outputs / "tin.npz", "-m", "msp", "-o", table).status == 0
    to = ("--to", "openood", "-o", tmp_path / "o")
    run = tool("convert", table, *to, "-m", "energy", "--id", "scores")
    assert run.status == 3
    assert "energy: no such column; there are index, prediction, msp" in run.error
    run = tool("convert", table, *to, "-m", "msp", "--id", "scores")
    assert run.status == 3
    assert "needs the label of each" in run.error
    run = tool("convert", table, *to, "-m", "msp", "--id", "tin")
    assert run.status == 2
    assert "the sets are scores" in run.err
    assert tool("convert", table, *to).status == 2
    assert tool("convert", table, "-o", tmp_path).status == 2
    assert tool("convert", table, "--to", "fd-shifts", "-m", "x", "-o", tmp_path).status == 2
    assert tool("convert", table, *to, "--name", "0=x", "-m", "a", "--id", "b").status == 2


def test_outputs_for_fd_shifts_and_back(outputs: Path, tmp_path: Path) -> None:
    files = [outputs / "id_test.npz", outputs / "tin.npz"]
    run = tool("convert", *files, "--to", "fd-shifts", "-o", tmp_path / "fd", "--json")
    assert run.status == 0, run.err
    assert run.document["written"] == [str(tmp_path / "fd" / "raw_logits.npz")]
    run = tool("convert", tmp_path / "fd", "--from", "fd-shifts", "--name", "0=id_test",
               "-o", tmp_path / "back", "--json")  # fmt: skip
    assert run.status == 0, run.err
    for name, given in (("id_test", files[0]), ("set_1", files[1])):
        back = ood.load(tmp_path / "back" / f"{name}.npz", labels="lenient")
        np.testing.assert_array_equal(back.logits, ood.load(given).logits)
    run = tool("convert", tmp_path / "fd", "--from", "fd-shifts", "--name", "5=x",
               "-o", tmp_path / "back")  # fmt: skip
    assert run.status == 2
    assert "the file has data sets 0, 1" in run.err
    for name in ("x", "0=", "0=a/b"):
        run = tool("convert", tmp_path / "fd", "--from", "fd-shifts", "--name", name,
                   "-o", tmp_path / "back")  # fmt: skip
        assert run.status == 2
