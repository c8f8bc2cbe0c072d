"""Write the seeds of the corpora: small valid files, from which the fuzzer starts.

``python -m tests.fuzz.seeds`` writes those that are missing; files are named by their content.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import matlab

import ood_toolkit as ood
from ood_toolkit.io import save_outputs, save_scores
from tests.fuzz.targets import TARGETS, ZARR_FILES, joined

CORPUS = Path(__file__).parent / "corpus"
Z = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
F = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
LABELS = np.array([0, 1, 2, -1])
SCORES = {"msp": np.linspace(0.4, 1, 4), "energy": np.linspace(-1, 5, 4)}


def records() -> Iterator[ood.Outputs]:
    """A bare matrix, one with labels, one with all that a classifier has."""
    yield ood.Outputs(logits=Z)
    yield ood.Outputs(logits=Z.astype(np.float16), labels=LABELS)
    head = ood.Head(weight=np.ones((3, 2), np.float32), bias=np.zeros(3, np.float32))
    yield ood.Outputs(logits=Z, features=F, labels=LABELS, head=head)


def seeds(name: str, folder: Path) -> Iterator[bytes]:
    """Valid files of one target."""
    target = TARGETS[name]
    path = folder / f"x{target.suffix}"
    if name.startswith("scores-"):
        save_scores(SCORES, path)
        yield path.read_bytes()
    elif name == "detector":
        train = ood.Outputs(logits=np.tile(Z, (3, 1)), labels=np.tile([0, 1, 2, 0], 3))
        for method in ("energy", "kl_matching"):
            ood.detector(method).fit(train).save(path)
            yield path.read_bytes()
    elif name == "calibrator":
        validation = ood.Outputs(logits=np.tile(Z, (3, 1)), labels=np.tile([0, 1, 1, 2], 3))
        ood.Temperature().fit(validation).save(path)
        yield path.read_bytes()
    elif name == "policy":
        scorer = ood.Energy().fit()
        ood.Policy(scorer, ood.Threshold.at_tpr(np.linspace(0, 1, 20))).save(path)
        yield path.read_bytes()
    elif name in ("pickled", "idx", "svhn", "clinc", "benchmark"):
        yield from _data_set_seeds(name, path)
    elif name == "tsv":
        yield b"0\t1\tlabel\n0.5\t-1e3\t0\n2\t.25\t1\n"
    elif name == "jsonl":
        yield b'{"logits": [0.5, 1.0], "label": 1}\n{"logits": [2, -1e3], "label": 0}\n'
    else:
        yield from _outputs_seeds(name, path)


def _data_set_seeds(name: str, path: Path) -> Iterator[bytes]:
    """A few rows in each of the formats that data sets come in."""
    images = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    if name == "pickled":
        batch = {b"data": images.reshape(2, -1), b"labels": [3, 1], b"batch_label": b"one"}
        for protocol in (0, 2, 4):
            yield pickle.dumps(batch, protocol)
    elif name == "idx":
        yield struct.pack(">HBB3I", 0, 8, 3, 2, 4, 4) + images.tobytes()
    elif name == "svhn":
        pixels = np.zeros((32, 32, 3, 1), np.uint8)
        matlab.savemat(path, {"X": pixels, "y": np.array([[10]], np.uint8)}, do_compression=True)
        yield path.read_bytes()
    elif name == "clinc":
        splits = ("train", "val", "test", "oos_train", "oos_val", "oos_test")
        rows = [["book a flight", "travel"], ["hello", "greeting"]]
        queries = {s: [["what", "oos"]] if s.startswith("oos") else rows for s in splits}
        yield json.dumps(queries).encode()
    else:
        yield b'id = "id_test.npz"\nid_test = "id_test.npz"\nfar = { noise = "noise.npz" }\n'
        yield b'near = ["cars"]\n[sets.cars]\nlicence = "CC0"\n'


def _outputs_seeds(name: str, path: Path) -> Iterator[bytes]:
    for number, record in enumerate(records()):
        if name in ("npy", "csv", "parquet") and number == 2:
            return  # these hold no head
        given = ood.Outputs(logits=record.logits) if name == "npy" else record
        here = path.with_stem(f"x{number}")
        save_outputs(given, here)
        if name == "zarr":
            parts = [(here / file) for file in ZARR_FILES]
            yield joined([part.read_bytes() for part in parts if part.exists()])
        else:
            yield here.read_bytes()


def main() -> None:
    """Write the seeds that are missing."""
    for name in TARGETS:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            for data in seeds(name, Path(scratch)):
                (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    main()
