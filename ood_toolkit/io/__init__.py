"""Files to arrays and back: every byte from a file passes the checks of this package."""

from __future__ import annotations

from ood_toolkit.io.atomic import atomic_write
from ood_toolkit.io.files import file_digest, file_stamp, refuse_same_file
from ood_toolkit.io.gate import default_memory
from ood_toolkit.io.heads import load_head
from ood_toolkit.io.load import load
from ood_toolkit.io.safetensors_file import safetensors_metadata
from ood_toolkit.io.save import save_outputs
from ood_toolkit.io.scores import load_scores, save_scores, score_format
from ood_toolkit.io.source import (
    ArrayDescription,
    FileDescription,
    Source,
    describe,
    open_source,
)

__all__ = [
    "ArrayDescription",
    "FileDescription",
    "Source",
    "atomic_write",
    "default_memory",
    "describe",
    "file_digest",
    "file_stamp",
    "load",
    "load_head",
    "load_scores",
    "open_source",
    "refuse_same_file",
    "safetensors_metadata",
    "save_outputs",
    "save_scores",
    "score_format",
]
