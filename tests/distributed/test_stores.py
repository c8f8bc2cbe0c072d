"""Parts in stores that fsspec reaches: written whole, locked, taken up again, and gated."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit import scoring
from ood_toolkit.errors import BadParameter, DataError, MissingDependency, ToolkitWarning
from ood_toolkit.io import load_scores, object_files, object_lock
from ood_toolkit.io.destination import Destination
from ood_toolkit.io.object_files import Copies, url_files, url_stamp
from ood_toolkit.io.object_lock import object_lock as locked
from ood_toolkit.io.object_store import UrlStore, file_system, is_url, renamed
from ood_toolkit.io.part_folder import LOCK
from ood_toolkit.io.part_formats import PART_FORMATS, content_digest, table_content
from ood_toolkit.io.reading import Reading, load_url
from ood_toolkit.streamed import as_streamed, resident_bytes
from tests.cli.running import tool
from tests.distributed import tasks

fsspec = pytest.importorskip("fsspec")
ROWS = 30_000
pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PART_BYTES", 1)


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's store in the memory of this process, empty."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of logits, and what one process on a disk makes of them."""
    place = tmp_path_factory.mktemp("stores")
    x = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float32)
    (place / "in").mkdir()
    for number, (start, stop) in enumerate([(0, 12_000), (12_000, 25_000), (25_000, ROWS)]):
        np.save(place / "in" / f"p{number}.npy", x[start:stop])
    done = tool("score", place / "in" / "*.npy", "-m", "msp,gen", "-o", place / "alone.csv")
    assert done.status == 0, done.err
    return place


@pytest.fixture
def bucket(memory: Any, folder: Path) -> str:
    for path in (folder / "in").iterdir():
        memory.pipe_file(f"/bucket/in/{path.name}", path.read_bytes())
    return "memory://bucket"


def store_on_disk(folder: Path, name: str) -> str:
    """A store that several processes see, and that is no plain folder to the toolkit."""
    return f"dir://{name}::file://{folder}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


SCORE = ("score", "-m", "msp,gen", "-o")


