"""One case of the test data as one record of rows to score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ood_toolkit as ood
from benchmarks.peer_methods import Case

__all__ = ["Folder", "read"]


@dataclass(frozen=True)
class Folder:
    """The rows of one case, and the set each belongs to.

    Attributes
    ----------
    case : Case
        Training rows, test rows of all sets, rows held out.
    names : list of str
        Sets of outliers.
    origin : (N,) array of int
        Of each test row: 0 in-distribution, k + 1 of the k-th set.
    """

    case: Case
    names: list[str]
    origin: np.ndarray


def read(root: Path) -> Folder:
    """All test rows of a folder as one record."""
    head = str(root / "head.npz")
    paths = sorted(root.glob("ood_*.npz"))
    inside = ood.load(root / "id_test.npz", head=head)
    sets = [inside, *(ood.load(path, head=head, labels=False) for path in paths)]
    held_out, train = root / "id_val.npz", ood.load(root / "train.npz", head=head)
    x = ood.Outputs(
        logits=np.concatenate([s.logits for s in sets]),
        features=np.concatenate([s.features for s in sets]),
        head=inside.head,
    )
    return Folder(
        Case(train, x, ood.load(held_out, head=head) if held_out.exists() else train),
        [path.stem.removeprefix("ood_") for path in paths],
        np.repeat(np.arange(len(sets)), [len(s) for s in sets]),
    )
