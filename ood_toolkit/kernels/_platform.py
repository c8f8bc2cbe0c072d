"""What the processor and the compiler at hand can do."""

from __future__ import annotations

import platform
from functools import lru_cache

import llvmlite.binding as llvm
from numba.core import config

__all__ = ["compiles_vectors", "compresses", "converts_half"]

_OLDEST_LLVM = 20  # has an operation that moves selected lanes together
_ARM = ("aarch64", "arm64")
_PROCESSORS = ("x86_64", "amd64", *_ARM)


@lru_cache(maxsize=1)
def compiles_vectors() -> bool:
    """Whether kernels of explicit vectors can be compiled; not where numba is switched off."""
    return (
        not config.DISABLE_JIT
        and llvm.llvm_version_info[0] >= _OLDEST_LLVM
        and platform.machine().lower() in _PROCESSORS
    )


@lru_cache(maxsize=1)
def converts_half() -> bool:
    """Whether the processor itself widens float16."""
    return bool(_features().get("f16c", platform.machine().lower() in _ARM))


@lru_cache(maxsize=1)
def compresses() -> bool:
    """Whether the processor moves selected lanes together."""
    return bool(_features().get("avx512f"))


def _features() -> dict[str, bool]:
    """Of the processor that kernels are compiled for; none are known of one that is named."""
    named = config.CPU_NAME is not None or config.CPU_FEATURES is not None
    return {} if named else dict(llvm.get_host_cpu_features())
