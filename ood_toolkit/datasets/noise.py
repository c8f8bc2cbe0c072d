"""Synthetic images that belong to no class: a check on scores, not a benchmark."""

from __future__ import annotations

import re

import numpy as np

from ood_toolkit.datasets.images import ImageRows, numbered
from ood_toolkit.errors import BadParameter
from ood_toolkit.outputs import Array

__all__ = ["noise_images"]

_FORM = re.compile(r"(uniform|gaussian),(\d+)x(\d+)x([13]),(\d+)")
_SEED = 0
_BLOCK = 256


def noise_images(path: str, split: str) -> ImageRows:
    """`uniform,32x32x3,10000`: rows of noise of one shape, the same at every reading.

    Uniform values, or normal ones about 0.5 with deviation 1 clipped to [0, 1], as in Liang et
    al., ICLR 2018, rounded to bytes.

    Raises
    ------
    BadParameter
        If the words have another form.
    """
    found = _FORM.fullmatch(path)
    if found is None:
        raise BadParameter(f"noise:{path}: expected noise:uniform,32x32x3,10000 or gaussian,...")
    kind, rows = found[1], int(found[5])
    shape = tuple(int(found[n]) for n in (2, 3, 4))

    def block(number: int) -> Array:
        rng = np.random.default_rng([_SEED, number])
        size = (_BLOCK, *shape)
        values = rng.random(size) if kind == "uniform" else 0.5 + rng.standard_normal(size)
        return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)

    def read(start: int, stop: int) -> tuple[Array, None]:
        # in blocks of their own seeds, so that an image does not depend on the batch
        first, last = start // _BLOCK, -(-stop // _BLOCK)
        whole = np.concatenate([block(number) for number in range(first, last)])
        return whole[start - first * _BLOCK : stop - first * _BLOCK], None

    return ImageRows(rows, read, numbered(f"{kind} noise"))
