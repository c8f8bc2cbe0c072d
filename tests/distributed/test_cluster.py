"""Scores and fits on Dask workers: the same bits as here, whatever becomes of a worker."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from ood_toolkit_cli.group import cli

import ood_toolkit as ood
from ood_toolkit import scoring
from ood_toolkit.distributed import connected
from ood_toolkit.errors import BadParameter, DataError, InputError
from tests.distributed import tasks

ROWS, CLASSES, DIMS = 50_000, 10, 8
pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cluster")
    random = np.random.default_rng(5)
    labels = random.integers(0, CLASSES, ROWS)
    centres = random.normal(size=(CLASSES, DIMS))
    features = (centres[labels] + random.normal(size=(ROWS, DIMS))).astype(np.float32)
    head = {"head_weight": centres.astype(np.float32), "head_bias": np.zeros(CLASSES, np.float32)}
    logits = features @ head["head_weight"].T
    np.savez(place / "train.npz", logits=logits, features=features, labels=labels, **head)
    np.savez(place / "test.npz", logits=logits[::-1], features=features[::-1])
    return place


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven parts where there would be one."""
    monkeypatch.setattr(scoring, "PART_BYTES", 1 << 19)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*arguments: str | Path, status: int = 0) -> Any:
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert done.exit_code == status, done.output + str(done.exception)
    return done


def score(folder: Path, output: str, *more: str, status: int = 0) -> Path:
    fitted = ["--train", folder / "train.npz", "-m", "msp,gen,mahalanobis"]
    path = folder / output
    run("score", folder / "test.npz", *fitted, "-o", path, *more, status=status)
    return path


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    return score(folder, "alone.csv")


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".parts")]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_scores_have_the_same_bits(folder: Path, alone: Path, workers: int) -> None:
    output = score(folder, f"of_{workers}.csv", "--dask", f"local:{workers}")
    assert digest(output) == digest(alone)
    assert not leftovers(folder)


@pytest.mark.parametrize("size", [1 << 17, 1 << 30])
def test_parts_of_any_size_have_the_same_bits(
    folder: Path, alone: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "PART_BYTES", size)
    assert digest(score(folder, "parts.csv", "--dask", "local:2")) == digest(alone)


