"""`load_benchmark`: one door to shipped, known and own benchmarks."""

from __future__ import annotations

import os
from pathlib import Path

from ood_toolkit.datasets.registry import benchmark_record, known_benchmarks
from ood_toolkit.datasets.saved import load_outputs
from ood_toolkit.datasets.shipped import Benchmark, load_shipped
from ood_toolkit.errors import InputError

__all__ = ["load_benchmark"]


def load_benchmark(
    name: str, root: str | Path | None = None, *, outputs: str | Path | None = None
) -> Benchmark:
    """Load a benchmark: one that ships with the toolkit, or any other from saved outputs.

    Parameters
    ----------
    name : str
        ``"fashion"`` (a CNN on Fashion-MNIST) and ``"digits"`` (a small MLP, for quick tries)
        ship; ``"cifar10"`` and others are known by name; or a ``.toml`` file, or a folder of
        outputs.
    root : str or Path, optional
        A folder of benchmarks with a ``manifest.json`` to read instead of the installed one.
    outputs : str or Path, optional
        The folder of outputs of a benchmark that does not ship: ``id_test``, ``train``,
        ``id_val``, ``head`` and one file a set, each in any format.  A ``.toml`` file's
        outputs lie beside it, a folder's in it, where this is not given.

    Returns
    -------
    Benchmark
        In those that ship, logits are float32 (N, C), features float16 (N, D); the head is
        attached to every set of rows, thumbnails (N, H, W) of uint8 to the test and OOD sets.

    Raises
    ------
    UnknownName
        If there is no such benchmark; the message suggests the nearest name.
    DataError
        If a file is missing or is not the one that the manifest describes.
    InputError
        If outputs are needed and not given, or the shipped benchmarks are not installed.

    Examples
    --------
    >>> digits = load_benchmark("digits")
    >>> digits.id.classes, sorted(digits.groups)
    (8, ['clothing', 'held_out_classes', 'photographs'])
    """
    known = known_benchmarks().get(name)
    a_place = name.endswith(".toml") or os.path.isdir(name)
    if outputs is None and root is not None and (known.shipped if known else not a_place):
        return load_shipped(name, root)
    record = benchmark_record(name)
    if outputs is not None:
        return load_outputs(record, os.fspath(outputs))
    if record.shipped:
        return load_shipped(name, root)
    if name.endswith(".toml"):
        return load_outputs(record, os.path.dirname(name) or ".")
    if record.path == name or os.path.isdir(name):
        return load_outputs(record, name)
    raise InputError(
        f"{name} does not ship: give the outputs of your classifier (--outputs DIR, outputs=), or "
        "its images and a model (--data-root DIR --model SPEC)"
    )
