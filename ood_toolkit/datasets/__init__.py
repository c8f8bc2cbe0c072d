"""Named sets of outputs to try detectors on."""

from __future__ import annotations

from ood_toolkit.datasets.shipped import Benchmark, benchmark_names, load_benchmark

__all__ = ["Benchmark", "benchmark_names", "load_benchmark"]
