"""Rows that stay in their file until they are asked for change no bit of any result."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit import bounded
from ood_toolkit.composed import StackedRows
from ood_toolkit.detectors import make_detector, registered
from ood_toolkit.detectors.planner import fit_method, score_together
from ood_toolkit.errors import DataError, InputError, ToolkitWarning
from ood_toolkit.io import file_rows, load, save_outputs
from ood_toolkit.io.text import Table
from ood_toolkit.kernels import rows as row_kernels
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.outputs import Outputs
from ood_toolkit.streamed import AllRowsNeeded, Memory, StreamedArray, as_streamed
from tests.cases import record
from tests.cli.running import TOOL

PLENTY = 4 << 30
NAMES = [row.name for row in registered()]
LOADING = importlib.import_module("ood_toolkit.io.load")
Write = Callable[[Outputs, Path], None]


@pytest.fixture
def everything_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOADING, "streamed_from", lambda memory: 0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    save_outputs(record(1300, seed=1), folder / "train.npz")
    save_outputs(record(2100, seed=2, spread=0.3), folder / "x.npz")
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("everything_streams")
@pytest.mark.filterwarnings("ignore::ood_toolkit.errors.ToolkitWarning")
def test_a_method_fits_and_scores_streamed_rows_to_the_same_bits(
    name: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, x = load(files / "train.npz"), load(files / "x.npz")
    streamed_train = load(files / "train.npz", memory=PLENTY)
    streamed = load(files / "x.npz", memory=PLENTY)
    assert as_streamed(streamed.features) is not None
    expected = fit_method(make_detector(name), train).score(x)
    monkeypatch.setattr(bounded, "BLOCK_BYTES", 1)  # one canonical chunk at a time
    assert len(list(bounded.blocks_of_rows(streamed))) == 3
    np.testing.assert_array_equal(
        fit_method(make_detector(name), streamed_train).score(streamed), expected
    )


def compressed(x: Outputs, path: Path) -> None:
    np.savez_compressed(path, logits=x.logits, labels=x.labels)


def chunked(x: Outputs, path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("logits", data=x.logits, chunks=(300, 4), compression="gzip")
        file["labels"] = x.labels


def lists(x: Outputs, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    assert x.logits is not None
    table = pa.table({"logits": pa.array(x.logits.tolist(), pa.list_(pa.float32())),
                      "labels": x.labels})  # fmt: skip
    parquet.write_table(table, path, row_group_size=700, data_page_size=512)


def json_lines(x: Outputs, path: Path) -> None:
    assert x.logits is not None
    assert x.labels is not None
    with open(path, "w", encoding="utf-8") as file:
        for row, label in zip(x.logits.tolist(), x.labels.tolist(), strict=True):
            file.write(json.dumps({"logits": row, "label": label}) + "\n")


def shards(x: Outputs, path: Path) -> None:
    path.mkdir()
    for number, part in enumerate((slice(0, 1000), slice(1000, 1001), slice(1001, None))):
        save_outputs(x.rows(part), path / f"{number}.npz")


def columns(x: Outputs, path: Path) -> None:
    assert x.logits is not None
    np.savez(path, logits=np.asfortranarray(x.logits), labels=x.labels)


def compressed_columns(x: Outputs, path: Path) -> None:
    assert x.logits is not None
    np.savez_compressed(path, logits=np.asfortranarray(x.logits), labels=x.labels)


def tensor_views(x: Outputs, path: Path) -> None:
    import torch

    wide = torch.zeros((7, 3000))
    wide[:, 100:2600] = torch.tensor(x.logits).T
    torch.save({"logits": wide.T[100:2600], "labels": torch.tensor(x.labels)}, path)


FORMATS: list[tuple[Write, str]] = [
    *((save_outputs, suffix) for suffix in (".npz", ".safetensors", ".parquet", ".h5", ".zarr")),
    (save_outputs, ".csv"), (compressed, ".npz"), (chunked, ".h5"), (lists, ".parquet"),
    (json_lines, ".jsonl"), (shards, ""), (save_outputs, ".pt"), (tensor_views, ".pt"),
    (columns, ".npz"), (compressed_columns, ".npz"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "suffix"), FORMATS, ids=[f"{w.__name__}{s}" for w, s in FORMATS])
@pytest.mark.usefixtures("everything_streams")
def test_every_format_streams(
    write: Write, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = record(2500, seed=3, classes=7, dtype=np.float32)
    x = Outputs(logits=x.logits, labels=x.labels)
    path = tmp_path / f"x{suffix}"
    write(x, path)
    expected = ood.score(load(path), ["energy", "msp"])
    monkeypatch.setattr(file_rows, "_BLOCK_BYTES", 9000)
    monkeypatch.setattr(row_kernels, "STREAMED_ELEMENTS", 7 * 160)
    monkeypatch.setattr(row_kernels, "PARALLEL_FROM", 1)
    streamed = load(path, memory=PLENTY, labels="lenient")
    rows = as_streamed(streamed.logits)
    assert rows is not None
    found = ood.score(streamed, ["energy", "msp"])
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(np.asarray(streamed.labels), x.labels)
    whole = load(path).logits
    assert whole is not None
    for index in (slice(3, 9), slice(None), slice(2, 2000, 7), np.array([2000, 4, 4, 7]), -1):
        np.testing.assert_array_equal(rows[index], whole[index])
    part = rows.part(1024, 2048)
    assert (part.first, len(part)) == (1024, 1024)
    np.testing.assert_array_equal(part[5:9], whole[1029:1033])


@pytest.mark.usefixtures("everything_streams")
def test_text_is_read_once_where_rows_are_asked_for_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = record(3000, seed=3)
    save_outputs(Outputs(logits=x.logits), tmp_path / "x.csv")
    passes = []
    body = Table.body
    monkeypatch.setattr(Table, "body", lambda self: passes.append(1) or body(self))
    streamed = load(tmp_path / "x.csv", memory=PLENTY)
    monkeypatch.setattr(row_kernels, "STREAMED_ELEMENTS", 5 * 160)
    monkeypatch.setattr(row_kernels, "PARALLEL_FROM", 1)
    assert ood.score(streamed, "energy")["energy"].shape == (3000,)
    assert len(passes) == 1


def as_members(order: str) -> Write:
    def write(x: Outputs, path: Path) -> None:
        np.savez(path, members=np.array(x.members, order=order))  # type: ignore[call-overload]

    return write


def as_stacked_columns(x: Outputs, path: Path) -> None:
    """Rows first: each member is every third row of a matrix."""
    import torch

    rows = torch.tensor(np.moveaxis(np.asarray(x.members), 1, 0).copy())
    torch.save({"members": rows.permute(1, 0, 2)}, path)


STACKS: list[tuple[Write, str, str]] = [
    (save_outputs, ".npz", ""), (save_outputs, ".safetensors", ""), (save_outputs, ".h5", ""),
    (save_outputs, ".pt", ""), (shards, "", ""), (as_members("C"), ".npz", "in C order"),
    (as_members("F"), ".npz", "in Fortran order"), (as_stacked_columns, ".pt", "rows first"),
]  # fmt: skip
OF_MEMBERS = [row.name for row in registered() if row.needs == ("members",)]


@pytest.mark.parametrize(
    ("write", "suffix", "how"), STACKS, ids=[f"{w.__name__}{s} {h}" for w, s, h in STACKS]
)
@pytest.mark.parametrize("block", [1, 60_000, 1 << 26])
@pytest.mark.usefixtures("everything_streams")
def test_stacks_of_members_stream(
    write: Write, suffix: str, how: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.random.default_rng(5).normal(scale=3.0, size=(3, 2500, 4))
    write(Outputs(members=stack), tmp_path / f"x{suffix}")
    expected = ood.score(Outputs(members=stack), OF_MEMBERS)
    monkeypatch.setattr(bounded, "BLOCK_BYTES", block)
    monkeypatch.setattr(file_rows, "_BLOCK_BYTES", max(block, 5000))
    streamed = load(tmp_path / f"x{suffix}", memory=PLENTY)
    rows = as_streamed(streamed.members)
    assert isinstance(rows, StackedRows)
    assert len(streamed) == 2500
    assert len(OF_MEMBERS) >= 5
    found = ood.score(streamed, OF_MEMBERS)
    for name in OF_MEMBERS:
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(np.asarray(rows), stack)
    np.testing.assert_array_equal(rows[:, 3:9], stack[:, 3:9])
    np.testing.assert_array_equal(rows[1][7:2000:9], stack[1][7:2000:9])
    kept = streamed.rows(np.array([2000, 4, 4, 7])).members
    np.testing.assert_array_equal(kept, stack[:, [2000, 4, 4, 7]])
    part = streamed.rows(slice(1024, 2100))
    np.testing.assert_array_equal(part.members[:, 5:9], stack[:, 1029:1033])  # type: ignore[index]


@pytest.mark.usefixtures("everything_streams")
def test_a_bad_row_of_a_member_has_its_number_in_the_file(tmp_path: Path) -> None:
    stack = np.zeros((3, 2500, 4))
    stack[2, 1777, 1] = np.nan
    save_outputs(Outputs(members=stack), tmp_path / "x.npz")
    streamed = load(tmp_path / "x.npz", memory=PLENTY)
    for part in (streamed, streamed.rows(slice(1024, 2100))):
        with pytest.raises(InputError, match="member 2: logits: row 1777 holds NaN"):
            ood.score(part, "mutual_information")


METHODS = ("msp", "energy", "gen", "mahalanobis", "knn", "vim")


@pytest.mark.usefixtures("everything_streams")
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize(("block", "window"), [(1, 160), (60_000, 1000), (1 << 26, 1 << 19)])
def test_neither_blocks_nor_threads_change_a_bit(
    threads: str, block: int, window: int, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, x = load(files / "train.npz"), load(files / "x.npz")
    scorers = {name: fit_method(make_detector(name), train) for name in METHODS}
    expected = digest(*score_together(x, scorers).values())
    moments = digest(*vars_of(scorers["mahalanobis"]))
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
    monkeypatch.setattr(bounded, "BLOCK_BYTES", block)
    monkeypatch.setattr(row_kernels, "STREAMED_ELEMENTS", window)
    monkeypatch.setattr(row_kernels, "PARALLEL_FROM", 1)
    monkeypatch.setattr(file_rows, "_BLOCK_BYTES", max(block, 5000))
    streamed_train = load(files / "train.npz", memory=PLENTY)
    streamed = load(files / "x.npz", memory=PLENTY)
    again = {name: fit_method(make_detector(name), streamed_train) for name in METHODS}
    assert digest(*vars_of(again["mahalanobis"])) == moments
    assert digest(*score_together(streamed, again).values()) == expected
    first = score_together(streamed.rows(slice(0, 1)), {"energy": again["energy"]})
    assert first["energy"][0] == score_together(x, {"energy": scorers["energy"]})["energy"][0]


def vars_of(scorer: Any) -> list[Any]:
    values = [getattr(scorer, name) for name in scorer.shapes]
    return [np.ascontiguousarray(value) for value in values]


def digest(*arrays: Any) -> str:
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


@pytest.mark.usefixtures("everything_streams")
def test_a_bad_row_has_its_number_in_the_file(files: Path, tmp_path: Path) -> None:
    x = load(files / "x.npz")
    logits = np.array(x.logits)
    logits[1777, 2] = np.nan
    save_outputs(Outputs(logits=logits), tmp_path / "x.npy")
    streamed = load(tmp_path / "x.npy", memory=PLENTY)
    for record_ in (streamed, streamed.rows(slice(1024, 2100))):
        with pytest.raises(InputError, match="logits: row 1777 holds NaN"):
            ood.score(record_, "energy")


@pytest.mark.usefixtures("everything_streams")
def test_labels_of_no_class_are_counted_over_the_whole_file(tmp_path: Path) -> None:
    labels = np.arange(900) % 5
    labels[[400, 850]] = 7, -3
    np.savez(tmp_path / "x.npz", logits=np.zeros((900, 5)), labels=labels)
    with pytest.warns(ToolkitWarning, match="2 labels outside -1 … 4, the first in row 400"):
        streamed = load(tmp_path / "x.npz", labels="lenient", memory=PLENTY)
    found = np.asarray(streamed.labels)
    assert (found[400], found[850], found[3]) == (-1, -1, 3)


class Narrow(Memory):
    """A limit that leaves little."""

    def room(self) -> int:
        return 3 << 20


@pytest.fixture
def little_room(everything_streams: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOADING, "Memory", Narrow)


@pytest.mark.usefixtures("little_room")
def test_what_needs_all_rows_is_fitted_on_every_kth(tmp_path: Path) -> None:
    x = record(40_000, seed=1, dims=12)
    x = replace(x, members=None, token_logits=None, token_mask=None, token_ids=None)
    save_outputs(x, tmp_path / "x.npz")
    streamed = load(tmp_path / "x.npz", memory=PLENTY)
    with pytest.raises(AllRowsNeeded, match=r"all rows are needed at once, 3 MiB, and --memory"):
        np.asarray(streamed.features)
    total = sum(a.nbytes for a in (x.logits, x.features) if a is not None)
    step = -(-bounded.SHARE * total // (3 << 20))
    with pytest.warns(ToolkitWarning, match=rf"knn needs .* every {step}th of 40000 is used"):
        bank = fit_method(make_detector("knn"), streamed).bank  # type: ignore[attr-defined]
    kept = x.rows(np.arange(0, 40_000, step))
    np.testing.assert_array_equal(bank, fit_method(make_detector("knn"), kept).bank)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # sums are made of all rows
        fitted = fit_method(make_detector("mahalanobis"), streamed)
    expected = fit_method(make_detector("mahalanobis"), x)
    assert digest(*vars_of(fitted)) == digest(*vars_of(expected))


READS = {
    "every row, in blocks": 0.0,
    "some rows at even steps, as a parameter says": 0.5,
    "all rows at once, or every k-th": 1.0,
}
"""What the page says of a fit -> the most that it may ask for at once, of all rows."""


@pytest.mark.usefixtures("everything_streams")
@pytest.mark.filterwarnings("ignore::ood_toolkit.errors.ToolkitWarning")
def test_the_page_says_what_each_fit_reads(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "larger-than-memory.md").read_text("utf-8")
    stated = {
        name: what
        for line in page.splitlines()
        if (what := line.split("|")[1].strip() if line.startswith("|") else "") in READS
        for name in re.findall(r"`(\w+)`", line)
    }
    train = load(files / "x.npz", memory=PLENTY)
    asked: list[float] = []
    get = StreamedArray.__getitem__

    def noted(rows: StreamedArray, index: Any) -> Any:
        if isinstance(index, slice) and len(range(*index.indices(len(rows)))) == len(rows):
            asked.append(1.0)
        return get(rows, index)

    monkeypatch.setattr(StreamedArray, "admit", lambda rows, n: asked.append(n / rows.nbytes))
    monkeypatch.setattr(StreamedArray, "__getitem__", noted)
    found = {}
    for row in registered():
        if row.train:
            asked.clear()
            make_detector(row.name).fit(train, train)
            most = max(asked, default=0.0)
            found[row.name] = next(what for what, limit in READS.items() if min(most, 1.0) <= limit)
    assert found == stated


@pytest.mark.usefixtures("little_room")
def test_files_that_cannot_be_read_in_part_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(
        path, logits=np.asfortranarray(np.random.default_rng(0).random((1 << 20, 2)))
    )
    with pytest.raises(DataError, match=r"16\.0 MiB of it can only be read together"):
        load(path, memory=PLENTY)


@pytest.mark.parametrize("suffix", [".pt", ".npy"])
@pytest.mark.usefixtures("little_room")
def test_columns_are_read_within_a_limit(suffix: str, tmp_path: Path) -> None:
    logits = np.asfortranarray(np.random.default_rng(0).random((600_000, 2)))
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, logits)
    else:
        import torch

        torch.save(torch.tensor(logits.T).T, path)
    streamed = load(path, memory=PLENTY)
    with pytest.raises(AllRowsNeeded, match="all rows are needed at once, 9 MiB"):
        np.asarray(streamed.logits)
    expected = ood.score(logits, "energy")["energy"]
    np.testing.assert_array_equal(ood.score(streamed, "energy")["energy"], expected)


def test_a_limit_below_what_the_process_takes_is_refused() -> None:
    with pytest.raises(InputError, match="of 20 MiB is too little: this process takes"):
        Memory(20 << 20)


def test_the_logits_that_a_head_makes_are_streamed_too(
    files: Path, everything_streams: None
) -> None:
    x = record(2100, seed=2, spread=0.3)
    streamed = load(files / "x.npz", memory=PLENTY)
    made = Outputs(features=streamed.features, head=streamed.head)
    rows = as_streamed(made.logits)
    assert isinstance(rows, StreamedArray)
    expected = Outputs(features=x.features, head=x.head).logits
    assert expected is not None
    np.testing.assert_array_equal(rows[1000:1100], expected[1000:1100])
    np.testing.assert_array_equal(rows.part(1024, 2100)[3:9], expected[1027:1033])
    found = ood.score(made, "energy")["energy"]
    np.testing.assert_array_equal(found, ood.score(expected, "energy")["energy"])
    assert row_kernels.row_statistics(made.logits, (PREDICTION,)).first_bad == -1  # type: ignore[arg-type]


WATCHED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = status
print(usage.ru_maxrss)
sys.exit(status != 0)
"""
"""Runs a command and prints its peak; a small process, for a child's begins with its parent's."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_file_larger_than_its_limit_is_scored_within_it(tmp_path: Path) -> None:
    block = np.random.default_rng(0).normal(size=(4096, 1000)).astype(np.float32)
    with open(tmp_path / "x.npy", "wb") as file:  # 262 MB
        header = {"descr": "<f4", "fortran_order": False, "shape": (16 * 4096, 1000)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(16):
            file.write(block)
    command = [TOOL, "score", "x.npy", "-m", "energy", "--memory", "250MB", "-o", "s.npz"]
    watched = [sys.executable, "-c", WATCHED, *map(str, command)]
    run = subprocess.run(watched, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(run.stdout) * 1024 <= 250_000_000
    with np.load(tmp_path / "s.npz") as scores:
        assert len(scores["energy"]) == 16 * 4096
        np.testing.assert_array_equal(scores["energy"][:4096], ood.score(block, "energy")["energy"])
        assert (scores["energy"].reshape(16, -1) == scores["energy"][:4096]).all()
