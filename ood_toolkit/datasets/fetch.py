"""Fetching a benchmark's files: resumed where broken off, compared with what is published."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from ood_toolkit.datasets.records import BenchmarkRecord, FileRecord
from ood_toolkit.errors import DataError, InputError, MissingDependency
from ood_toolkit.io.gate import Limits, check_expansion, one_line, refusing

__all__ = ["fetch_benchmark", "fetch_file", "missing_files"]

_BLOCK = 1 << 16
_TIMEOUT = 30
_PARTIAL = 206
_NO_RANGE = 416

Progress = Callable[[str, int], None]
"""Called with a file and the bytes of it that are there."""


def missing_files(record: BenchmarkRecord, root: str | Path) -> tuple[FileRecord, ...]:
    """Files of a benchmark that can be fetched and lie neither packed nor unpacked in a folder.

    Parameters
    ----------
    record : BenchmarkRecord
        As `benchmark_record` gives it.
    root : str or Path
        The folder of data.

    Returns
    -------
    tuple of FileRecord
        Each once, in the order of the sets.
    """
    files = dict.fromkeys(f for found in record.sets.values() for f in found.files if f.url)
    return tuple(f for f in files if not Path(root, f.unpack or f.file).exists())


def fetch_benchmark(
    record: BenchmarkRecord, root: str | Path, progress: Progress = lambda file, count: None
) -> tuple[str, ...]:
    """Fetch and unpack what a benchmark needs and can be fetched.

    Parameters
    ----------
    record : BenchmarkRecord
        As `benchmark_record` gives it.
    root : str or Path
        Where the files are put; made if need be.
    progress : callable
        Called as bytes come.

    Returns
    -------
    tuple of str
        Names of the sets that nothing is known to be fetched for.

    Raises
    ------
    InputError
        If an address cannot be reached; the message says what to put where by hand.
    DataError
        If a file is not the published one.
    """
    for file in missing_files(record, root):
        fetch_file(file, root, progress)
        if file.unpack:
            _unpack(Path(root, file.file), Path(root, file.unpack))
    wanted = [name for name in record.images if name in record.sets]
    made = [n for n in wanted if record.images[n].startswith("noise:")]
    return tuple(n for n in wanted if not record.sets[n].files and n not in made)


def fetch_file(
    file: FileRecord, root: str | Path, progress: Progress = lambda file, count: None
) -> Path:
    """One file, from its address or as it lies there; its checksum is compared either way.

    What comes is kept in `FILE.part` until it is whole: a transfer that breaks off goes on
    where it stopped, if the server can do that.

    Parameters
    ----------
    file : FileRecord
        With an address.
    root : str or Path
        The folder that `file.file` lies below.
    progress : callable
        Called as bytes come.

    Returns
    -------
    Path
        Where the file lies.

    Raises
    ------
    InputError
        If the address cannot be reached, or the transfer breaks off.
    DataError
        If the file is not the published one; what came is removed.
    MissingDependency
        If pooch is not installed.
    """
    target = Path(root, file.file)
    if not target.exists():
        try:
            import pooch
        except ImportError as reason:
            raise MissingDependency("pooch", "datasets", f"fetching {file.url}") from reason
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        downloader = _Resuming(part, file, target, progress)
        pooch.get_logger().setLevel("WARNING")
        try:
            pooch.retrieve(
                file.url,
                known_hash=file.checksum or None,
                fname=target.name,
                path=target.parent,
                downloader=downloader,
            )
        except InputError:
            raise
        except ValueError:  # pooch says so of another checksum, and removes what came
            raise _another(target, file, f"what came from {file.url}") from None
        return target
    if file.checksum and _checksum(target, file.checksum) != file.checksum:
        raise _another(target, file, "it")
    return target


def _another(target: Path, file: FileRecord, what: str) -> DataError:
    return DataError(
        str(target),
        "",
        f"{what} is not the published file, whose {file.checksum.partition(':')[0]} is "
        f"{file.checksum.partition(':')[2]} (says {file.checksum_from or 'its publisher'}); "
        "remove it and fetch it again",
    )


class _Resuming:
    """A pooch downloader that goes on with a `.part` file."""

    def __init__(self, part: Path, file: FileRecord, target: Path, progress: Progress) -> None:
        self.part, self.file, self.target, self.progress = part, file, target, progress

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        import requests

        try:
            self._transfer(requests, url)
        except requests.RequestException as reason:
            raise InputError(self._by_hand(url, one_line(reason))) from None
        os.replace(self.part, output_file)

    def _transfer(self, requests: Any, url: str) -> None:
        done = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        # bytes as they lie on the server: a count of unpacked ones could not be resumed
        headers["Accept-Encoding"] = "identity"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if done and answer.status_code == _NO_RANGE:
                whole = _whole_size(answer.headers, True)
                if whole in (None, done):
                    return  # all of it is there
                os.remove(self.part)  # of another file, which was longer
                raise InputError(self._by_hand(url, f"{done} bytes were there of {whole}"))
            answer.raise_for_status()
            resumed = answer.status_code == _PARTIAL and _starts_at(answer.headers, done)
            done = done if resumed else 0
            with open(self.part, "ab" if resumed else "wb") as out:
                for block in answer.iter_content(_BLOCK):
                    out.write(block)
                    done += len(block)
                    self.progress(self.file.file, done)
            expected = _whole_size(answer.headers, resumed)
        if expected is not None and done != expected:
            raise InputError(self._by_hand(url, f"{done} of {expected} bytes came"))

    def _by_hand(self, url: str, why: str) -> str:
        return (
            f"{self.file.file}: cannot be fetched ({why}); run again to go on, or fetch {url} by "
            f"other means and put it at {self.target}"
        )


def _starts_at(headers: Any, done: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {done}-")


def _whole_size(headers: Any, resumed: bool) -> int | None:
    """Bytes of the whole file, where the server says so."""
    text = headers.get("Content-Range", "").rpartition("/")[2] if resumed else ""
    text = text or ("" if resumed else headers.get("Content-Length", ""))
    return int(text) if text.isdecimal() else None


def _blocks(source: IO[bytes]) -> Iterable[bytes]:
    while block := source.read(_BLOCK):
        yield block


def _checksum(path: Path, form: str) -> str:
    kind = form.partition(":")[0]
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as source:
        for block in _blocks(source):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def _unpack(archive: Path, wanted: Path) -> None:
    """Unpack beside the archive, all at once or not at all.

    No member leaves the folder, and none is a device or a link that leads out.

    Raises
    ------
    DataError
        If the archive is damaged or hostile, or does not hold what it should.
    """
    folder, packed = archive.parent, archive.stat().st_size
    with (
        refusing(str(archive)),
        tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as place,
        tarfile.open(archive) as members,
    ):
        declared = sum(member.size for member in members)
        check_expansion(str(archive), "", (declared,), declared, packed, Limits())
        members.extractall(place, filter="data")
        inside = os.path.relpath(wanted, folder)
        if not Path(place, inside).exists():
            raise DataError(str(archive), "", f"unpacks to no {inside}")
        for entry in Path(place).iterdir():
            os.replace(entry, folder / entry.name)
