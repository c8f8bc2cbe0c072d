"""The rows that a report shows: small pictures or texts, each once however many point at it."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ood_toolkit.chunks import checked_statistics
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.outputs import Array, Outputs

__all__ = ["data_uri", "png", "shrunk", "specimens"]

SIDE = 40
"""Pixels of a thumbnail's longer side, at most."""
LETTERS = 240
"""Of a text."""
BUDGET = 640 * 1024
"""Bytes of all pictures together; those that most methods point at come first."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB = 0, 2


def specimens(
    sets: Mapping[str, Outputs], extremes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What can be shown of each row that `extremes` lists.

    Parameters
    ----------
    sets : mapping of str to Outputs
        By key; "" is the in-distribution set.
    extremes : sequence of mappings
        With `set` and `rows`, pairs of row number and score.

    Returns
    -------
    list of dict
        `set`, `row`, and where they are known `label`, `prediction`, `text`, `image` (a data
        URI of a PNG); pictures beyond 640 KiB in all are left out, the least used first.

    Examples
    --------
    >>> import numpy as np
    >>> x = Outputs(logits=np.eye(2), text=np.array(["first", "second"]))
    >>> specimens({"": x}, [{"set": "", "rows": [[1, 0.5]]}])
    [{'set': '', 'row': 1, 'prediction': 1, 'text': 'second'}]
    """
    used = Counter((found["set"], row) for found in extremes for row, _ in found["rows"])
    order = {key: number for number, key in enumerate(sets)}
    wanted = sorted(used, key=lambda at: (-used[at], order[at[0]], at[1]))
    predicted = {
        key: _predictions(x, [r for k, r in wanted if k == key]) for key, x in sets.items()
    }
    left = BUDGET
    shown = []
    for key, row in wanted:
        x = sets[key]
        one: dict[str, Any] = {"set": key, "row": row}
        if x.labels is not None and not key and x.labels[row] >= 0:
            one["label"] = int(x.labels[row])
        if row in predicted[key]:
            one["prediction"] = predicted[key][row]
        if x.text is not None:
            text = str(x.text[row])
            one["text"] = text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
        if x.thumbnails is not None and left > 0:
            image = data_uri(png(shrunk(x.thumbnails[row])))
            left -= len(image)
            if left >= 0:
                one["image"] = image
        shown.append(one)
    return shown


def _predictions(x: Outputs, rows: list[int]) -> dict[int, int]:
    if x.logits is None or not rows:
        return {}
    found = checked_statistics(x.rows(np.array(rows)), (PREDICTION,))[PREDICTION]
    return {row: int(one) for row, one in zip(rows, found, strict=True)}


def shrunk(image: Array, side: int = SIDE) -> Array:
    """The picture with each square of pixels averaged, so that no side is longer than `side`.

    Parameters
    ----------
    image : (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array of uint8
        Grey or colour; a fourth channel is left out.
    side : int
        In pixels.

    Returns
    -------
    (h, w) or (h, w, 3) array of uint8

    Examples
    --------
    >>> import numpy as np
    >>> shrunk(np.array([[0, 10], [20, 30]], dtype=np.uint8), side=1)
    array([[15]], dtype=uint8)
    """
    picture = np.asarray(image)
    if picture.ndim == 3:
        picture = picture[..., 0] if picture.shape[2] < 3 else picture[..., :3]
    step = math.ceil(max(picture.shape[:2]) / side)
    if step <= 1:
        return picture
    edges = [np.arange(0, length, step) for length in picture.shape[:2]]
    sums = np.add.reduceat(np.add.reduceat(picture.astype(np.int64), edges[0]), edges[1], axis=1)
    sizes = [np.diff(np.append(e, n)) for e, n in zip(edges, picture.shape[:2], strict=True)]
    pixels = np.multiply.outer(*sizes)
    mean = sums / (pixels if picture.ndim == 2 else pixels[..., None])
    return np.rint(mean).astype(np.uint8)


def png(image: Array) -> bytes:
    r"""A grey or colour picture as a PNG file.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) array of uint8
        With at least one pixel.

    Returns
    -------
    bytes
        The file: 8 bits a channel, no filter, no interlace.

    References
    ----------
    W3C, "Portable Network Graphics (PNG) Specification".

    Examples
    --------
    >>> import numpy as np
    >>> png(np.zeros((1, 1), dtype=np.uint8))[:4]
    b'\x89PNG'
    """
    picture = np.ascontiguousarray(image, dtype=np.uint8)
    height, width = picture.shape[:2]
    kind = _GRAY if picture.ndim == 2 else _RGB
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    lines = np.pad(picture.reshape(height, -1), ((0, 0), (1, 0)))  # a filter byte before each
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def data_uri(png_file: bytes) -> str:
    """The bytes of a PNG file as an address that holds them.

    Parameters
    ----------
    png_file : bytes
        The file.

    Examples
    --------
    >>> data_uri(b"abc")
    'data:image/png;base64,YWJj'
    """
    return "data:image/png;base64," + base64.b64encode(png_file).decode("ascii")
