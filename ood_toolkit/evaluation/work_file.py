"""Work as bytes: what processes of an evaluation send to each other, and the file they share.

Nothing but what the toolkit's own processes have just written is ever read here.
"""

from __future__ import annotations

import io
import mmap
import pickle
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ood_toolkit.evaluation.method_work import MethodWork
from ood_toolkit.evaluation.sets import FittedOn
from ood_toolkit.outputs import Outputs

__all__ = ["as_bytes", "read_work", "write_work"]

_ALIGNMENT = 64


class _Sender(pickle.Pickler):
    """Pickles also the read-only mappings of records."""

    def reducer_override(self, value: Any) -> Any:
        """How a value is made again."""
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _read_only(values: dict[str, Any]) -> MappingProxyType[str, Any]:
    return MappingProxyType(values)


def as_bytes(value: Any, buffers: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """A value as bytes; given `buffers`, that gets the arrays, which the bytes then lack."""
    text = io.BytesIO()
    _Sender(text, 5, buffer_callback=buffers).dump(value)
    return text.getvalue()


def write_work(work: MethodWork, path: str) -> None:
    """The records, each array at a multiple of 64 bytes; nothing that is only shown."""
    reported = replace(
        work.reported,
        id_test=_bare(work.reported.id_test),
        ood={key: _bare(x) for key, x in work.reported.ood.items()},
        shifted={key: _bare(x) for key, x in work.reported.shifted.items()},
    )
    given = work.fitted_on
    train, validation = (None if x is None else _bare(x) for x in (given.train, given.validation))
    buffers: list[pickle.PickleBuffer] = []
    bare = replace(work, reported=reported, fitted_on=FittedOn(train, validation, given.outliers))
    text = as_bytes(bare, buffers.append)
    with open(path, "wb") as file:
        places = []
        for buffer in buffers:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            raw = buffer.raw()
            places.append((file.tell(), raw.nbytes))
            file.write(raw)
        end = file.tell()
        file.write(as_bytes((text, places)))
        file.write(end.to_bytes(8, "little"))


def _bare(x: Outputs) -> Outputs:
    return replace(x, thumbnails=None, text=None)


def read_work(path: str) -> MethodWork:
    """What `write_work` was given; arrays are parts of the mapped file, copied if changed."""
    with open(path, "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    end = int.from_bytes(whole[-8:], "little")
    text, places = pickle.loads(whole[end:-8])  # noqa: S301, what the process that began us wrote
    parts = [whole[start : start + size] for start, size in places]
    work: MethodWork = pickle.loads(text, buffers=parts)  # noqa: S301
    return work
