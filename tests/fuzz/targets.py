"""What is fuzzed: one target a kind of file, from its bytes to the call a user would make."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_toolkit.errors import DataError

__all__ = ["TARGETS", "Target", "joined", "pieces"]

MAX_BYTES = 64 << 20
"""What one array may take while fuzzing; far below the limit of the process."""


@dataclass(frozen=True)
class Target:
    """A kind of file and what reads it.

    Parameters
    ----------
    name : str
        Also the folder of its corpus.
    suffix : str
        Of the file that is written.
    read : callable
        Takes the path; may raise DataError and nothing else.
    write : callable
        Puts the bytes where `read` finds them.
    """

    name: str
    suffix: str
    read: Callable[[Path], object]
    write: Callable[[Path, bytes], object] = Path.write_bytes

    def attempt(self, data: bytes, folder: Path) -> bool:
        """Whether the bytes load; anything but a one-line DataError goes through."""
        path = folder / f"x{self.suffix}"
        self.write(path, data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.read(path)
        except DataError as reason:
            if "\n" in str(reason) or not str(reason).startswith(str(folder)):
                raise AssertionError(f"not one line that names the file: {reason!s}") from reason
            return False
        return True


def pieces(data: bytes) -> list[bytes]:
    """Bytes cut at 4-byte lengths; damaged lengths give shorter pieces, never an error."""
    found, at = [], 0
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def joined(parts: list[bytes]) -> bytes:
    """The inverse of `pieces`."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


ZARR_FILES = ("zarr.json", "logits/zarr.json", "logits/c/0/0", "labels/zarr.json", "labels/c/0")
"""The files of a small store, in the order of the pieces."""


def _write_zarr(path: Path, data: bytes) -> None:
    found = pieces(data)
    for number, name in enumerate(ZARR_FILES):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < len(found):
            file.write_bytes(found[number])
        else:
            file.unlink(missing_ok=True)


def _outputs(path: Path) -> object:
    from ood_toolkit.io import describe, load

    describe(path)
    return load(path, max_bytes=MAX_BYTES)


def _scores(path: Path) -> object:
    from ood_toolkit.io import load_scores

    return load_scores(path)


def _detector(path: Path) -> object:
    from ood_toolkit.detectors.persistence import load_scorer

    return load_scorer(path)


def _calibrator(path: Path) -> object:
    from ood_toolkit.calibration.persistence import load_calibrator

    return load_calibrator(path)


def _policy(path: Path) -> object:
    from ood_toolkit.decision import load_policy

    return load_policy(path)


def _pickled(path: Path) -> object:
    from ood_toolkit.datasets.pickled import read_pickled

    return read_pickled(str(path))


def _idx(path: Path) -> object:
    from ood_toolkit.datasets.idx import read_idx

    return read_idx(str(path), MAX_BYTES)


def _svhn(path: Path) -> object:
    from ood_toolkit.datasets.matlab import svhn

    return svhn(str(path), "test")


def _clinc(path: Path) -> object:
    from ood_toolkit.datasets import read_clinc

    return read_clinc(str(path))


def _benchmark(path: Path) -> object:
    from ood_toolkit.datasets.record_file import read_record

    return read_record(path)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("npy", ".npy", _outputs),
        Target("npz", ".npz", _outputs),
        Target("safetensors", ".safetensors", _outputs),
        Target("torch", ".pt", _outputs),
        Target("parquet", ".parquet", _outputs),
        Target("hdf5", ".h5", _outputs),
        Target("zarr", ".zarr", _outputs, _write_zarr),
        Target("csv", ".csv", _outputs),
        Target("tsv", ".tsv", _outputs),
        Target("jsonl", ".jsonl", _outputs),
        Target("scores-csv", ".csv", _scores),
        Target("scores-npz", ".npz", _scores),
        Target("scores-parquet", ".parquet", _scores),
        Target("detector", ".safetensors", _detector),
        Target("calibrator", ".safetensors", _calibrator),
        Target("policy", ".safetensors", _policy),
        Target("pickled", ".pkl", _pickled),
        Target("idx", ".idx", _idx),
        Target("svhn", ".mat", _svhn),
        Target("clinc", ".json", _clinc),
        Target("benchmark", ".toml", _benchmark),
    )
}
"""Name -> target."""


def target_named(name: str) -> Target:
    """The target of that name, for the command line."""
    found: Any = TARGETS.get(name)
    if found is None:
        raise SystemExit(f"no target {name!r}; there are {', '.join(TARGETS)}")
    return found
