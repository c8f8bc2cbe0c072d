"""Scores kept between runs: what is found again, what is not, and a run that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors import planner
from ood_toolkit.detectors.planner import unmet_needs
from ood_toolkit.evaluation import Cache, method_work, tuning
from ood_toolkit.evaluation import cache as cache_module
from ood_toolkit.evaluation.cache import record_digest, toolkit_digest
from tests.cases import mostly_right
from tests.cli.running import TOOL

TRAIN, TEST = mostly_right(120, seed=1), mostly_right(60, seed=2)
FAR, NEAR = mostly_right(40, seed=3, spread=0.2), mostly_right(45, seed=4, spread=0.6)
METHODS = ["energy", "knn", "mahalanobis", "msp", "vim"]


def evaluate(folder: Path | None, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "id": TEST, "ood": {"far/a": FAR, "near/b": NEAR}, "train": TRAIN, "bootstrap": 20,
        "cache": folder, "methods": METHODS,
    }  # fmt: skip
    document = ood.evaluate(**(options | changes)).to_json()
    return {key: value for key, value in document.items() if key != "timings"}


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods that are fitted from here on."""
    names: list[str] = []

    def fit(detector: Any, *records: Any) -> Any:
        names.append(planner.method_of(detector).name)
        return planner.fit_method(detector, *records)

    monkeypatch.setattr(method_work, "fit_method", fit)
    return names


def test_a_second_run_fits_nothing_and_says_the_same(tmp_path: Path, fitted: list[str]) -> None:
    first = evaluate(tmp_path)
    assert fitted == METHODS
    fitted.clear()
    assert evaluate(tmp_path) == first == evaluate(None)
    assert fitted == METHODS  # by the run without a cache alone


CHANGED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "training rows": ({"train": mostly_right(120, seed=9)}, ["knn", "mahalanobis", "vim"]),
    "held-out rows": ({"id_val": mostly_right(50, seed=8)}, ["knn", "mahalanobis", "vim"]),
    "one more set": ({"ood": {"far/a": FAR, "new": mostly_right(9, seed=7)}}, ["energy", "msp"]),
    "a parameter": (
        {"methods": ["energy", ood.detector("knn", k=3), "mahalanobis"]}, ["knn"],
    ),
    "the rule": ({"fpr_rule": "ood_positive"}, []),
    "resamples": ({"bootstrap": 30}, []),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGED)
def test_only_what_changed_is_computed(change: str, tmp_path: Path, fitted: list[str]) -> None:
    evaluate(tmp_path)
    fitted.clear()
    changed, expected = CHANGED[change]
    found = evaluate(tmp_path, **changed)
    assert fitted == expected
    assert found == evaluate(None, **changed)


FITTING = ["knn", "mahalanobis", "vim"]


def test_for_a_new_set_nothing_that_learns_is_fitted_again(
    tmp_path: Path, fitted: list[str]
) -> None:
    first = evaluate(tmp_path, methods=FITTING)
    assert fitted == FITTING
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(FITTING)
    fitted.clear()
    new = {"far/a": FAR, "near/c": mostly_right(25, seed=21, spread=0.5)}
    result = ood.evaluate(
        FITTING, id=TEST, ood=new, train=TRAIN, bootstrap=20, cache=tmp_path
    )  # fmt: skip
    assert fitted == []
    assert {t["fit_from_cache"] for t in result.timings.values()} == {1.0}
    assert {t["sets_from_cache"] for t in result.timings.values()} == {2.0}
    document = {k: v for k, v in result.to_json().items() if k != "timings"}
    assert document == evaluate(None, methods=FITTING, ood=new)
    assert document["results"][0] == first["results"][0]


def test_a_kept_detector_says_where_its_rows_were_held_out(
    tmp_path: Path, fitted: list[str]
) -> None:
    detector = ood.detector("ensemble", members=("msp", "knn"))
    train = mostly_right(400, seed=31)
    first = evaluate(tmp_path, methods=[detector], train=train)
    assert first["held_out"]
    fitted.clear()
    again = evaluate(tmp_path, methods=[detector], train=train, ood={"new": NEAR})
    assert fitted == []
    assert again["held_out"] == first["held_out"]


