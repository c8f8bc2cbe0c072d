"""What `KIND:PATH` may begin with, and the reader of each kind."""

from __future__ import annotations

import os
from collections.abc import Callable

from ood_toolkit.datasets.cifar import cifar10, cifar100
from ood_toolkit.datasets.folders import class_folders, image_list, loose_images
from ood_toolkit.datasets.idx import idx_images
from ood_toolkit.datasets.images import ImageRows
from ood_toolkit.datasets.matlab import svhn
from ood_toolkit.datasets.noise import noise_images
from ood_toolkit.datasets.stored_arrays import array_file, saved_images
from ood_toolkit.errors import BadParameter, DataError

__all__ = ["KINDS", "open_images"]

KINDS: dict[str, Callable[[str, str], ImageRows]] = {
    "imagefolder": class_folders,
    "images": loose_images,
    "imglist": image_list,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
    "idx": idx_images,
    "npz": array_file,
    "hf": saved_images,
    "noise": noise_images,
}
"""Kind -> what opens it."""

_NO_FILE = ("noise",)


def open_images(spec: str, split: str = "test") -> ImageRows:
    """The images that `KIND:PATH` names.

    Parameters
    ----------
    spec : str
        `imagefolder:DIR` (a folder a class), `images:DIR` (no classes), `imglist:LIST@DIR`
        (OpenOOD's lists of path and class), `cifar10:DIR`, `cifar100:DIR` (binary or Python
        version), `svhn:FILE`, `idx:DIR` (MNIST's files), `npz:FILE` (any file of arrays),
        `hf:DIR` (saved by Hugging Face's library), or `noise:uniform,32x32x3,10000`.
    split : "train" or "test"
        Which part, where a kind has both.

    Returns
    -------
    ImageRows
        Rows in the order on disk.

    Raises
    ------
    BadParameter
        If the kind is unknown.
    DataError
        If the place does not hold what it should.

    Examples
    --------
    >>> open_images("noise:uniform,8x8x1,5").rows
    5
    """
    kind, colon, path = spec.partition(":")
    if not colon or kind not in KINDS:
        raise BadParameter(f"{spec}: expected {', '.join(f'{k}:PATH' for k in KINDS)}")
    place = path.rpartition("@")[0] if kind == "imglist" and "@" in path else path
    if kind not in _NO_FILE and not os.path.exists(place):
        raise DataError(place, "", "there is no such file or folder")
    rows = KINDS[kind](path, split)
    if rows.rows == 0:
        raise DataError(path, "", "holds no inputs")
    return rows
