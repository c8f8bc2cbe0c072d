"""Images to the arrays a model takes: sized, scaled and normalised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.errors import BadParameter, InputError, MissingDependency
from ood_toolkit.outputs import Array

__all__ = ["Preparation"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to an image of bytes before a model sees it.

    Parameters
    ----------
    size : int, optional
        The shorter side is scaled to it, and the middle cut out.
    channels : 1 or 3, optional
        Grey or colour; by default as the image is.
    mean, std : sequences of float
        Subtracted from, and divided into, values in [0, 1]; one for each channel, or one.
    """

    size: int | None = None
    channels: int | None = None
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise BadParameter(f"channels must be 1 or 3, got {self.channels}")
        if self.size is not None and self.size < 1:
            raise BadParameter(f"size must be at least 1, got {self.size}")
        if any(not value > 0 for value in self.std):
            raise BadParameter(f"std must be positive, got {list(self.std)}")

    def batch(self, images: Iterable[Array], names: Sequence[str]) -> Array:
        """(N, C, H, W) float32 of images (H, W) or (H, W, C) of bytes.

        Raises
        ------
        InputError
            If the images have several sizes.
        """
        shaped = [self._shaped(image) for image in images]
        for image, name in zip(shaped, names, strict=True):
            if image.shape != shaped[0].shape:
                raise InputError(
                    f"{name}: is {_size(image)}, but {names[0]} is {_size(shaped[0])}; give --size "
                    "(and --channels) to make them equal"
                )
        whole = np.stack(shaped).astype(np.float32) / np.float32(255)
        channels = whole.shape[3]
        for what, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise BadParameter(f"{what} has {len(values)} values for {channels} channels")
        whole -= np.asarray(self.mean, np.float32)
        whole /= np.asarray(self.std, np.float32)
        return np.ascontiguousarray(whole.transpose(0, 3, 1, 2))

    def _shaped(self, image: Array) -> Array:
        """(H, W, C) bytes of the wanted size and channels."""
        if image.ndim == 2:
            image = image[:, :, None]
        if self.channels == 3 and image.shape[2] == 1:
            image = np.repeat(image, 3, axis=2)
        if self.size is not None and image.shape[:2] != (self.size, self.size):
            image = _resized(image, self.size)
        if self.channels == 1 and image.shape[2] == 3:
            weights = np.array([0.299, 0.587, 0.114])
            image = np.rint(image @ weights)[:, :, None].astype(np.uint8)
        return image


def _size(image: Array) -> str:
    height, width, channels = image.shape
    return f"{height} x {width} with {channels} channel{'s' * (channels > 1)}"


def _pillow(purpose: str) -> Any:
    try:
        from PIL import Image
    except ImportError as reason:
        raise MissingDependency("Pillow", "torch", purpose) from reason
    return Image


def _resized(image: Array, size: int) -> Array:
    """The shorter side scaled to `size`, the middle `size` x `size` kept."""
    pillow = _pillow("scaling images")
    height, width, channels = image.shape
    scale = size / min(height, width)
    new = max(size, round(width * scale)), max(size, round(height * scale))
    picture = pillow.fromarray(image[:, :, 0] if channels == 1 else image)
    left, top = (new[0] - size) // 2, (new[1] - size) // 2
    scaled = picture.resize(new, pillow.Resampling.BILINEAR)
    cut: Array = np.asarray(scaled.crop((left, top, left + size, top + size)))
    return cut[:, :, None] if cut.ndim == 2 else cut
