"""Methods that look at maps inside the network: RankFeat and Gram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ood_toolkit as ood
from benchmarks.model_pairs import FITTED, SCORED, Pair, batches, labelled, scores_of, stages

__all__ = ["gram", "rank_feat"]

POWERS = (1, 2, 3, 4, 5)


def rank_feat(peer: Any) -> Iterator[Pair]:
    """The largest singular component of one layer's maps taken out."""
    import torch

    from benchmarks.shipped_network import fashion_network
    from ood_toolkit.models import RemoveFirstRank, changed_outputs, wrap

    network, parts = fashion_network(), batches()
    clf, change = wrap(network), {"7": RemoveFirstRank()}
    body, rest = (torch.nn.Sequential(*part) for part in (list(network)[:8], list(network)[8:]))
    detector = peer.RankFeat(body, rest)
    yield Pair(
        "RankFeat",
        SCORED,
        lambda: ood.score(changed_outputs(clf, parts, change, progress=False), "energy")["energy"],
        lambda: scores_of(detector, parts),
    )


def gram(peer: Any) -> Iterator[Pair]:
    """Ranges of Gram matrices, of every training row, in units of the same held-out rows."""
    import torch

    from benchmarks.shipped_network import LAYERS, fashion_network, images
    from ood_toolkit.models import Gram, wrap

    network, loader, parts = fashion_network(), labelled(), batches()
    clf, layers = wrap(network), stages(network)
    head = torch.nn.Sequential(*list(network)[12:]).eval()
    held = images("id_test", slice(6000, 6100)).split(100)

    def fitted() -> Gram:
        return Gram.fit(clf, loader, held, layers=LAYERS, powers=POWERS, classes="labels",
                        confidence=False)  # fmt: skip

    expected = torch.from_numpy(fitted().expected).float()

    def theirs() -> Any:
        other = peer.Gram(head, layers, 8, POWERS)
        other.validation_fraction = 0.0  # every row makes the ranges, as in ours
        other.fit(loader)
        other.layer_norm = expected
        return scores_of(other, parts)

    yield Pair(
        "Gram, fit and score",
        f"Fashion CNN, {FITTED}",
        lambda: fitted().score(clf, parts),
        theirs,
    )
