"""The images the benchmarks are made of, as uint8 arrays of shape (N, H, W)."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "fashion_mnist",
    "handwritten_digits",
    "noise",
    "photograph_crops",
    "shrink",
    "stretch",
]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

IDX_UBYTE = 8
GREY = np.array([0.299, 0.587, 0.114])
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
SCALES = (1, 2, 4)


def _read_idx(path: Path) -> Array:
    """One gzipped IDX file of unsigned bytes: two zeros, type, rank, the sizes, the bytes."""
    if not path.is_file():
        raise SystemExit(
            f"{path}: no such file; install Debian's dataset-fashion-mnist, or name the folder "
            "that holds the four IDX files with --fashion-mnist"
        )
    content = gzip.decompress(path.read_bytes())
    kind, rank = content[2], content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if content[:2] != b"\0\0" or kind != IDX_UBYTE or values.size != np.prod(shape):
        raise SystemExit(f"{path}: not an IDX file of unsigned bytes")
    return values.reshape(shape)


def fashion_mnist(folder: Path, part: str) -> tuple[Images, Labels]:
    """Images (N, 28, 28) and classes 0 ... 9 of Fashion-MNIST; `part` is "train" or "t10k"."""
    images = _read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    return images, labels.astype(np.int64)


def handwritten_digits() -> tuple[Images, Labels]:
    """scikit-learn's digits (1797, 8, 8), their 17 grey levels spread over 0 ... 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def photograph_crops(rows: int, size: int, seed: int) -> tuple[Images, Array]:
    """Grey crops of scikit-learn's two photographs (needs Pillow to decode them).

    Each photograph at full, half and quarter size gives the same number of crops, at
    distinct random places (neighbouring crops may overlap).

    Returns
    -------
    crops : (rows, size, size) array of uint8
    places : (rows, 4) array of int16
        Photograph, scale, top and left edge of each crop in the scaled photograph.
    """
    from sklearn.datasets import load_sample_image

    if find_spec("PIL") is None:
        raise SystemExit("the photographs are JPEG files, which Pillow decodes: pip install pillow")
    rng = np.random.default_rng(seed)
    combinations = [(p, s) for p in range(len(PHOTOGRAPHS)) for s in SCALES]
    crops, places = [], []
    for (p, scale), share in zip(
        combinations, np.array_split(np.arange(rows), len(combinations)), strict=True
    ):
        grey = shrink((load_sample_image(PHOTOGRAPHS[p]) @ GREY)[None], scale)[0]
        height, width = grey.shape[0] - size + 1, grey.shape[1] - size + 1
        for place in rng.choice(height * width, len(share), replace=False):
            top, left = divmod(int(place), width)
            crops.append(grey[top : top + size, left : left + size])
            places.append((p, scale, top, left))
    return np.stack(crops), np.array(places, np.int16)


def noise(rows: int, size: int, seed: int) -> Images:
    """Synthetic: the first half uniform bytes, the rest normal (127.5, 64) clipped to bytes."""
    rng = np.random.default_rng(seed)
    uniform = rng.integers(0, 256, (rows // 2, size, size))
    normal = np.rint(rng.normal(127.5, 64.0, (rows - rows // 2, size, size)))
    return np.concatenate([uniform, np.clip(normal, 0, 255)]).astype(np.uint8)


def shrink(images: Array, factor: int) -> Images:
    """Means over factor x factor boxes; what does not fill a box is cut off at both ends."""
    rows, height, width = images.shape
    top, left = height % factor // 2, width % factor // 2
    high, wide = height // factor, width // factor
    cut = images[:, top : top + high * factor, left : left + wide * factor]
    boxes = cut.reshape(rows, high, factor, wide, factor).astype(np.float64)
    shrunk: Images = np.rint(boxes.mean(axis=(2, 4))).astype(np.uint8)
    return shrunk


def stretch(images: Images, size: int) -> Images:
    """Square images brought to `size` x `size` by linear interpolation between pixel centres."""
    old = images.shape[1]
    centres = (np.arange(size) + 0.5) * old / size - 0.5
    weights = np.stack([np.interp(centres, np.arange(old), unit) for unit in np.eye(old)], axis=1)
    wide = np.einsum("ip,npq,jq->nij", weights, images.astype(np.float64), weights)
    stretched: Images = np.rint(wide).astype(np.uint8)
    return stretched
