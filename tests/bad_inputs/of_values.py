"""Rows 53 to 75: numbers, labels and fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ood_toolkit as ood
from ood_toolkit.detectors.saving import DETECTOR_FILE
from ood_toolkit.io.fitted import write_fitted
from tests.bad_inputs.table import refused, row
from tests.cases import mostly_right
from tests.cli.running import Run, csv_rows, save, tool

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 3))


def worked(*words: object, warning: str = "") -> Run:
    """A command that must work and warn in these words, or not at all."""
    run = tool(*map(str, words))
    assert run.status == 0, run.err
    assert (warning in run.err) if warning else not run.err, run.err
    return run


def logits_with(folder: Path, *places: tuple[object, float]) -> Path:
    logits = LOGITS.copy()
    for place, value in places:
        logits[place] = value  # type: ignore[index]
    return save(folder / "x.npz", logits=logits)


@row(53)
def not_a_number(good: Path, folder: Path) -> None:
    for places, first in (([((2, 1), np.nan)], 2), ([(3, np.nan)], 3), ([(..., np.nan)], 0)):
        path = logits_with(folder, *places)
        words = f"{path}: logits: row {first} holds NaN"
        refused(3, words, run=("score", path, "-m", "msp,energy"))


@row(54)
def infinite(good: Path, folder: Path) -> None:
    refused(3, "logits: row 4 holds +inf",
            run=("score", logits_with(folder, ((4, 0), np.inf)), "-m", "msp"))  # fmt: skip
    train = save(folder / "t.npz", features=RNG.normal(size=(60, 10)))
    for value in (np.inf, -np.inf):
        features = np.zeros((4, 10))
        features[1, 1] = value
        path = save(folder / "f.npz", features=features)
        refused(3, "features: row 1 holds NaN or infinity",
                run=("score", path, "-m", "knn", "--train", train))  # fmt: skip


@row(55)
def masked(good: Path, folder: Path) -> None:
    run = worked("score", logits_with(folder, ((1, 0), -np.inf)), "-m", "msp,energy")
    assert len(csv_rows(run.out)) == 7
    refused(3, "row 5 is -inf in every class",
            run=("score", logits_with(folder, (5, -np.inf)), "-m", "msp"))  # fmt: skip


@row(56)
def twice_infinite(good: Path, folder: Path) -> None:
    path = logits_with(folder, ((2, 0), np.inf), ((2, 1), np.inf))
    refused(3, "logits: row 2 holds +inf", run=("score", path, "-m", "energy"))


@row(57)
def saturated(good: Path, folder: Path) -> None:
    logits = (LOGITS * 1e5).clip(-65504, 65504).astype(np.float16)
    share = (np.abs(logits.astype(float)) >= 65504).mean()
    path = save(folder / "x.npz", logits=logits)
    worked("score", path, "-m", "energy", warning=f"{share:.1%} of the float16 values")


@row(59)
def probabilities(good: Path, folder: Path) -> None:
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    path = save(folder / "p.npz", logits=p)
    worked("score", path, "-m", "energy", warning="they look like probabilities")
    path = save(folder / "q.npz", logits=np.log(p))
    worked("score", path, "-m", "energy", warning="they look like log-probabilities")
    worked("score", save(folder / "r.npz", logits=RNG.random((6, 3))), "-m", "energy")


@row(60)
def constant(good: Path, folder: Path) -> None:
    path = save(folder / "x.npz", logits=np.full((40, 3), 7.0))
    worked("score", path, "-m", "msp,energy,entropy")
    run = worked("evaluate", "--id", path, "--ood", f"a={path}", "-m", "msp,energy",
                 "--bootstrap", "0", "--json")  # fmt: skip
    assert {result["auroc"] for result in run.document["results"]} == {0.5}


@row(61)
def extreme(good: Path, folder: Path) -> None:
    for value in (5e-324, 1e308, -1e308):
        path = save(folder / "x.npz", logits=np.full((4, 3), value))
        rows = csv_rows(worked("score", path, "-m", "msp,energy,max_logit").out)[1:]
        assert not np.isnan(np.array(rows, dtype=float)).any()


@row(62)
def shapes(good: Path, folder: Path) -> None:
    for logits, words in (
        (np.zeros((5, 1)), "a classifier has at least two classes, got 1"),
        (np.zeros(5), "logits must be a matrix of rows"),
        (np.zeros((2, 5, 3)), "logits must be a matrix of rows"),
    ):
        path = save(folder / "x.npz", logits=logits)
        refused(3, words, run=("score", path, "-m", "msp"))
    for classes in (2, 100_000):
        path = save(folder / "x.npz", logits=np.zeros((1, classes)), labels=[0])
        assert len(csv_rows(worked("score", path, "-m", "msp").out)) == 2
    empty = save(folder / "x.npz", logits=np.zeros((0, 5)), labels=np.zeros(0, int))
    assert worked("score", empty, "-m", "msp").out == "index,prediction,label,msp\n"
    for method in ("kl_matching", "energy"):
        refused(3, f"{method} cannot be fitted on zero rows",
                run=("fit", empty, "-m", method, "-o", folder / "d.safetensors"))  # fmt: skip
    far = f"a={good / 'far.npz'}"
    refused(3, "has no rows", run=("evaluate", "--id", empty, "--ood", far, "-m", "msp"))
    path = save(folder / "x.npz", logits=np.zeros((10, 5000)))
    worked("score", path, "-m", "msp", warning="transpose them if it is the other way round")


@row(63)
def duplicates(good: Path, folder: Path) -> None:
    path = save(folder / "x.npz", logits=np.tile(LOGITS, (2, 1)))
    worked("score", path, "-m", "msp")
    assert worked("info", path, "--json").document["duplicate_rows"] == 6


@row(66)
def a_class_is_missing(good: Path, folder: Path) -> None:
    x = mostly_right(200, seed=1)
    assert x.logits is not None
    assert x.features is not None
    assert x.labels is not None
    out = folder / "d.safetensors"
    kept = np.flatnonzero((x.labels != 3) & (x.logits.argmax(axis=1) != 3))
    parts = {"logits": x.logits[kept], "features": x.features[kept], "labels": x.labels[kept]}
    path = save(folder / "x.npz", **parts)
    refused(3, "class 3 has no row, and mahalanobis needs every class",
            run=("fit", path, "-m", "mahalanobis", "-o", out))  # fmt: skip
    assert not out.exists()
    worked("fit", path, "-m", "softmax_centroid", "-o", out, "--json", warning="class 3")
    alone = np.r_[np.flatnonzero(x.labels != 2), np.flatnonzero(x.labels == 2)[:1]]
    path = save(folder / "y.npz", features=x.features[alone], labels=x.labels[alone])
    worked("fit", path, "-m", "mahalanobis", "-o", out, "--json", warning="class 2 has one row")


@row(67)
def one_class_alone(good: Path, folder: Path) -> None:
    path = save(folder / "x.npz", logits=np.eye(4), labels=np.arange(4))
    run = worked("errors", path, "-m", "msp", "--json", warning="Warning: ")
    assert run.document["results"][0]["auroc"] is None
    logits = np.array([[1.0, -np.inf], [2.0, 0.0]])
    run = worked("score", save(folder / "y.npz", logits=logits), "-m", "logit_margin")
    assert csv_rows(run.out)[1][-1] == "inf"


@row(68)
def fewer_rows_than_dimensions(good: Path, folder: Path) -> None:
    path = save(folder / "x.npz", features=RNG.normal(size=(12, 40)), labels=np.arange(12) % 3)
    run = worked("fit", path, "-m", "mahalanobis", "-o", folder / "d.safetensors", "--json")
    report = run.document["report"]
    assert (report["dimensions"], report["rank"]) == (40, 9)


@row(69)
def dead_features(good: Path, folder: Path) -> None:
    features = np.c_[RNG.normal(size=(60, 4)), np.zeros((60, 2))]
    path = save(folder / "x.npz", features=features, labels=np.arange(60) % 3)
    out = folder / "d.safetensors"
    run = worked("fit", path, "-m", "mahalanobis", "-o", out, "--json")
    assert run.document["report"]["constant_features"] == 2
    scores = [float(r[-1]) for r in csv_rows(tool("score", path, "--detector", out).out)[1:]]
    assert len(set(scores)) == 60
    for rule in ("ledoit_wolf", "oas"):  # whose precision would be zero
        refused(3, "feature 4 is constant", "use covariance=pseudo_inverse",
                run=("fit", path, "-m", "mahalanobis", "--set", f"covariance={rule}", "-o",
                     folder / "none.safetensors"))  # fmt: skip
    assert not (folder / "none.safetensors").exists()


@row(70)
def duplicate_bank(good: Path, folder: Path) -> None:
    train = ood.load(good / "train.npz")
    assert train.features is not None
    twice = save(folder / "t.npz", features=np.tile(train.features, (2, 1)))
    once = save(folder / "o.npz", features=train.features)
    first = worked("score", good / "test.npz", "-m", "knn", "--set", "k=1", "--train", once)
    second = worked("score", good / "test.npz", "-m", "knn", "--set", "k=2", "--train", twice)
    assert first.out == second.out
    worked("score", good / "test.npz", "-m", "knn", "--set", "k=500", "--train", once,
           warning="knn: k = 500")  # fmt: skip


@row(71)
def another_feature_dimension(good: Path, folder: Path) -> None:
    path = save(folder / "x.npz", features=np.zeros((3, 7)))
    refused(3, f"{path}: features have 7 columns, but mahalanobis was fitted on 10",
            run=("score", path, "--detector", good / "mahalanobis.safetensors"))  # fmt: skip


@row(72)
def another_number_of_classes(good: Path, folder: Path) -> None:
    x = mostly_right(20, seed=1, classes=4)
    path = save(folder / "x.npz", logits=x.logits, features=np.zeros((20, 10)))
    refused(3, f"{path}: 4 classes, but mahalanobis was fitted on 5 classes",
            run=("score", path, "--detector", good / "mahalanobis.safetensors"))  # fmt: skip


@row(73)
def artefacts(good: Path, folder: Path) -> None:
    data = (good / "mahalanobis.safetensors").read_bytes()
    bad = folder / "d.safetensors"
    assert data.count(b'"format":"1"') == data.count(b'"method":"mahalanobis"') == 1
    for changed, words in (
        (data.replace(b'"format":"1"', b'"format":"9"'), "is version 9"),
        (data[:-20] + bytes([data[-20] ^ 4]) + data[-19:], "is damaged or was changed"),
        (data.replace(b'"method":"mahalanobis"', b'"method":"neighbours1"'), "damaged"),
        (data[:-1], "not a readable"),
    ):
        bad.write_bytes(changed)
        refused(3, words, run=("score", good / "test.npz", "--detector", bad))


@row(74)
def threshold_of_another_score(good: Path, folder: Path) -> None:
    path = folder / "d.safetensors"
    facts = {"value": 0.0, "tpr": 0.95, "rows": 3}
    held = {
        "method": "energy", "parameters": {}, "classes": 0, "dims": 0, "threshold": facts,
        "fitted_on": {},
    }  # fmt: skip
    for made_for in ("energy", "knn"):
        metadata = held | {"threshold_of": made_for}
        write_fitted(path, ood.Energy().fit(), DETECTOR_FILE, metadata,
                     {"id_scores": np.arange(3.0)})  # fmt: skip
        if made_for == "energy":
            worked("score", good / "test.npz", "--detector", path)
        else:
            refused(3, "threshold: was made for knn, not for energy",
                    run=("score", good / "test.npz", "--detector", path))  # fmt: skip


@row(75)
def nothing_to_calibrate(good: Path, folder: Path) -> None:
    out = folder / "c.safetensors"
    path = save(folder / "x.npz", logits=10 * np.eye(3), labels=np.arange(3))
    worked("calibrate", path, "-m", "temperature", "-o", out, "--json",
           warning="the likelihood grows as T -> 0; T is set to")  # fmt: skip
    path = save(folder / "y.npz", logits=-10 * np.eye(3), labels=np.arange(3))
    worked("calibrate", path, "-m", "temperature", "-o", out, "--json",
           warning="T is set to")  # fmt: skip
