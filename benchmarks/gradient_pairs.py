"""Methods that differentiate through the model: ODIN, moved inputs, GradNorm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import ood_toolkit as ood
from benchmarks.model_pairs import SCORED, Pair, Scores, batches, encoder, scores_of

__all__ = ["gradients", "moved_inputs"]


def few_values(scores: Any) -> str:
    """The peer's softmax in float32 leaves few different values."""
    values = scores.numpy()
    return f"float32 leaves the peer {len(np.unique(values))} values for {len(values)} rows"


def moved_inputs(peer: Any) -> Iterator[Pair]:
    """ODIN and the Mahalanobis score of moved inputs."""
    import torch

    from benchmarks.shipped_network import fashion_network, images, labels, residual_network
    from ood_toolkit.models import wrap

    torch.manual_seed(0)
    network, deep = fashion_network(), residual_network()
    clf, wide, parts = wrap(network), wrap(deep), batches()
    colour = torch.randn(200, 3, 32, 32).split(100)
    for temperature, reason in ((10.0, None), (1000.0, few_values)):
        yield _odin(peer, clf, parts, temperature, SCORED, reason)
    yield _odin(peer, wide, colour, 10.0, "ResNet-20, 200 images of 32 × 32", None)

    rows = slice(4000, 8000)
    train = clf.outputs([(images("id_test", rows), labels(rows))])
    scorer = ood.Mahalanobis().fit(train)
    fitted = peer.MahalanobisODIN(encoder(network), eps=0.002).fit_features(
        torch.from_numpy(train.features), torch.from_numpy(train.labels)
    )
    yield Pair(
        "Mahalanobis, inputs moved",
        SCORED,
        lambda: scorer.score(clf.perturbed(parts, scorer, epsilon=0.002, progress=False)),
        lambda: scores_of(fitted, parts),
    )


def _odin(peer: Any, clf: Any, parts: Any, temperature: float, what: str, reason: Any) -> Pair:
    scorer = ood.ODINTemperature(temperature=temperature).fit()
    theirs = peer.ODIN(clf.model, eps=0.004, temperature=temperature)
    return Pair(
        f"ODIN, T = {temperature:,.0f}",
        what,
        lambda: scorer.score(clf.perturbed(parts, scorer, epsilon=0.004, progress=False)),
        lambda: scores_of(theirs, parts),
        reason,
    )


def gradients(peer: Any) -> Iterator[Pair]:
    """GradNorm of the head and of a convolution."""
    from benchmarks.shipped_network import fashion_network
    from ood_toolkit.models import wrap

    network, parts = fashion_network(), batches()
    clf = wrap(network)
    head = f"{clf.head_name}.weight"

    def theirs(name: str) -> Scores:
        detector = peer.GradNorm(network, param_filter=lambda other: other == name)
        return lambda: scores_of(detector, parts)

    yield Pair(
        "GradNorm of the head, from outputs",
        SCORED,
        lambda: ood.score(clf.outputs(parts, progress=False), "gradnorm")["gradnorm"],
        theirs(head),
    )
    for name, told in ((head, "the head"), ("8.weight", "a convolution")):
        yield Pair(
            f"GradNorm of {told}, by autograd",
            SCORED,
            lambda name=name: clf.gradient_norms(parts, name),  # type: ignore[misc]
            theirs(name),
        )
