"""The libraries that the toolkit is timed against, each told to use two threads."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["MISSING", "THREADS", "installed", "library", "limit_threads", "versions"]

THREADS = 2

MISSING = "not installed"
"""Why a candidate is absent when its library is."""

PACKAGES = (
    "ood_toolkit",
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "scikit-learn",
    "torch",
    "jax",
    "pytorch-ood",
    "faiss-cpu",
    "mpmath",
)

# Read by libraries when they are loaded: OpenBLAS, OpenMP, XLA, and the toolkit itself.
_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NPROC",
    "OOD_TOOLKIT_THREADS",
)

# Threads that wait for more work by spinning take a processor from whoever is timed next.
_SLEEP_WHEN_IDLE = {
    "OMP_WAIT_POLICY": "passive",  # GNU's OpenMP, which torch, faiss and scikit-learn bring
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",  # Intel's and LLVM's
    "OPENBLAS_THREAD_TIMEOUT": "20",  # 2^20 ticks, 0.4 ms, instead of 2^26 or more
}


def limit_threads() -> None:
    """Two threads, which sleep when they are idle, for every library that is loaded after this."""
    os.environ |= dict.fromkeys(_VARIABLES, str(THREADS))
    os.environ |= _SLEEP_WHEN_IDLE
    os.environ["JAX_PLATFORMS"] = "cpu"


def installed(module: str) -> bool:
    """Whether a library can be loaded."""
    return importlib.util.find_spec(module) is not None


@cache
def library(module: str) -> Any:
    """A library, set to two threads; None where it is not installed."""
    if not installed(module):
        return None
    if module == "pytorch_ood":
        _declare_operators()
    loaded = importlib.import_module(module)
    if module == "torch":
        loaded.set_num_threads(THREADS)
    elif module == "faiss":
        loaded.omp_set_num_threads(THREADS)
    elif module == "pytorch_ood":
        importlib.import_module("pytorch_ood.detector")
    return loaded


def versions() -> dict[str, str]:
    """Version of each library that is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


_kept: list[Any] = []


def _declare_operators() -> None:
    """Let torchvision, which pytorch-ood loads, be loaded beside a CPU build of torch."""
    operators = library("torch").library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(operators)  # what was declared lasts as long as this
