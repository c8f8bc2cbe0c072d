"""RankFeat: what the network says without the largest singular component of its maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.maps import changed_outputs
from ood_toolkit.models.progress import Progress
from ood_toolkit.outputs import Outputs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RemoveFirstRank", "rankfeat_outputs"]


@dataclass(frozen=True)
class RemoveFirstRank:
    """Each row's maps, as a matrix (D, H W), less its largest singular component.

    References
    ----------
    Song, Sebe & Wang, "RankFeat: Rank-1 Feature Removal for Out-of-distribution Detection",
    NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> maps = torch.tensor([[3.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    >>> RemoveFirstRank()(maps).view(2, 2)
    tensor([[0., 0.],
            [0., 1.]])
    """

    def __call__(self, maps: Tensor) -> Tensor:
        """What is left of the maps.

        Raises
        ------
        InputError
            If they have no places: the layer lies after the pooling.
        """
        import torch

        if maps.dim() < 3:
            raise InputError(
                f"RankFeat needs maps (N, D, H, W), got shape {tuple(maps.shape)}; name a layer "
                "before pooling"
            )
        matrix = maps.flatten(2)
        wide = matrix.double()
        # the leading eigenvector of the smaller product: a singular vector of the matrix
        if wide.shape[1] <= wide.shape[2]:
            vector = torch.linalg.eigh(wide @ wide.mT).eigenvectors[:, :, -1:]
            first = vector @ (vector.mT @ wide)
        else:
            vector = torch.linalg.eigh(wide.mT @ wide).eigenvectors[:, :, -1:]
            first = (wide @ vector) @ vector.mT
        return (matrix - first.to(matrix.dtype)).view_as(maps)


def rankfeat_outputs(
    clf: WrappedClassifier, loader: Any, layers: Sequence[str], *, progress: Progress = None
) -> Outputs:
    """The mean of the logits that follow when one of the layers loses its first rank.

    Parameters
    ----------
    clf : WrappedClassifier
        Left as it was found.
    loader : iterable of batches that can be read again, or a tensor
        What to run; once for each layer.
    layers : sequence of str
        Each is changed in a run of its own; the last two stages in the paper.
    progress : bool or callable, optional
        As in `WrappedClassifier.outputs`.

    Returns
    -------
    Outputs
        Logits and labels; `energy` of them is RankFeat's score.

    Raises
    ------
    BadParameter
        If no layer is named.
    InputError
        If a layer's output has no places, or the loader gives other rows when read again.
    """
    if not layers:
        raise BadParameter("rankfeat_outputs needs the name of a layer")
    runs = [
        changed_outputs(
            clf, loader, {name: RemoveFirstRank()}, keep=["logits", "labels"], progress=progress
        )
        for name in layers
    ]
    if len({len(run) for run in runs}) > 1:
        raise InputError("the loader gave other rows when it was read again; pass one that repeats")
    logits = np.zeros(())
    for run in runs:
        assert run.logits is not None
        logits = logits + run.logits.astype(np.float64) / len(runs)
    return Outputs(logits=logits, labels=runs[0].labels)
