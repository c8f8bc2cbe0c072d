"""Models that workers build by name, and tasks of theirs that misbehave."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ood_toolkit.distributed import extraction
from ood_toolkit.errors import DataError
from ood_toolkit.io.parts import Part, Receipt
from ood_toolkit.models.extraction import Extraction

POISON = 1


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.fc = nn.Linear(12 * 16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        out: torch.Tensor = self.fc(y.flatten(1))
        return out


def network() -> nn.Module:
    """The same weights in every process."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Small()


def by_chance() -> nn.Module:
    """Other weights in every process."""
    torch.manual_seed(os.getpid())
    return Small()


def shard_killed_once(
    key: str, wanted: Extraction, facts: Mapping[str, Any], part: Part, *rest: Any
) -> Receipt | DataError:
    """Kills its worker at one shard, the first time."""
    mark = Path(wanted.data.partition(":")[2]).parent / "killed"
    if part.number == POISON and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return extraction.make_shard(key, wanted, facts, part, *rest)


def shard_poisoned(
    key: str, wanted: Extraction, facts: Mapping[str, Any], part: Part, *rest: Any
) -> Receipt | DataError:
    """Kills its worker at one shard, every time."""
    if part.number == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return extraction.make_shard(key, wanted, facts, part, *rest)


def threads_of(*arguments: Any) -> tuple[int, ...]:
    """Threads of torch, numba, the row kernels and BLAS where a worker makes shards."""
    import numba
    from threadpoolctl import threadpool_info

    from ood_toolkit.kernels.threads import thread_count

    extraction.make_shard(*arguments)
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return torch.get_num_threads(), numba.get_num_threads(), thread_count(), max(blas)