@pytest.mark.parametrize("row", [r for r in ood.methods() if r.fits], ids=lambda row: row.name)
def test_every_kind_of_detector_comes_back_with_its_bits(
    row: Any, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """What is kept of a fit scores as the fit does; sequences are left to their own tests."""
    if unmet_needs(row, TEST, TRAIN):
        pytest.skip("needs what these records lack")
    kept = Cache(tmp_path)
    scorer = planner.fit_method(ood.detector(row.name), TRAIN, None)
    kept.put_scorer("ab12", scorer)
    again = kept.get_scorer("ab12")
    assert again is not None
    np.testing.assert_array_equal(again.score(FAR), scorer.score(FAR))
    assert again.report().get("held_out_from") == scorer.report().get("held_out_from")


def test_a_detector_that_is_too_large_is_not_kept(
    tmp_path: Path, fitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LARGEST_FIT", 10)
    first = evaluate(tmp_path, methods=["knn"])
    assert list(tmp_path.rglob("*.safetensors")) == []
    assert evaluate(tmp_path, methods=["knn"], ood={"far/a": FAR, "near/b": NEAR}) == first
    evaluate(tmp_path, methods=["knn"], ood={"new": mostly_right(9, seed=7)})
    assert fitted == ["knn", "knn"]


@pytest.mark.parametrize("damage", ["cut", "bit", "other"])
def test_a_damaged_detector_is_said_and_fitted_again(
    damage: str, tmp_path: Path, fitted: list[str]
) -> None:
    evaluate(tmp_path, methods=["knn"])
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    content = bytearray(whole)
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "bit":
        content[-40] ^= 4
    else:
        content[:] = b"no detector at all"
    path.write_bytes(content)
    new = {"new": mostly_right(9, seed=7)}
    fitted.clear()
    with pytest.warns(ood.ToolkitWarning, match=r"cache: .*\.safetensors: .* it is fitted again"):
        found = evaluate(tmp_path, methods=["knn"], ood=new)
    assert fitted == ["knn"]
    assert found == evaluate(None, methods=["knn"], ood=new)
    assert path.read_bytes() == whole


def test_the_same_numbers_from_elsewhere_are_the_same(tmp_path: Path, fitted: list[str]) -> None:
    evaluate(tmp_path)
    fitted.clear()
    copy = ood.Outputs(
        logits=FAR.logits.copy(), features=FAR.features.copy(), head=FAR.head,
        members=FAR.members, labels=np.zeros(len(FAR), dtype=int), source="elsewhere.npz",
    )  # fmt: skip
    evaluate(tmp_path, ood={"far/a": copy, "near/b": NEAR})
    assert fitted == []


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other", "rows"])
def test_a_damaged_entry_is_said_and_computed_again(damage: str, tmp_path: Path) -> None:
    first = evaluate(tmp_path)
    entries = sorted(tmp_path.rglob("*.npz"))
    assert len(entries) == 3 * len(METHODS) + 2 * len(METHODS)
    for path in entries:
        content = bytearray(path.read_bytes())
        if damage == "cut":
            del content[len(content) // 2 :]
        elif damage == "bit":
            content[len(content) // 3] ^= 4
        elif damage == "empty":
            content.clear()
        elif damage == "other":
            content[:] = b"no archive at all"
        if damage == "rows":
            np.savez(path, scores=np.zeros(3))
        else:
            path.write_bytes(content)
    if damage == "rows":  # a sound file of something else: it does not fit, and is passed over
        for path in entries:
            with np.load(path) as file:
                assert file.files == ["scores"]
        assert evaluate(tmp_path, bootstrap=0) == evaluate(None, bootstrap=0)
        return
    with pytest.warns(ood.ToolkitWarning, match="cache: .* it is computed again"):
        assert evaluate(tmp_path) == first
    assert evaluate(tmp_path) == first  # without a warning: it was mended


@pytest.mark.parametrize("on", ["id", "ood"])
def test_what_was_tuned_is_kept_too(
    on: str, tmp_path: Path, fitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outliers = mostly_right(25, seed=11, spread=0.4)
    tune: Any = "id" if on == "id" else outliers
    first = evaluate(tmp_path, tune=tune)
    assert any(choice["candidates"] for choice in first["tuning"]["methods"])
    fitted.clear()

    def never(*_: Any) -> None:
        raise AssertionError("tuned once more")

    monkeypatch.setattr(tuning, "tune", never)
    assert evaluate(tmp_path, tune=tune) == first
    assert fitted == []
    with pytest.warns(ood.ToolkitWarning, match="tuned once more"):
        evaluate(tmp_path, tune=mostly_right(25, seed=12, spread=0.4))


def test_entries_depend_on_everything_they_are_made_from(tmp_path: Path) -> None:
    kept = Cache(tmp_path)
    assert kept.key(a=1, b="x") == kept.key(b="x", a=1)
    assert len({kept.key(a=1), kept.key(a=2), kept.key(b=1), kept.key()}) == 4
    assert len(toolkit_digest()) == 64
    digests = {
        record_digest(x, labels=labels)
        for x in (TEST, TEST.rows(slice(0, 9)), ood.Outputs(logits=TEST.logits))
        for labels in (True, False)
    }
    assert len(digests) == 5  # of the last there are no labels
    wide = ood.Outputs(logits=TEST.logits.astype(np.float32))
    assert record_digest(wide, labels=False) not in digests
    assert record_digest(None, labels=True) is None


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ood.InputError, match="choose another cache folder"):
        Cache(tmp_path / "file" / "cache")


def without_timings(path: Path) -> bytes:
    """The bytes of a results file, less the part that says how long things took."""
    lines = path.read_bytes().split(b"\n")
    start = lines.index(b' "timings": {')
    end = next(i for i in range(start, len(lines)) if lines[i] in (b" },", b" }"))
    json.loads(path.read_text())["timings"]
    return b"\n".join(lines[:start] + lines[end:])


def children(process: int) -> list[int]:
    """Processes that any thread of a process has started; none where the system does not say."""
    found = []
    for listed in Path("/proc").glob(f"{process}/task/*/children"):
        found += [int(number) for number in listed.read_text().split()]
    return found


def alive(process: int) -> bool:
    """Whether it is there, and no zombie that nobody has asked after."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(workers: int, tmp_path: Path) -> None:
    for name, x in (("id", TEST), ("far", FAR), ("near", NEAR), ("train", TRAIN)):
        ood.save_outputs(x, tmp_path / f"{name}.npz")
    command = [
        str(TOOL), "evaluate", "--id", "id.npz", "--ood", "far/a=far.npz", "--ood",
        "near/b=near.npz", "--train", "train.npz", "-m", "all", "--bootstrap", "200", "--quiet",
        "--cache", "kept", "--json-out", "results.json", "--workers", str(workers),
    ]  # fmt: skip
    (tmp_path / "temporary").mkdir()
    place = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=place
    )
    kept = tmp_path / "kept"
    deadline = time.monotonic() + 600
    while len(list(kept.rglob("*.npz"))) < 20:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    helpers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if workers > 1 and sys.platform == "linux":
        assert len(helpers) == workers
        while any(map(alive, helpers)) or os.listdir(tmp_path / "temporary"):
            assert time.monotonic() < deadline, "a process outlives the one that it works for"
            time.sleep(0.01)
    assert not (tmp_path / "results.json").exists()
    partial = len(list(kept.rglob("*.npz")))

    def run(cache: str, count: int) -> bytes:
        words = [cache if word == "kept" else word for word in command[:-1]] + [str(count)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 4), done.stderr
        return without_timings(tmp_path / "results.json").replace(
            f"--cache {cache}".encode(), b"--cache"
        ).replace(f"--workers {count}".encode(), b"--workers")  # fmt: skip

    resumed = run("kept", workers)
    document = json.loads((tmp_path / "results.json").read_text())
    reused = [t for t in document["timings"].values() if t.get("sets_from_cache")]
    assert partial < len(list(kept.rglob("*.npz")))
    assert reused
    assert resumed == run("fresh", 1)
