"""Fetching from a server on this machine: whole, broken off and resumed, wrong, out of reach."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ood_toolkit.datasets.fetch import fetch_benchmark, fetch_file, missing_files
from ood_toolkit.datasets.record_file import read_record
from ood_toolkit.datasets.records import FileRecord
from ood_toolkit.errors import DataError, InputError, MissingDependency

pytest.importorskip("pooch")

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; breaks off after `cut` bytes, and may know no ranges."""

    files: dict[str, bytes]
    cut: int | None = None
    ranges = True
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.server.cut is None else body[: self.server.cut])
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server(("127.0.0.1", 0), Handler)
    made.files, made.asked = {"/x.bin": CONTENT}, []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def address(server: Server, path: str = "/x.bin") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def record(server: Server, checksum: str = MD5) -> FileRecord:
    return FileRecord("inner/x.bin", address(server), checksum, "us" if checksum else "")


def left(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("checksum", [MD5, "", "sha256:" + hashlib.sha256(CONTENT).hexdigest()])
def test_a_file_comes_once(server: Server, tmp_path: Path, checksum: str) -> None:
    seen: list[int] = []
    file = record(server, checksum)
    place = fetch_file(file, tmp_path, lambda name, count: seen.append(count))
    assert place.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert fetch_file(file, tmp_path) == place
    assert server.asked == [None]
    assert left(tmp_path) == ["inner/x.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_breaks_off_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.cut, server.ranges = 100_000, ranges
    with pytest.raises(InputError) as caught:
        fetch_file(record(server), tmp_path)
    text = str(caught.value)
    assert "run again to go on, or fetch " + address(server) in text
    assert f"put it at {tmp_path / 'inner' / 'x.bin'}" in text
    assert "\n" not in text
    assert caught.value.exit_status == 3
    assert left(tmp_path) == ["inner/x.bin.part"]
    part = tmp_path / "inner" / "x.bin.part"
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    assert part.stat().st_size > 0
    done, server.cut = part.stat().st_size, None
    assert fetch_file(record(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={done}-"]
    assert left(tmp_path) == ["inner/x.bin"]


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x.bin.part").write_bytes(CONTENT)
    assert fetch_file(record(server), tmp_path).read_bytes() == CONTENT


def test_another_file_than_the_published_one(server: Server, tmp_path: Path) -> None:
    wrong = "md5:" + "0" * 32
    with pytest.raises(DataError, match=r"is not the published file, whose md5 is 0{32} \(says us"):
        fetch_file(record(server, wrong), tmp_path)
    assert left(tmp_path) == [], "neither the file nor a part that could be taken for it"


def test_the_rest_of_another_file(server: Server, tmp_path: Path) -> None:
    """A part of an older version gives a wrong whole; the next run begins anew."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x.bin.part").write_bytes(b"z" * 1000)
    with pytest.raises(DataError, match="is not the published file"):
        fetch_file(record(server), tmp_path)
    assert fetch_file(record(server), tmp_path).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_compared(server: Server, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    place = tmp_path / "inner" / "x.bin"
    place.write_bytes(CONTENT)
    assert fetch_file(record(server), tmp_path) == place
    place.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(DataError, match="it is not the published file"):
        fetch_file(record(server), tmp_path)
    assert server.asked == []


def test_out_of_reach(server: Server, tmp_path: Path) -> None:
    server.files = {}
    with pytest.raises(InputError, match=r"inner/x\.bin: cannot be fetched \(404 .* put it at"):
        fetch_file(record(server), tmp_path)
    # a port that was free a moment ago: nobody listens
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = closed.server_port
    closed.server_close()
    file = FileRecord("x.bin", f"http://127.0.0.1:{port}/x.bin")
    with pytest.raises(InputError) as caught:
        fetch_file(file, tmp_path)
    assert f"fetch http://127.0.0.1:{port}/x.bin by other means" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_pooch(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingDependency, match=r"pip install 'ood_toolkit\[datasets\]'"):
        fetch_file(record(server), tmp_path)


# Whole benchmarks


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def written(server: Server, tmp_path: Path, unpack: str = "data/a") -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(f"""
near = ["a", "b", "c"]
[images]
id_test = "images:id"
a = "images:data/a"
b = "images:b"
c = "noise:uniform,4x4x1,3"
[sets.a]
files = [{{ file = "a.tar.gz", url = "{address(server, "/a.tar.gz")}", unpack = "{unpack}" }},
         {{ file = "x.bin", url = "{address(server)}", md5 = "{MD5[4:]}", checksum_from = "us" }}]
""")
    return path


def test_a_benchmark_is_fetched_and_unpacked(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = archive(**{"data/a/1.txt": b"one", "data/a/2.txt": b"two"})
    found = read_record(written(server, tmp_path))
    root = tmp_path / "root"
    assert [file.file for file in missing_files(found, root)] == ["a.tar.gz", "x.bin"]
    assert fetch_benchmark(found, root) == ("b",), "no file is known for b, c is made here"
    assert left(root) == ["a.tar.gz", "data/a/1.txt", "data/a/2.txt", "x.bin"]
    assert missing_files(found, root) == ()
    assert len(server.asked) == 2
    fetch_benchmark(found, root)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "cannot be read"),
        (archive(**{"other/1.txt": b"one"}), "unpacks to no data/a"),
        (archive(**{"../../outside.txt": b"x", "data/a/1.txt": b"x"}), "outside"),
        (archive(**{"data/a/zeros": bytes(100 << 20)}), "claim to be 100.0 MiB"),
    ],
    ids=["no-archive", "another", "leading-out", "bomb"],
)
def test_an_archive_that_is_hostile_or_another(
    server: Server, tmp_path: Path, content: bytes, message: str
) -> None:
    server.files["/a.tar.gz"] = content
    found = read_record(written(server, tmp_path))
    root = tmp_path / "deep" / "root"
    with pytest.raises(DataError, match=message):
        fetch_benchmark(found, root)
    assert left(tmp_path) == ["deep/root/a.tar.gz", "mine.toml"]


def test_a_longer_file_that_was_begun_is_not_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT + b"of another file")
    file = FileRecord("x.bin", url=address(server))
    with pytest.raises(InputError, match=f"{len(CONTENT) + 15} bytes were there of {len(CONTENT)}"):
        fetch_file(file, tmp_path)
    assert fetch_file(file, tmp_path).read_bytes() == CONTENT