def test_a_worker_that_is_killed(
    folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ood_toolkit.distributed.scoring.make_part", tasks.killed_once)
    output = score(folder, "killed.csv", "--dask", "local:2")
    assert (folder / "killed").exists()
    (folder / "killed").unlink()
    assert digest(output) == digest(alone)


def test_a_part_that_kills_every_worker(
    folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as poison:
        poison.setattr("ood_toolkit.distributed.scoring.make_part", tasks.poisoned)
        output = score(folder, "poison.csv", "--dask", "local:2", status=4)
    assert not output.exists()
    parts = folder / ".poison.csv.parts"
    manifest = json.loads((parts / "manifest.json").read_text())
    plan = manifest["job"]["plan"]
    assert [failed["part"] for failed in manifest["failed"]] == [tasks.POISON]
    there = {receipt["number"] for receipt in manifest["parts"]}
    assert there == set(range(plan)) - {tasks.POISON}
    for receipt in manifest["parts"]:
        assert digest(parts / f"{receipt['number']:08d}.npz") == receipt["sha256"]
    # the cause is mended: the others are kept, by a cluster as by one process
    assert digest(score(folder, "poison.csv", "--resume")) == digest(alone)
    assert not leftovers(folder)


def test_a_part_that_is_blamed_for_another_is_made_alone(
    folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ood_toolkit.distributed.scoring.make_part", tasks.killed_in_company)
    output = score(folder, "blamed.csv", "--dask", "local:2")
    assert (folder / "deaths").stat().st_size == tasks.DEATHS
    (folder / "deaths").unlink()
    assert digest(output) == digest(alone)
    assert not leftovers(folder)


def test_a_full_disk_of_a_worker_keeps_what_is_there(
    folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = folder / "full.csv"
    output.write_text("old")
    more = ["-m", "msp,gen,mahalanobis", "-o", output, "--dask", "local:1"]
    with monkeypatch.context() as full:
        full.setattr("ood_toolkit.distributed.scoring.make_part", tasks.out_of_space)
        command = ["score", folder / "test.npz", "--train", folder / "train.npz", *more]
        done = CliRunner().invoke(cli, [str(a) for a in command])
    assert isinstance(done.exception, DataError)
    assert "cannot be written: the disk is full; what was there is intact" in str(done.exception)
    assert output.read_text() == "old"
    assert (folder / ".full.csv.parts" / "00000000.npz").exists()
    assert digest(score(folder, "full.csv", "--resume")) == digest(alone)
    assert not leftovers(folder)


def test_the_part_and_its_rows_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ood_toolkit.distributed.scoring.make_part", tasks.poisoned)
    test = str(folder / "test.npz")
    said = run(
        "score", test, "-m", "msp", "-o", folder / "named.csv", "--dask", "local:1", status=4
    ).stderr
    assert f"{test}: part 2: rows" in said
    assert "--resume" in said
    for name in os.listdir(folder / ".named.csv.parts"):
        (folder / ".named.csv.parts" / name).unlink()
    (folder / ".named.csv.parts").rmdir()


def test_a_row_that_cannot_be_scored_ends_the_job(folder: Path) -> None:
    logits = np.ones((ROWS, CLASSES), np.float32)
    logits[ROWS - 7, 3] = np.nan
    np.save(folder / "bad.npy", logits)
    output = folder / "bad.csv"
    arguments = ["score", folder / "bad.npy", "-m", "msp", "-o", output, "--dask", "local:2"]
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert isinstance(done.exception, InputError)
    assert f"bad.npy: logits: row {ROWS - 7} holds NaN" in str(done.exception)
    assert not output.exists()
    assert not leftovers(folder)


@pytest.mark.parametrize("method", ["mahalanobis", "relative_mahalanobis", "vim"])
def test_fits_have_the_same_bits(folder: Path, method: str) -> None:
    train = folder / "train.npz"
    run("fit", "-q", train, "-m", method, "-o", folder / "here.safetensors")
    run("fit", "-q", train, "-m", method, "-o", folder / "there.safetensors", "--dask", "local:2")
    assert digest(folder / "here.safetensors") == digest(folder / "there.safetensors")
    assert not leftovers(folder)


def test_a_fit_whose_worker_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ood_toolkit.distributed.moments.moments_of_group", tasks.group_killed_once)
    train, here, there = folder / "train.npz", folder / "a.safetensors", folder / "b.safetensors"
    run("fit", "-q", train, "-m", "mahalanobis", "-o", there, "--dask", "local:2")
    assert (folder / "killed").exists()  # so the sums were made by workers
    (folder / "killed").unlink()
    run("fit", "-q", train, "-m", "mahalanobis", "-o", here)
    assert digest(here) == digest(there)


@pytest.fixture
def cluster(folder: Path) -> Iterator[str]:
    """A scheduler and two workers, each a process of its own, as a user starts them."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [*dask, "scheduler", *local, "--port", "0", "--scheduler-file", str(file)]
    started = [subprocess.Popen([*scheduler, "--no-dashboard"], **quiet)]
    worker = [*dask, "worker", *local, "--scheduler-file", str(file), "--no-dashboard"]
    try:
        for _ in range(6000):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        for _ in range(2):
            started.append(subprocess.Popen([*worker, "--nthreads", "1"], cwd=folder, **quiet))
        yield json.loads(file.read_text())["address"]
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(20)


def test_a_cluster_that_is_there_already(folder: Path, alone: Path, cluster: str) -> None:
    assert digest(score(folder, "tcp.csv", "--dask", cluster)) == digest(alone)


def test_addresses() -> None:
    for wrong in ("local:0", "local", "here", "udp://a:1"):
        with pytest.raises(BadParameter, match="give tcp://HOST:PORT"), connected(wrong):
            pass
    absent = connected("tcp://127.0.0.1:1", timeout=0.5)
    with pytest.raises(InputError, match="no scheduler answers"), absent:
        pass


def test_states_are_checked(folder: Path) -> None:
    from ood_toolkit.distributed.tasks import State

    path = folder / "state.safetensors"
    ood.Energy().fit().save(path)
    state = State.of(str(path))
    assert state.checked() == str(path)
    ood.Energy(temperature=2.0).fit().save(path)
    with pytest.raises(DataError, match="another file here"):
        state.checked()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "msp"], "give the scores one with -o"),
        (["-m", "vote_entropy", "--member", "x.npz", "-o", "y.csv"], "without --member"),
    ],
)
def test_what_does_not_go_with_it(folder: Path, arguments: list[str], words: str) -> None:
    done = run("score", folder / "test.npz", *arguments, "--dask", "local:1", status=2)
    assert words in " ".join(done.stderr.split())
