"""One method of both libraries, and the data that all of them are run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "FITTED",
    "SCORED",
    "Pair",
    "Scores",
    "batches",
    "encoder",
    "labelled",
    "scores_of",
    "stages",
]

Scores = Callable[[], Any]

SCORED = "Fashion CNN, 1,000 images"
"""What `batches` are, in words."""
FITTED = "2,000 images fitted, 1,000 scored"
"""What `labelled` and `batches` are, in words."""


@dataclass(frozen=True)
class Pair:
    """One method of both libraries; scores of theirs are larger for outliers.

    Attributes
    ----------
    method, what : str
        Its name, and what it is run on.
    ours, theirs : callables
        Fit and score, as far as there is a fit.
    reason : callable, optional
        Their scores -> why ranks differ, from a count of what the reason claims.
    waits : bool
        Whether the network takes nearly all of both: the ratio is shown and not judged.
    """

    method: str
    what: str
    ours: Scores
    theirs: Scores
    reason: Callable[[Any], str] | None = None
    waits: bool = False


def batches() -> tuple[Tensor, ...]:
    """1,000 images in batches of 100."""
    from benchmarks.shipped_network import images

    return images("id_test", slice(0, 1000)).split(100)


def labelled() -> list[tuple[Tensor, Tensor]]:
    """2,000 other images with their classes, in batches of 100."""
    from benchmarks.shipped_network import images, labels

    rows = slice(4000, 6000)
    parts = images("id_test", rows).split(100), labels(rows).split(100)
    return list(zip(*parts, strict=True))


def encoder(network: nn.Sequential) -> nn.Module:
    """The shipped network without its head, as the peer takes it."""
    import torch

    return torch.nn.Sequential(*list(network)[:-1]).eval()


def stages(network: nn.Sequential) -> list[nn.Module]:
    """Its three stages that give maps, as the peer takes them."""
    import torch

    parts = list(network)[:4], list(network)[4:8], list(network)[8:12]
    return [torch.nn.Sequential(*part).eval() for part in parts]


def scores_of(detector: Any, parts: Sequence[Tensor]) -> Any:
    """What a detector of the peer says of batches."""
    import torch

    return torch.cat([detector.predict(batch) for batch in parts])