def test_names_of_stores() -> None:
    assert is_url("s3://b/x")
    assert is_url("simplecache::s3://b/x")
    assert not is_url("file:///tmp/x")
    assert not is_url("/tmp/a:b")
    assert not is_url("x.npy")
    assert renamed("dir://a/b.npy::file:///tmp", "c.npy") == "dir://a/c.npy::file:///tmp"
    assert Destination.of("file:///tmp/x.csv") == Destination("/tmp/x.csv", "csv", False)
    with pytest.raises(BadParameter, match="parts are written as csv, jsonl, npy"):
        Destination.of("x/*.pt")
    with pytest.raises(BadParameter, match="Protocol not known: nonsense"):
        file_system("nonsense://b/x")


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme, library, extra in (("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingDependency) as caught:
            file_system(f"{scheme}://bucket/absent-{library}.npy")
        assert caught.value.extra == extra
        assert f"pip install 'ood_toolkit[{extra}]'" in str(caught.value)


def test_from_a_store_into_a_store(memory: Any, bucket: str, folder: Path) -> None:
    done = tool("score", f"{bucket}/in/*.npy", "-m", "msp,gen", "-o", f"{bucket}/out/s.csv")
    assert done.status == 0, done.err
    assert memory.cat_file("/bucket/out/s.csv") == (folder / "alone.csv").read_bytes()
    assert memory.find("/bucket/out") == ["/bucket/out/s.csv"]


@pytest.mark.parametrize("format", PART_FORMATS)
def test_parts_are_the_same_on_a_disk_and_in_a_store(
    format: str, memory: Any, bucket: str, folder: Path, tmp_path: Path
) -> None:
    inputs = f"{bucket}/in/*.npy"
    for out in (f"{bucket}/out/*.{format}", tmp_path / "out" / f"*.{format}"):
        done = tool("score", inputs, "-m", "msp,gen", "-o", out)
        assert done.status == 0, done.err
        again = tool("score", inputs, "-m", "msp,gen", "-o", out)
        assert again.status == 3
        assert "a finished run of it is there, 5 of 5 parts" in again.error
        assert tool("score", inputs, "-m", "msp,gen", "-o", out, "--resume").status == 0
    table = load_scores(tmp_path / "out" / f"*.{format}")
    for key, column in load_scores(folder / "alone.csv").items():
        np.testing.assert_array_equal(table[key], column)
    names = [f"{number:08d}.{format}" for number in range(5)]
    assert sorted(os.listdir(tmp_path / "out")) == [*names, "manifest.json"]
    manifests = [
        json.loads(memory.cat_file("/bucket/out/manifest.json")),
        json.loads((tmp_path / "out" / "manifest.json").read_text()),
    ]
    assert manifests[0]["parts"] == manifests[1]["parts"]
    assert sum(part["rows"] for part in manifests[0]["parts"]) == ROWS
    for receipt in manifests[1]["parts"]:
        path = tmp_path / "out" / f"{receipt['number']:08d}.{format}"
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        content = {
            "" if p == path else p.relative_to(path).as_posix(): p.read_bytes() for p in files
        }
        assert content_digest(content) == receipt["sha256"]
        for name, data in content.items():
            at = f"/bucket/out/{path.name}" + (f"/{name}" if name else "")
            assert memory.cat_file(at) == data


def test_what_a_part_of_each_format_holds(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    table = {"index": np.arange(4), "msp": np.array([0.5, -np.inf, 0.25, 1.0])}
    fields = np.load(io.BytesIO(table_content(table, "npy")[""]), allow_pickle=False)
    assert fields.dtype.names == ("index", "msp")
    for name, column in table.items():
        np.testing.assert_array_equal(fields[name], column)
    for key, data in table_content(table, "zarr").items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    group = zarr.open_group(tmp_path, mode="r")
    for name, column in table.items():
        np.testing.assert_array_equal(group[name][:], column)
        assert group[name].chunks == (4,)  # one chunk: the part is one write
    with pytest.raises(ValueError, match="Zarr parts cannot hold texts"):
        table_content({"file": np.array(["a"])}, "zarr")


def test_parts_that_are_not_whole_are_not_read_as_if(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "out" / "*.npy"
    assert tool("score", folder / "in" / "*.npy", "-m", "msp", "-o", out).status == 0
    assert list(load_scores(out)) == ["index", "prediction", "msp"]
    (tmp_path / "out" / "00000001.npy").unlink()
    with pytest.raises(DataError, match="is not whole; finish it with --resume"):
        load_scores(out)
    with pytest.raises(DataError, match="no file matches"):
        load_scores(tmp_path / "absent" / "*.npy")
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    with pytest.raises(DataError, match="is no table of scores"):
        load_scores(tmp_path / "x.npy")


def test_a_finished_folder_whose_part_was_cut_is_mended(tmp_path: Path, folder: Path) -> None:
    command = ("score", folder / "in" / "*.npy", "-m", "msp", "-o", tmp_path / "out" / "*.zarr")
    assert tool(*command).status == 0
    victim = tmp_path / "out" / "00000003.zarr" / "msp" / "c" / "0"
    raw = victim.read_bytes()
    victim.write_bytes(raw[:-1])
    done = tool(*command, "--resume")
    assert done.status == 0, done.err
    assert "1 parts had changed and were made again" in done.err
    assert victim.read_bytes() == raw


def test_the_head_of_another_file_goes_to_the_store_alone(
    folder: Path, on_disk: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(4)
    head = {"head_weight": random.normal(size=(3, 5)).astype(np.float32)}
    features = random.normal(size=(500, 5)).astype(np.float32)
    labels = np.arange(500) % 3
    np.savez(tmp_path / "train.npz", features=features, labels=labels, **head)
    np.savez(on_disk / "b" / "x.npz", features=features)
    command = ["-m", "energy", "--train", tmp_path / "train.npz", "-o"]
    assert tool("score", on_disk / "b" / "x.npz", *command, tmp_path / "a.csv").status == 0
    out = store_on_disk(on_disk, "b/y.csv")
    inputs = store_on_disk(on_disk, "b/x.npz")
    done = tool("score", inputs, *command, out, "--dask", "local:1", "--json")
    assert done.status == 0, done.err
    assert done.document["columns"] == ["index", "prediction", "energy"]
    assert digest(on_disk / "b" / "y.csv") == digest(tmp_path / "a.csv")
    assert sorted(os.listdir(on_disk / "b")) == ["in", "x.npz", "y.csv"]


def test_a_zarr_part_is_none_before_all_of_it_is_there(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = UrlStore("memory://bucket/x/*.zarr", "")
    content = table_content({"msp": np.arange(5.0)}, "zarr")
    written: list[str] = []
    put = UrlStore._put

    def stops_before_the_last(self: UrlStore, path: str, data: bytes) -> None:
        if len(written) == len(content) - 1:
            raise OSError("pre-empted")
        written.append(path)
        put(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(UrlStore, "_put", stops_before_the_last)
        with pytest.raises(DataError, match="cannot be written: pre-empted"):
            store.write_folder("00000000.zarr", content)
    assert not memory.exists("/bucket/x/00000000.zarr/zarr.json")
    store.write_folder("00000000.zarr", content)
    assert dict(store.read_folder("00000000.zarr")) == dict(content)
    store.remove("00000000.zarr")
    assert store.names() == []


def test_a_store_without_whole_writes_gets_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = UrlStore(store_on_disk(tmp_path, "deep/x.csv"), "parts")
    seen: list[list[str]] = []
    fs, _ = file_system(store.url)
    move = fs.mv

    def looking(*names: str, **options: Any) -> None:
        seen.append(sorted(os.listdir(tmp_path / "deep" / "parts")))
        move(*names, **options)

    monkeypatch.setattr(fs, "mv", looking)
    store.write("a.bin", b"12")
    assert len(seen[0]) == 1
    assert seen[0][0].endswith(".partial")
    assert store.names() == ["a.bin"]
    assert store.read("a.bin") == b"12"
    with pytest.raises(FileNotFoundError):
        store.read("b.bin")

    def full(*names: str, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fs, "mv", full)
    with pytest.raises(DataError, match=r"a\.bin::file://.*: cannot be written: .*No space left"):
        store.write("a.bin", b"345")
    assert store.read("a.bin") == b"12"
    assert store.names() == ["a.bin"]
    assert pickle.loads(pickle.dumps(store)) == store  # noqa: S301 - as Dask does


def test_of_two_drivers_one_is_refused(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = UrlStore("memory://bucket/s.csv", ".s.csv.parts")
    words = f"is being written by process {os.getpid()} on .*; wait for it, or remove memory://"
    with locked(store, "s.csv") as mine:
        for _ in range(2):
            with pytest.raises(DataError, match=words), locked(store, "s.csv"):
                pass
        mine.write("manifest.json", b"{}")
        # somebody removes the lock, and a second driver begins: the first one stops
        store.remove(LOCK)
        words = "names another run, which took this one over"
        with locked(store, "s.csv"), pytest.raises(DataError, match=words):
            mine.write("manifest.json", b"{}")
    assert store.names() == ["manifest.json"]


def test_the_lock_of_a_dead_process_is_taken_over_that_of_another_machine_is_not(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = UrlStore("memory://bucket/s.csv", ".s.csv.parts")
    holder = {"run": "x", "host": object_lock.socket.gethostname(), "started": "then"}
    store.write(LOCK, json.dumps({**holder, "process": os.getpid()}).encode())
    with locked(store, "s.csv"):  # this number was another process then
        pass
    store.write(LOCK, json.dumps({**holder, "process": 1, "host": "far away"}).encode())
    with pytest.raises(DataError, match="by process 1 on far away"), locked(store, "s.csv"):
        pass
    store.write(LOCK, b"\xff garbage")
    with pytest.raises(DataError, match="on an unknown machine"), locked(store, "s.csv"):
        pass


def test_a_store_that_knows_no_condition_says_so(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, _ = file_system("memory://bucket/s.csv")
    whole = type(fs).pipe_file

    def careless(self: Any, path: str, value: bytes, mode: str = "overwrite") -> None:
        whole(self, path, value)

    monkeypatch.setattr(type(fs), "pipe_file", careless)
    store = UrlStore("memory://bucket/s.csv", ".s.csv.parts")
    taken = locked(store, "s.csv")
    with pytest.warns(ToolkitWarning, match="cannot refuse a second driver at once"):
        mine = taken.__enter__()
    with pytest.raises(DataError, match="is being written"), locked(store, "s.csv"):
        pass
    store.write(LOCK, json.dumps({"run": "the other one"}).encode())
    with pytest.raises(DataError, match="names another run"):
        mine.write("manifest.json", b"{}")
    taken.__exit__(None, None, None)
    assert json.loads(store.read(LOCK)) == {"run": "the other one"}


SLOW = """
import sys, time
from ood_toolkit import scoring

scoring.PART_BYTES = scoring.SMALL_BYTES = 1
write_part = scoring.write_part

def slowly(*arguments):
    time.sleep(0.15)
    return write_part(*arguments)

scoring.write_part = slowly
sys.argv[0] = "ood-toolkit"
from ood_toolkit_cli.main import main
main()
"""


def parts_there(place: Path) -> int:
    return len(list(place.glob("0*.parquet")))


def test_a_driver_killed_four_times(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    place = tmp_path / "bucket" / "out"
    inputs = str(folder / "in" / "*.npy")
    out = store_on_disk(tmp_path, "bucket/out/*.parquet")
    command = [sys.executable, "-c", SLOW, "score", inputs, "-m", "msp,gen", "-o", out]
    chance = random.Random(3)
    for number in range(4):
        more = ["--resume"] if number else []
        with subprocess.Popen([*command, *more], stderr=subprocess.PIPE) as process:
            for _ in range(6000):
                if parts_there(place) > number / 2 or process.poll() is not None:
                    break
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=600)
    assert 0 < parts_there(place) < 4
    assert (place / LOCK).exists()  # its holder is dead
    done = subprocess.run([*command, "--resume"], capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    expected = tmp_path / "expected"
    assert tool("score", inputs, "-m", "msp,gen", "-o", expected / "*.parquet").status == 0
    assert sorted(os.listdir(place)) == sorted(os.listdir(expected))
    for path in expected.glob("*.parquet"):
        assert digest(place / path.name) == digest(path)


@pytest.fixture
def on_disk(folder: Path, tmp_path: Path) -> Path:
    """A store on a disk, for workers, that holds the inputs."""
    (tmp_path / "b" / "in").mkdir(parents=True)
    for path in (folder / "in").iterdir():
        (tmp_path / "b" / "in" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_workers_read_and_write_a_store(folder: Path, on_disk: Path) -> None:
    inputs = store_on_disk(on_disk, "b/in/*.npy")
    one_file = store_on_disk(on_disk, "b/s.csv")
    done = tool("score", inputs, "-m", "msp,gen", "-o", one_file, "--dask", "local:2")
    assert done.status == 0, done.err
    assert digest(on_disk / "b" / "s.csv") == digest(folder / "alone.csv")
    assert sorted(os.listdir(on_disk / "b")) == ["in", "s.csv"]
    detector = on_disk / "d.safetensors"
    assert tool("fit", folder / "in" / "p0.npy", "-m", "energy", "-o", detector).status == 0
    for out in (store_on_disk(on_disk, "b/z/*.zarr"), on_disk / "here" / "*.zarr"):
        more = () if "::" in str(out) else ("--dask", "local:1")
        done = tool("score", inputs, "--detector", detector, "-o", out, *more)
        assert done.status == 0, done.err
    parts = [json.loads((on_disk / at / "manifest.json").read_text()) for at in ("b/z", "here")]
    assert parts[0]["parts"] == parts[1]["parts"]


def test_a_poison_part_in_a_store(
    folder: Path, on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, out = store_on_disk(on_disk, "b/in/*.npy"), store_on_disk(on_disk, "b/p/*.npy")
    with monkeypatch.context() as poison:
        poison.setattr("ood_toolkit.distributed.scoring.make_part", tasks.poisoned)
        done = tool("score", inputs, "-m", "msp", "-o", out, "--dask", "local:2")
    assert done.status == 4
    assert "p1.npy::file://" in done.err
    assert f"part {tasks.POISON}: rows 0 to 8191" in done.err
    there = sorted(n for n in os.listdir(on_disk / "b" / "p") if n.endswith(".npy"))
    assert there == [f"{n:08d}.npy" for n in range(5) if n != tasks.POISON]
    manifest = json.loads((on_disk / "b" / "p" / "manifest.json").read_text())
    assert manifest["finished"] is None
    done = tool("score", inputs, "-m", "msp", "-o", out, "--resume")
    assert done.status == 0, done.err
    assert len(list((on_disk / "b" / "p").glob("*.npy"))) == 5


def refused(memory: Any, data: bytes, *more: str, name: str = "x.npy") -> str:
    memory.pipe_file(f"/bucket/bad/{name}", data)
    done = tool("score", f"memory://bucket/bad/{name}", "-m", "msp", "-o", "-", *more)
    assert done.status == 3
    return done.error


def test_bytes_from_a_store_pass_the_same_gate(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([[{}]], dtype=object), allow_pickle=True)
    assert "memory://bucket/bad/x.npy: holds Python objects, which are never" in refused(
        memory, stream.getvalue()
    )
    assert "a Python pickle, which is never read" in refused(memory, pickle.dumps([1.0]))
    stream = io.BytesIO()
    np.save(stream, np.ones((1000, 3), np.float32))
    whole = stream.getvalue()
    assert "it is truncated" in refused(memory, whole[:-10])
    fetched: list[str] = []
    get = type(memory).get_file

    def watched(self: Any, path: str, file: str, **options: Any) -> None:
        fetched.append(path)
        get(self, path, file, **options)

    monkeypatch.setattr(type(memory), "get_file", watched)
    assert "has 11.8 KiB, more than --max-bytes" in refused(memory, whole, "--max-bytes", "999")
    monkeypatch.setattr("ood_toolkit.io.object_files._SPARE", 1 << 60)
    assert "is free in" in refused(memory, whole, name="y.npy")
    assert fetched == []


def test_names_that_lead_out_of_a_folder_are_not_fetched(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/bucket/x.zarr/zarr.json", b"{}")
    memory.pipe_file("/bucket/x.zarr/../../evil", b"1")
    with pytest.raises(DataError, match="leads out of the folder; it is not fetched"):
        Copies(str(tmp_path)).local("memory://bucket/x.zarr", None, None)
    assert not list(tmp_path.rglob("evil"))


def test_an_object_that_changes_is_refused(memory: Any, folder: Path, tmp_path: Path) -> None:
    url = "memory://bucket/x.npy"
    memory.pipe_file("/bucket/x.npy", b"1234")
    copies = Copies(str(tmp_path))
    path = copies.local(url, url_stamp(url), None)
    assert Path(path).read_bytes() == b"1234"
    assert copies.local(url, None, None) == path
    before = url_stamp(url)
    memory.pipe_file("/bucket/x.npy", b"12345")
    with pytest.raises(DataError, match="another object here than where the job was started"):
        copies.local(url, before, None)
    for number in range(4):
        memory.pipe_file(f"/bucket/{number}.npy", b"0")
        copies.local(f"memory://bucket/{number}.npy", None, None)
    kept = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(kept) == 2  # no more lie on the disk at a time


def test_patterns(memory: Any) -> None:
    for name in ("a/1.npy", "a/2.npy", "a/_note.txt", "b/1.npy", "b/1.csv"):
        memory.pipe_file(f"/bucket/{name}", b"0")
    found = url_files("memory://bucket/a/*")
    assert found == ["memory://bucket/a/1.npy", "memory://bucket/a/2.npy"]
    with pytest.raises(DataError, match="objects must be of one format"):
        url_files("memory://bucket/b/*")
    with pytest.raises(DataError, match="spans several folders"):
        url_files("memory://bucket/*/*.npy")
    for absent in ("memory://bucket/c/*.npy", "memory://bucket/c.npy"):
        with pytest.raises(DataError, match="no such object"):
            url_files(absent)


def test_zarr_and_parquet_inputs(memory: Any, bucket: str, folder: Path, tmp_path: Path) -> None:
    from ood_toolkit.io import load, save_outputs

    x = load(folder / "in" / "p2.npy")
    plain = tool("score", folder / "in" / "p2.npy", "-m", "energy").out
    for suffix in ("zarr", "parquet"):
        save_outputs(x, tmp_path / f"x.{suffix}")
        memory.put(str(tmp_path / f"x.{suffix}"), f"/bucket/x.{suffix}", recursive=True)
        done = tool("score", f"{bucket}/x.{suffix}", "-m", "energy")
        assert done.status == 0, done.err
        assert done.out == plain


def test_an_output_that_is_also_an_input(memory: Any, bucket: str) -> None:
    url = f"{bucket}/in/p0.npy"
    done = tool("score", url, "-m", "msp", "-o", url, "--format", "npz")
    assert done.status == 2
    assert "is also an input" in done.err


def test_a_copy_that_rows_are_read_from_stays(memory: Any, tmp_path: Path) -> None:
    """A worker of several threads reads several objects at once, and asks for others."""
    z = np.random.default_rng(0).normal(size=(40_000, 10))
    for number in range(5):
        content = io.BytesIO()
        np.save(content, z + number)
        memory.pipe_file(f"/bucket/{number}.npy", content.getvalue())
    little = Reading(memory=resident_bytes() + (60 << 20))
    streamed = load_url("memory://bucket/0.npy", little)
    assert as_streamed(streamed.logits) is not None
    for number in range(1, 5):
        load_url(f"memory://bucket/{number}.npy", Reading())
    np.testing.assert_array_equal(np.asarray(streamed.logits), z)


def test_threads_that_ask_for_many_objects_get_each(memory: Any, tmp_path: Path) -> None:
    for number in range(8):
        memory.pipe_file(f"/bucket/{number}.bin", bytes([number]) * 1000)
    copies = Copies(str(tmp_path))

    def look(number: int) -> bool:
        with copies.held(f"memory://bucket/{number}.bin", None, None) as (path, _):
            time.sleep(0.002)
            return Path(path).read_bytes() == bytes([number]) * 1000

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(look, [n % 8 for n in range(120)]))
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 2


def test_a_store_that_tells_no_objects_apart_is_asked_anew(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_files, "_TOKENS", ())
    copies, url = Copies(str(tmp_path)), "memory://bucket/x.bin"
    for content in (b"1234", b"5678"):
        memory.pipe_file("/bucket/x.bin", content)
        assert Path(copies.local(url, None, None)).read_bytes() == content
