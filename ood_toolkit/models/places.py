"""Which sink a name asks for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ood_toolkit.io import load, save_outputs
from ood_toolkit.models.shards import ShardSink, shard_pattern
from ood_toolkit.models.sinks import MemorySink, Part, SafetensorsSink, Sink, ZarrSink
from ood_toolkit.outputs import Outputs

__all__ = ["make_sink"]


def make_sink(
    to: str | Path | None, shard_rows: int, made_of: Callable[[], dict[str, Any]]
) -> Sink:
    """Memory, one file that grows, shards in a folder, or a file written at the end."""
    if to is None:
        return MemorySink()
    name = os.fspath(to)
    shards = shard_pattern(name)
    if shards is not None:
        return ShardSink(name, *shards, shard_rows, made_of())
    if name.endswith(".safetensors"):
        return SafetensorsSink(name)
    return ZarrSink(name) if name.endswith(".zarr") else _WrittenAtTheEnd(name)


class _WrittenAtTheEnd(MemorySink):
    """For formats that cannot grow."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def finish(self, constants: Part) -> Outputs:
        """Write the file, and read it back."""
        save_outputs(super().finish(constants), self._path)
        return load(self._path)
