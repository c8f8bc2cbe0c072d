"""Inputs from the words of a command line, prepared as a model takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.datasets.images import ImageRows
from ood_toolkit.datasets.kinds import open_images
from ood_toolkit.errors import BadParameter
from ood_toolkit.models.images import Preparation
from ood_toolkit.outputs import Array

__all__ = ["ImageSource", "open_inputs", "prepared"]

Read = Callable[[int, int], tuple[Array, "Array | None"]]


@dataclass(frozen=True)
class ImageSource:
    """Batches of inputs and labels, in the order in which they lie there.

    Attributes
    ----------
    rows : int
        How many there are.
    batch_size : int
        Rows of a batch.
    read : callable
        First row and the one after the last -> inputs as a model takes them, and labels.
    class_names : tuple of str
        Where the source names its classes.
    """

    rows: int
    batch_size: int
    read: Read
    class_names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.rows, self.batch_size):
            inputs, labels = self.read(start, min(self.rows, start + self.batch_size))
            yield inputs if labels is None else (inputs, labels)


def open_inputs(
    spec: str, preparation: Preparation, *, batch_size: int = 64, split: str = "test"
) -> ImageSource:
    """The inputs that `KIND:PATH` names.

    Parameters
    ----------
    spec : str
        As for `ood_toolkit.datasets.open_images`.
    preparation : Preparation
        What is done to images of bytes; other arrays of an `npz` file go as they are.
    batch_size : int
        Rows of a batch.
    split : "train" or "test"
        Which part, where a kind has both.

    Returns
    -------
    ImageSource
        An iterable of batches.

    Raises
    ------
    BadParameter
        If the kind is unknown.
    DataError
        If the place does not hold what it should.
    """
    if batch_size < 1:
        raise BadParameter(f"batch_size must be at least 1, got {batch_size}")
    return prepared(open_images(spec, split), preparation, batch_size)


def prepared(images: ImageRows, preparation: Preparation, batch_size: int = 64) -> ImageSource:
    """Batches of images as a model takes them.

    Parameters
    ----------
    images : ImageRows
        As `ood_toolkit.datasets.open_images` gives them.
    preparation : Preparation
        What is done to images of bytes.
    batch_size : int
        Rows of a batch.
    """

    def read(start: int, stop: int) -> tuple[Array, Array | None]:
        part, labels = images.read(start, stop)
        if isinstance(part, np.ndarray) and part.dtype != np.uint8:
            return part, labels
        return preparation.batch(part, images.names(start, stop)), labels

    return ImageSource(images.rows, batch_size, read, images.class_names)
