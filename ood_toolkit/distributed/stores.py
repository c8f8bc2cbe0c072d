"""Inputs in a store, looked at by the workers: nothing of them comes to the driver."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ood_toolkit.distributed.tasks import Look, State, look_at
from ood_toolkit.io import load_head
from ood_toolkit.io.object_files import url_files
from ood_toolkit.io.reading import Reading, load_url
from ood_toolkit.scoring import Input

__all__ = ["url_inputs"]


def url_inputs(
    client: Any,
    url: str,
    reading: Reading,
    head: str | None = None,
    doubt: Callable[[str, str], None] = lambda name, text: None,
) -> list[Input]:
    """The objects that a URL or a pattern stands for, one input of a `ScoreJob` each.

    Together they are one input: rows count on from one object to the next.

    Parameters
    ----------
    client : distributed.Client
        As `connected` gives it; each object is fetched by the worker that looks at it.
    url : str
        Such as ``s3://bucket/parts/*.npy``.
    reading : Reading
        How they are read.
    head : str, optional
        A file whose last layer serves objects without one.
    doubt : callable, optional
        Called with an object and what is odd about it.

    Raises
    ------
    DataError
        If an object is missing or is none of an outputs file.
    """
    urls = url_files(url)
    state = State.of(head) if head else None
    other = load_head(head) if head else None
    futures = [client.submit(look_at, name, reading, state, pure=False) for name in urls]
    found: list[Input] = []
    first = 0
    for name, future in zip(urls, futures, strict=True):
        seen: Look = future.result()
        for text in seen.doubts:
            doubt(name, text)
        again = partial(load_url, name, reading, labels="lenient", otherwise=other)
        found.append(Input(url, again, seen.rows, seen.row_bytes, seen.has, first, name))
        first += seen.rows
    return found
