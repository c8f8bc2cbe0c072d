"""Benchmarks as data: records, readers of images, saved outputs, and files of other toolkits."""

from __future__ import annotations

from ood_toolkit.datasets.benchmarks import load_benchmark
from ood_toolkit.datasets.clinc import Queries, read_clinc
from ood_toolkit.datasets.fd_shifts import read_fd_shifts, write_fd_shifts
from ood_toolkit.datasets.images import ImageRows
from ood_toolkit.datasets.kinds import open_images
from ood_toolkit.datasets.openood import (
    ScoreFile,
    ScoreFolder,
    read_openood_scores,
    write_openood_scores,
)
from ood_toolkit.datasets.records import BenchmarkRecord, FileRecord, SetRecord
from ood_toolkit.datasets.registry import benchmark_record, known_benchmarks
from ood_toolkit.datasets.shipped import Benchmark, benchmark_names

__all__ = [
    "Benchmark",
    "BenchmarkRecord",
    "FileRecord",
    "ImageRows",
    "Queries",
    "ScoreFile",
    "ScoreFolder",
    "SetRecord",
    "benchmark_names",
    "benchmark_record",
    "known_benchmarks",
    "load_benchmark",
    "open_images",
    "read_clinc",
    "read_fd_shifts",
    "read_openood_scores",
    "write_fd_shifts",
    "write_openood_scores",
]
