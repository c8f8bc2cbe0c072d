"""A model run over the images of a benchmark: one file of outputs a set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ood_toolkit.datasets.images import ImageRows
from ood_toolkit.datasets.kinds import KINDS, open_images
from ood_toolkit.datasets.records import ROLES, BenchmarkRecord
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.models.images import Preparation
from ood_toolkit.models.sources import prepared

__all__ = ["benchmark_images", "extract_benchmark"]

SUFFIX = ".safetensors"


def benchmark_images(record: BenchmarkRecord, root: str) -> dict[str, ImageRows]:
    """The images of each role and set of a benchmark, opened below a folder.

    Parameters
    ----------
    record : BenchmarkRecord
        As `ood_toolkit.datasets.benchmark_record` gives it.
    root : str
        The folder of data.

    Raises
    ------
    InputError
        If the record names no images.
    DataError
        If images are missing; the message says how to come by them.
    """
    if "id_test" not in record.images:
        raise InputError(
            f"{record.name} names no images; give the outputs of your classifier (--outputs DIR)"
        )
    found = {}
    for name in (*ROLES, *record.groups):
        spec = record.images.get(name)
        if spec is None:
            continue
        split = "train" if name == "train" else "test"
        try:
            found[name] = open_images(_below(root, spec), split)
        except DataError as fault:
            raise DataError(fault.path, fault.key, fault.reason + _how(record, name)) from None
    return found


def _below(root: str, spec: str) -> str:
    """A `KIND:PATH` of a record with its paths below the folder of data."""
    kind, _, path = spec.partition(":")
    if kind not in KINDS or kind == "noise":
        return spec
    return f"{kind}:{'@'.join(os.path.join(root, part) for part in path.split('@'))}"


def _how(record: BenchmarkRecord, name: str) -> str:
    """How images that are missing are to be had."""
    known = record.sets.get(record.id if name in ROLES else name)
    if known and any(file.url for file in known.files) and not record.get:
        return "; --download fetches what can be fetched"
    words = (known.get if known else "") or record.get
    words = words or (f"see {known.homepage}" if known and known.homepage else "")
    return f"; to get it: {words}" if words else ""


def extract_benchmark(
    images: Mapping[str, ImageRows],
    run: Callable[..., Any],
    folder: str,
    preparation: Preparation | None = None,
    *,
    batch_size: int = 64,
    progress: Callable[[str, int], Any] = lambda name, rows: True,
) -> Mapping[str, str]:
    """Run a model over every set of a benchmark and write what it says.

    Parameters
    ----------
    images : mapping of str to ImageRows
        As `benchmark_images` gives them.
    run : callable
        The `outputs` of a wrapped model or of an ONNX file.
    folder : str
        Where the files are put, named as `load_benchmark` looks for them.
    preparation : Preparation, optional
        What is done to images of bytes.
    batch_size : int
        Rows of a batch.
    progress : callable
        A set's name and rows -> what `run` takes as its `progress`.

    Returns
    -------
    mapping of str to str
        Role or set -> file.

    Raises
    ------
    DataError
        If an image cannot be read.
    """
    os.makedirs(folder, exist_ok=True)
    written = {}
    for name, rows in images.items():
        path = os.path.join(folder, name + SUFFIX)
        source = prepared(rows, preparation or Preparation(), batch_size)
        run(source, to=path, progress=progress(name, rows.rows))
        written[name] = path
    return written
