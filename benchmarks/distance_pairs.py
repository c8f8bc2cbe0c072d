"""Mahalanobis, fitted and scored: from features, through a model, and on three layers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import ood_toolkit as ood
from benchmarks.model_pairs import FITTED, Pair, batches, encoder, labelled, scores_of, stages

__all__ = ["from_features", "through_a_model"]


def from_features(peer: Any) -> Iterator[Pair]:
    """Many classes, as CIFAR-100 and ImageNet have; no network is run."""
    import torch

    for rows, dims, classes, scored in (
        (50_000, 512, 100, 20_000), (20_000, 512, 1_000, 2_500)
    ):  # fmt: skip
        rng = np.random.default_rng(0)
        y = np.arange(rows) % classes
        f = rng.standard_normal((rows, dims), dtype=np.float32)
        f += 2 * rng.standard_normal((classes, dims), dtype=np.float32)[y]
        x = rng.standard_normal((scored, dims), dtype=np.float32)
        train, test = ood.Outputs(features=f, labels=y), ood.Outputs(features=x)
        given = tuple(map(torch.from_numpy, (f, y, x)))
        yield Pair(
            "Mahalanobis, fit and score",
            f"{rows:,} × {dims} features, {classes:,} classes, {scored:,} scored",
            lambda train=train, test=test: ood.Mahalanobis().fit(train).score(test),  # type: ignore[misc]
            lambda g=given: (  # type: ignore[misc]
                peer.Mahalanobis(None).fit_features(*g[:2]).predict_features(g[2])
            ),
        )


def through_a_model(peer: Any) -> Iterator[Pair]:
    """Eight classes, the network's passes included; of the features, and of three layers."""
    from benchmarks.shipped_network import LAYERS, fashion_network
    from ood_toolkit.models import fit_layers, wrap
    from ood_toolkit.models.layer_ensemble import layer_record

    loader, parts, network = labelled(), batches(), fashion_network()
    clf, several = wrap(network), wrap(network, layers=LAYERS)
    features, layers = encoder(network), stages(network)

    def ours(**how: bool) -> Any:
        scorer = ood.Mahalanobis().fit(clf.outputs(loader, progress=False, **how))
        return scorer.score(clf.outputs(parts, progress=False, **how))

    def theirs() -> Any:
        return scores_of(peer.Mahalanobis(features).fit(loader), parts)

    what = f"Fashion CNN, 8 classes, {FITTED}"
    yield Pair("Mahalanobis, fit and score", what, ours, theirs, waits=True)
    laid_out = "Mahalanobis, fit and score, `channels_last=True`"
    yield Pair(laid_out, what, partial(ours, channels_last=True), theirs)

    def our_layers() -> Any:
        train, test = (several.outputs(data, progress=False) for data in (loader, parts))
        scorers = fit_layers(ood.Mahalanobis(), train)
        # their score divides by the sum over rows and not by the mean: the same ranks
        return sum(scorers[name].score(layer_record(test, name)) for name in LAYERS)

    def their_layers() -> Any:
        return scores_of(peer.MultiMahalanobis(layers).fit(loader), parts)

    yield Pair("Mahalanobis, three layers summed", what, our_layers, their_layers)
