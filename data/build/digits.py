"""Build the `digits` benchmark: a small network trained on the handwritten digits 0 to 7.

`python -m data.build.digits --out DIR` retrains it and writes DIR/digits and
DIR/manifest.json; `--check` retrains it and compares the figures with the shipped ones.

Needs torch and scikit-learn; the far-OOD images are taken from the shipped `fashion`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.build.command import carry_out, parser
from data.build.plan import Plan, Split
from data.build.sources import handwritten_digits, shrink
from data.build.training import Recipe
from data.build.writing import SHIPPED

__all__ = ["main", "plan"]

Array = npt.NDArray[Any]

KNOWN = 8
"""The classes 0 ... 7 are trained on; 8 and 9 are held out."""

WHY = (
    "8 and 9 are strokes like the eight trained digits (an 8 resembles 3 and 6, a 9 resembles "
    "4 and 7): near-OOD.  The last two, so that class and digit coincide."
)
TRAIN_SHARE = 0.5
VALIDATION_ROWS = 240
FAR_ROWS = 500
BORDER = 2
FACTOR = 3
SEED = 0
SPLIT_SEED = 30
FAR_SEED = 31

LAYERS = (
    ("flatten",),
    ("linear", 64, 64),
    ("relu",),
    ("linear", 64, 32),
    ("relu",),
    ("linear", 32, KNOWN),
)
RECIPE = Recipe(epochs=40, batch=32, peak_rate=0.1, weight_decay=1e-3, threads=1)

ORIGIN = "scikit-learn's handwritten digits (UCI optdigits), 8x8, 17 grey levels"
CC_BY_4 = "CC BY 4.0, E. Alpaydin and C. Kaynak"


def _known_splits(images: Array, labels: Array) -> tuple[Split, ...]:
    """Train from the first half of the source, the rest mixed and cut into id_val and id.

    The source lists its 13 writers one after the other: train and the rest have hardly a
    writer in common, while id_val and id are exchangeable.
    """
    rows = np.flatnonzero(labels < KNOWN)
    count = int(len(rows) * TRAIN_SHARE)
    rest = np.random.default_rng(SPLIT_SEED).permutation(rows[count:])
    chosen = {
        "train": rows[:count],
        "id_val": np.sort(rest[:VALIDATION_ROWS]),
        "id": np.sort(rest[VALIDATION_ROWS:]),
    }
    return tuple(
        Split(
            file="id_test" if role == "id" else role,
            role=role,
            name="digits" if role == "id" else role,
            images=images[part],
            labels=labels[part],
            origin=ORIGIN,
            licence=CC_BY_4,
            thumbnails=role == "id",
            extra={"index": part.astype(np.int32)},
        )
        for role, part in chosen.items()
    )


def _held_out(images: Array, labels: Array) -> Split:
    rows = np.flatnonzero(labels >= KNOWN)
    return Split(
        file="held_out_classes",
        role="ood",
        name="held_out_classes",
        group="near",
        images=images[rows],
        origin=ORIGIN,
        licence=CC_BY_4,
        extra={"index": rows.astype(np.int32), "source_class": labels[rows].astype(np.int8)},
    )


def _far(file: str, name: str, origin: str, licence: str) -> Split:
    """Images of the fashion benchmark, their border cut off, shrunk to 8x8."""
    with np.load(SHIPPED / "fashion" / f"{file}.npz", allow_pickle=False) as arrays:
        images = arrays["thumbnails"]
    rng = np.random.default_rng(FAR_SEED)
    rows = np.sort(rng.choice(len(images), FAR_ROWS, replace=False))
    inner = images[rows, BORDER:-BORDER, BORDER:-BORDER]
    return Split(
        file=name,
        role="ood",
        name=name,
        group="far",
        images=shrink(inner, FACTOR),
        origin=origin,
        licence=licence,
        extra={"index": rows.astype(np.int32)},
    )


def plan() -> Plan:
    """The benchmark before training."""
    images, labels = handwritten_digits()
    known = _known_splits(images, labels)
    train = known[0]
    assert train.labels is not None
    return Plan(
        name="digits",
        title="Handwritten digits 0 to 7, a small fully connected network",
        description="A network of two hidden layers trained on the digits 0 to 7 of "
        "scikit-learn's handwritten digits; tiny, for quick tries and tests.  Near-OOD: the "
        "digits 8 and 9.  Far-OOD: clothing and crops of photographs, shrunk to 8x8.",
        licence="CC BY 4.0 (digits), CC BY 2.0 (photographs), MIT (clothing); see NOTICE",
        class_names=tuple(str(c) for c in range(KNOWN)),
        held_out={"classes": ["8", "9"], "why": WHY},
        layers=LAYERS,
        recipe=RECIPE,
        seed=SEED,
        training_images=train.images,
        training_labels=train.labels,
        splits=(
            *known,
            _held_out(images, labels),
            _far(
                "id_test",
                "clothing",
                "test images of the fashion benchmark, shrunk to 8x8; index is their row there",
                "MIT (Expat), Copyright (c) 2017 Zalando SE",
            ),
            _far(
                "photographs",
                "photographs",
                "photographs of the fashion benchmark, shrunk to 8x8; index is their row there",
                "CC BY 2.0, see NOTICE",
            ),
        ),
        sources=({"file": "sklearn.datasets.load_digits", "from": "scikit-learn"},),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return carry_out(plan(), parser("Build the digits benchmark.").parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
