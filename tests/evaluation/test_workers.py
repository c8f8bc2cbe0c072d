"""Methods side by side: the same document, labels and warnings as one after the other."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors.catalogue import make_detector, registered
from ood_toolkit.evaluation import FittedOn, NoCache, Reported, Tuning, workers
from ood_toolkit.evaluation.method_work import MethodWork
from ood_toolkit.evaluation.work_file import as_bytes, read_work, write_work
from ood_toolkit.evaluation.workers import can_be_sent, processes_for
from ood_toolkit.streamed import StreamedArray
from tests.cases import mostly_right

TRAIN, TEST = mostly_right(120, seed=1), mostly_right(60, seed=2)
FAR, NEAR = mostly_right(40, seed=3, spread=0.2), mostly_right(30, seed=4, spread=0.6)
BROKEN = replace(FAR, features=np.where(np.arange(40)[:, None] == 7, np.nan, FAR.features))
METHODS = ["energy", "openmax", "information_gain", "nac", "sdm", "gradnorm", "knn", "gmm", "msp"]


def evaluate(processes: int, **changes: Any) -> tuple[dict[str, Any], Any, list[str], list[str]]:
    """The document, its timings, the labels of progress, and the warnings."""
    options: dict[str, Any] = {
        "id": TEST, "ood": {"far/a": FAR, "near/b": NEAR}, "train": TRAIN, "bootstrap": 20,
        "methods": METHODS,
    }  # fmt: skip
    labels: list[str] = []
    options["progress"] = labels.append
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        result = ood.evaluate(**(options | changes), workers=processes)
    document = result.to_json()
    timings = document.pop("timings")
    places = [f"{w.filename}:{w.lineno}: {w.category.__name__}: {w.message}" for w in said]
    return document, timings, labels, places


@pytest.fixture(scope="module")
def alone() -> tuple[dict[str, Any], Any, list[str], list[str]]:
    return evaluate(1)


@pytest.mark.parametrize("processes", [2, 3])
def test_everything_but_the_timings_is_the_same(processes: int, alone: Any) -> None:
    document, timings, labels, said = evaluate(processes)
    assert document == alone[0]
    assert [row["method"] for row in document["means"]][::3] == METHODS
    assert labels == alone[2]
    assert said == alone[3]
    assert any("sdm: no held-out rows" in line for line in said)
    apart = {name for name, seconds in timings.items() if "side_by_side" in seconds}
    assert apart == {"openmax", "information_gain", "nac", "sdm", "knn", "gmm"}
    assert {timings[name]["side_by_side"] for name in apart} == {processes}
    assert all(timings[name]["fit_cpu"] > 0 for name in apart)
    assert not any("side_by_side" in seconds for seconds in alone[1].values())


def test_what_is_tuned_is_the_same() -> None:
    names = ["react", "knn", "msp"]
    first, second = (evaluate(count, tune="id", methods=names) for count in (1, 2))
    assert first[0] == second[0]
    assert [choice["method"] for choice in first[0]["tuning"]["methods"]] == names
    assert {name for name, t in second[1].items() if "side_by_side" in t} == set(names)


def test_a_method_that_fails_fails_alone_and_with_the_same_words() -> None:
    sets = {"far/a": BROKEN, "near/b": NEAR}
    first, second = (evaluate(count, ood=sets) for count in (1, 2))
    assert first[0] == second[0]
    assert first[2] == second[2]
    failed = {note["method"]: note["reason"] for note in second[0]["failed"]}
    assert set(failed) == {"nac", "sdm", "gradnorm", "knn", "gmm"}
    assert all("row 7" in reason for reason in failed.values())


def test_scores_and_detectors_are_kept_by_the_processes(tmp_path: Path, alone: Any) -> None:
    kept = tmp_path / "kept"
    assert evaluate(2, cache=kept)[0] == alone[0]
    entries = sorted(kept.rglob("*.npz"))
    document, timings, _, _ = evaluate(1, cache=kept)
    assert document == alone[0]
    assert {seconds["sets_from_cache"] for seconds in timings.values()} == {3.0}
    assert sorted(kept.rglob("*.npz")) == entries


def test_a_process_that_ends_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, alone: Any
) -> None:
    monkeypatch.setattr(workers, "_START", "import os; os._exit(3)")
    document, _, _, _ = evaluate(2)
    failed = {note["method"]: note["reason"] for note in document["failed"]}
    assert set(failed) == {"openmax", "information_gain", "nac", "sdm", "knn", "gmm"}
    assert failed["gmm"] == (
        "the process it ran in ended (status 3), perhaps for lack of memory; run methods one "
        "after the other: workers=1 (--workers 1)"
    )
    ran = {"energy", "gradnorm", "msp"}
    assert document["results"] == [r for r in alone[0]["results"] if r["method"] in ran]


def test_what_a_process_said_before_it_ended_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START", "print(5)\nraise SystemExit('no\\n  such library')")
    with pytest.warns(ood.ToolkitWarning, match="the process it ran in ended") as said:
        failed = ood.evaluate(
            ["knn", "gmm"], id=TEST, ood={"a": FAR}, train=TRAIN, bootstrap=0, workers=2
        ).failed
    assert {note.reason for note in failed} == {
        "the process it ran in ended (status 1): such library; run methods one after the other: "
        "workers=1 (--workers 1)"
    }
    assert [warning.message.__notes__ for warning in said] == [["no\n  such library"]] * 2


def test_what_a_library_prints_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], alone: Any
) -> None:
    said = "import sys; print('a word', file=sys.stderr)\n"
    monkeypatch.setattr(workers, "_START", said + workers._START)
    assert evaluate(2)[0] == alone[0]
    assert capsys.readouterr().err == "a word\n" * 2


@pytest.mark.parametrize("name", ["types", "random", "numbers", "signal"])
def test_a_file_beside_the_script_does_not_shadow_the_standard_library(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('taken for the standard library')")
    (tmp_path / "beside.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    also = workers._START.replace("from ood_toolkit", "import beside\nfrom ood_toolkit")
    monkeypatch.setattr(workers, "_START", also)
    document, timings, _, _ = evaluate(2, methods=["knn", "gmm"])
    assert document["failed"] == []
    assert {seconds["side_by_side"] for seconds in timings.values()} == {2.0}


def test_a_fault_in_a_process_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, alone: Any
) -> None:
    broken = "import ood_toolkit.evaluation.method_work as work; work.fit_method = None; "
    monkeypatch.setattr(workers, "_START", broken + workers._START)
    document, _, _, said = evaluate(2)
    reason = "unexpected TypeError: 'NoneType' object is not callable; please report it"
    assert {note["reason"] for note in document["failed"]} == {reason}
    names = ["openmax", "information_gain", "nac", "sdm", "knn", "gmm"]
    assert [note["method"] for note in document["failed"]] == names
    assert [line.rpartition("Warning: ")[2] for line in said] == [f"{n}: {reason}" for n in names]
    ran = {"energy", "gradnorm", "msp"}
    assert document["results"] == [r for r in alone[0]["results"] if r["method"] in ran]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Processes that are started from here on."""
    started: list[subprocess.Popen[bytes]] = []
    really = subprocess.Popen

    def start(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(really(*words, **options))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    return started


@pytest.mark.parametrize("moment", ["fit energy", "score nac"])
def test_an_interrupt_ends_every_process(
    moment: str, children: list[subprocess.Popen[bytes]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(workers.tempfile, "tempdir", str(tmp_path))

    def interrupted(label: str) -> None:
        if label == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(2, progress=interrupted)
    assert children
    assert all(child.poll() is not None for child in children)
    assert os.listdir(tmp_path) == []


def work_on(train: ood.Outputs, **changes: Any) -> MethodWork:
    return MethodWork(Reported(TEST, {"a": FAR}), FittedOn(train), Tuning(), NoCache(), **changes)


@dataclass(frozen=True)
class Strange:
    """A parameter of the user's own."""

    words: str = "a"


def test_which_methods_are_sent() -> None:
    sent = {r.name for r in registered() if can_be_sent(make_detector(r.name), tuned="none")}
    assert sent == {r.name for r in registered() if r.fits}
    assert can_be_sent(make_detector("msp"), tuned="id")
    assert not can_be_sent(make_detector("msp"), tuned="none")
    knn = make_detector("knn")
    object.__setattr__(knn, "k", Strange())
    assert not can_be_sent(knn, tuned="none")


def test_how_many_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "thread_count", lambda: 8)
    work, much = work_on(TRAIN), 1 << 40
    assert processes_for(work, 30, much, None) == 1, "for so few rows none pays"
    monkeypatch.setattr(workers, "LEAST_WORK", 0)
    assert processes_for(work, 30, much, None) == 8
    assert processes_for(work, 5, much, None) == 5
    assert processes_for(work, 30, much, 3) == 3
    assert processes_for(work, 0, much, None) == 1
    entries = sum(x.logits.size + x.features.size + x.members.size for x in (TRAIN, TEST))
    need = workers.PROCESS_BYTES + workers.BYTES_AN_ENTRY * entries
    assert processes_for(work, 30, 4 * need, None) == 4
    assert processes_for(work, 30, 4 * need - 1, 8) == 3
    assert processes_for(work, 30, 0, 8) == 1


def test_streamed_rows_are_left_to_one_process() -> None:
    work = work_on(TRAIN)
    assert processes_for(work, 30, 1 << 40, 2) == 2
    streamed = replace(TRAIN)
    object.__setattr__(streamed, "features", _streamed(TRAIN.features))
    assert processes_for(replace(work, fitted_on=FittedOn(streamed)), 30, 1 << 40, 2) == 1


def _streamed(array: np.ndarray) -> StreamedArray:
    class Rows(StreamedArray):
        def __init__(self) -> None:
            self.shape, self.dtype = array.shape, array.dtype

        def fetch(self, start: int, stop: int) -> np.ndarray:
            return array[start:stop]

        def part(self, start: int, stop: int) -> Any:
            raise NotImplementedError

    return Rows()


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = str(tmp_path / "records")
    half = replace(
        TRAIN, logits=np.asfortranarray(TRAIN.logits.astype(np.float16)),
        features=TRAIN.features[:, ::2], head=None, layers={"b": TRAIN.features[:, :3]},
        text=np.array(["shown"] * len(TRAIN)),
    )  # fmt: skip
    write_work(work_on(half, digests={("train", True): "x"}), path)
    found = read_work(path)
    again = found.fitted_on.train
    assert again is not None
    for name in ("logits", "features", "labels", "members"):
        np.testing.assert_array_equal(getattr(again, name), getattr(half, name))
        assert getattr(again, name).dtype == getattr(half, name).dtype
    np.testing.assert_array_equal(again.layers["b"], half.layers["b"])
    assert isinstance(again.layers, MappingProxyType)
    assert again.text is None, "what is only shown is not sent"
    assert found.digests == {("train", True): "x"}
    assert (found.reported.groups, found.tuning.on) == ({}, "none")
    assert again.logits.ctypes.data % 64 == 0
    again.logits[:] = 0  # a copy of its own: the file is not written
    assert (read_work(path).fitted_on.train.logits != 0).any()


def test_a_read_only_mapping_is_sent_as_one() -> None:
    made = pickle.loads(as_bytes(MappingProxyType({"a": (1, 2)})))  # noqa: S301
    assert isinstance(made, MappingProxyType)
    assert dict(made) == {"a": (1, 2)}


@pytest.mark.parametrize("wrong", [0, -2])
def test_a_number_of_processes_that_is_none(wrong: int) -> None:
    with pytest.raises(ood.InputError, match=f"workers must be at least 1, got {wrong}"):
        evaluate(wrong)


def test_a_pool_is_closed_though_not_all_of_it_was_started(tmp_path: Path) -> None:
    """As where the user breaks off before the second method is asked for."""
    pool = workers._Pool(str(tmp_path / "records"), 2)
    pool.close()
    assert [process.clear() for process in pool._all] == [(None, "")] * 2
