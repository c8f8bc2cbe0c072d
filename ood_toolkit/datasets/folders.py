"""Folders of image files: one a class, all in one, or listed in a text file."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ood_toolkit.datasets.images import ImageRows, as_labels, decoded
from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import readable_file, refusing
from ood_toolkit.outputs import Array

__all__ = ["IMAGE_SUFFIXES", "class_folders", "image_list", "loose_images"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""What an image file may end in, in small letters."""


def class_folders(path: str, split: str) -> ImageRows:
    """`DIR/CLASS/IMAGE`: the classes in the order of their names.

    Raises
    ------
    DataError
        If no folder of a class is there.
    """
    root = Path(path)
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(path, "", "has no folder of a class; expected DIR/CLASS/IMAGE")
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        found = _images_below(root / name)
        files += found
        labels += [number] * len(found)
    return _rows(files, labels, tuple(classes))


def loose_images(path: str, split: str) -> ImageRows:
    """Every image in a folder and the folders below it, without labels."""
    return _rows(_images_below(Path(path)), None, ())


def image_list(path: str, split: str) -> ImageRows:
    """`LIST@DIR`: a line an image, its place below DIR and its class, as OpenOOD's lists are.

    Without `@DIR` places are below the folder of the list.

    Raises
    ------
    DataError
        If a line has another form, or leads out of the folder.
    """
    name, at, folder = path.rpartition("@")
    if not at:
        name, folder = path, os.path.dirname(path)
    readable_file(name)
    if not os.path.isdir(folder or "."):
        raise DataError(folder, "", "there is no such folder; it should hold the listed images")
    files: list[Path] = []
    labels: list[int] = []
    with refusing(name), open(name, encoding="utf-8") as lines:
        for row, line in enumerate(lines):
            if not line.strip():
                continue
            place, label = _listed(name, row, line)
            files.append(Path(folder, place))
            labels.append(label)
    return _rows(files, labels, ())


def _listed(name: str, row: int, line: str) -> tuple[PurePosixPath, int]:
    """Place and class of one line."""
    words = line.rstrip().rsplit(maxsplit=1)
    if len(words) != 2 or not words[1].lstrip("-").isdecimal():
        raise DataError(name, f"line {row + 1}", f"expected PATH LABEL, got {line.strip()[:80]!r}")
    place = PurePosixPath(words[0])
    if place.is_absolute() or ".." in place.parts:
        raise DataError(name, f"line {row + 1}", f"{words[0]} leads out of the folder of images")
    return place, int(words[1])


def _images_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)


def _rows(files: list[Path], labels: list[int] | None, classes: tuple[str, ...]) -> ImageRows:
    def read(start: int, stop: int) -> tuple[list[Array], Array | None]:
        images = []
        for file in files[start:stop]:
            readable_file(str(file))
            images.append(decoded(file.read_bytes(), str(file)))
        return images, None if labels is None else as_labels(labels[start:stop])

    return ImageRows(len(files), read, lambda a, b: [str(f) for f in files[a:b]], classes)
