"""What pytorch-ood 0.4.0 answers for each method that it shares with the toolkit.

A peer gets float32 tensors of the saved arrays, through its `fit_features`, `fit_logits` and
their like, or one linear layer where it insists on a model.  Its settings are ours where it has
such a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import ood_toolkit as ood
from benchmarks.peers import library

__all__ = ["SHARED", "UNSHARED", "Arrays", "Case", "Shared"]

Arrays = Any
"""Tensors; torch is loaded only when a peer is asked."""

BATCH = 1024
"""Rows a call, where the peer makes an array of (rows, classes, features)."""


@dataclass(frozen=True)
class Case:
    """Training rows, rows to score, and rows that a temperature may be fitted on."""

    train: ood.Outputs
    x: ood.Outputs
    held_out: ood.Outputs


@dataclass(frozen=True)
class Given:
    """A case as the peer takes it: tensors."""

    train_f: Arrays
    train_z: Arrays
    y: Arrays
    f: Arrays
    z: Arrays
    weight: Arrays
    bias: Arrays
    held_z: Arrays
    held_y: Arrays

    @classmethod
    def of(cls, case: Case, dtype: type = np.float32) -> Given:
        """Tensors of the type given; the peers mostly insist on float32."""

        def tensor(array: Any) -> Arrays:
            return library("torch").from_numpy(np.asarray(array, dtype=dtype))

        def labels(x: ood.Outputs) -> Arrays:
            return library("torch").from_numpy(np.asarray(x.labels, dtype=np.int64))

        head = case.train.head
        assert head is not None
        return cls(
            *(tensor(a) for a in (case.train.features, case.train.logits)),
            labels(case.train),
            *(tensor(a) for a in (case.x.features, case.x.logits, head.weight, head.bias)),
            tensor(case.held_out.logits),
            labels(case.held_out),
        )

    def linear(self) -> Any:
        """The head as a module."""
        torch = library("torch")
        layer = torch.nn.Linear(self.weight.shape[1], self.weight.shape[0])
        layer.weight = torch.nn.Parameter(self.weight.clone())
        layer.bias = torch.nn.Parameter(self.bias.clone())
        return layer.eval()

    def head(self, maps: Arrays) -> Arrays:
        """Logits of feature maps of one pixel."""
        return maps.flatten(1) @ self.weight.T + self.bias


@dataclass(frozen=True)
class Shared:
    """One method on both sides.

    Attributes
    ----------
    peer : str
        Its class there.
    answer : callable
        What the peer answers, larger = more out-of-distribution.
    settings : str
        Settings on both sides that are not the peer's defaults.
    ours : callable or None
        Our scores; None is the method of that name, at its defaults.
    wide : bool
        Whether the peer also takes float64.
    """

    peer: str
    answer: Callable[[Any, Given], Arrays]
    settings: str = ""
    ours: Callable[[Case], Any] | None = None
    wide: bool = False


def _batches(call: Callable[[Arrays], Arrays], rows: Arrays, size: int = BATCH) -> Arrays:
    return library("torch").cat([call(part) for part in rows.split(size)])


def _maps(features: Arrays) -> Arrays:
    return features[:, :, None, None]


def _on_features(detector: Any, g: Given, size: int = BATCH) -> Arrays:
    return _batches(detector.fit_features(g.train_f, g.y).predict_features, g.f, size)


def _on_maps(detector: Any, g: Given) -> Arrays:
    if hasattr(detector, "fit_feature_maps"):
        detector.fit_feature_maps(_maps(g.train_f), g.y)
    return detector.predict_feature_maps(_maps(g.f))


def _ash(variant: str) -> Callable[[Any, Given], Arrays]:
    return lambda peer, g: _on_maps(peer.ASH(None, g.head, variant=variant, percentile=0.9), g)


def _two_layers(peer: Any, g: Given) -> Arrays:
    torch = library("torch")
    found = peer.MultiMahalanobis([torch.nn.Identity()] * 2)
    found.fit_structured([g.train_f, g.train_z], g.y)
    parts = zip(g.f.split(BATCH), g.z.split(BATCH), strict=True)
    return torch.cat([found.predict_structured([f, z]) for f, z in parts])


def _our_two_layers(case: Case) -> Any:
    logits = ood.Outputs(features=case.train.logits, labels=case.train.labels)
    second = ood.Mahalanobis().fit(logits).score(ood.Outputs(features=case.x.logits))
    return ood.Mahalanobis().fit(case.train).score(case.x) + second


def _nnguide(peer: Any, g: Given) -> Arrays:
    rows = len(g.train_f)
    size = max(1, round(0.01 * rows))
    bank = np.unique(np.arange(size) * rows // size)
    found = peer.NNGuide(None, g.linear(), k=min(100, len(bank)))
    return found.fit_features(g.train_f[bank], g.y[bank]).predict_features(g.f)


def _vim(peer: Any, g: Given) -> Arrays:
    # the authors' rule for the size of the principal space
    width = g.f.shape[1]
    dims = 1000 if width >= 2048 else 512 if width >= 768 else width // 2
    return _on_features(peer.ViM(None, dims, g.weight, g.bias), g)


def _nac(peer: Any, g: Given) -> Arrays:
    torch = library("torch")
    # a layer that hands its input on, as the module whose output is watched
    model = torch.nn.Sequential(torch.nn.Identity(), g.linear())
    found = peer.NACUE(model, [model[0]])
    bank = g.train_f.requires_grad_()
    found.fit(list(bank.split(BATCH)))
    return _batches(found.predict, g.f.clone().requires_grad_())


def _temperature(peer: Any, g: Given) -> Arrays:
    found = peer.TemperatureScaling(None).fit_logits(g.held_z, g.held_y)
    return found.predict_logits(g.z).detach()


def _our_temperature(case: Case) -> Any:
    found = ood.Temperature().fit(case.held_out).temperature
    # the logarithm of the largest probability, which ranks alike and does not saturate
    return ood.ODINTemperature(temperature=found).fit().score(case.x)


SHARED: Mapping[str, Shared] = {
    "msp": Shared("MaxSoftmax", lambda peer, g: peer.MaxSoftmax.score(g.z), wide=True),
    "msp, fitted temperature": Shared(
        "TemperatureScaling",
        _temperature,
        "T fitted on the held-out rows, or on the training rows",
        _our_temperature,
    ),
    "max_logit": Shared("MaxLogit", lambda peer, g: peer.MaxLogit.score(g.z), wide=True),
    "energy": Shared("EnergyBased", lambda peer, g: peer.EnergyBased.score(g.z), wide=True),
    "entropy": Shared("Entropy", lambda peer, g: peer.Entropy.score(g.z), wide=True),
    "gen": Shared("GEN", lambda peer, g: peer.GEN.score(g.z, M=100), "M = 100", wide=True),
    "kl_matching": Shared(
        "KLMatching",
        lambda peer, g: peer.KLMatching(None).fit_logits(g.train_z).predict_logits(g.z),
        wide=True,
    ),
    "odin_temperature": Shared(
        "MaxSoftmax", lambda peer, g: peer.MaxSoftmax.score(g.z, t=1000.0), "T = 1000", wide=True
    ),
    "feature_odin": Shared(
        "ODIN", lambda peer, g: peer.ODIN(g.linear()).predict(g.f), "the model is the head"
    ),
    "openmax": Shared(
        "OpenMax",
        lambda peer, g: (
            peer.OpenMax(None, tailsize=20, alpha=3).fit_logits(g.train_z, g.y).predict_logits(g.z)
        ),
        "tail 20, alpha 3",
    ),
    "mahalanobis": Shared("Mahalanobis", lambda peer, g: _on_features(peer.Mahalanobis(None), g)),
    "mahalanobis, 2 layers": Shared(
        "MultiMahalanobis",
        _two_layers,
        "features and logits, summed",
        _our_two_layers,
    ),
    "relative_mahalanobis": Shared("RMD", lambda peer, g: _on_features(peer.RMD(None), g)),
    "gmm": Shared("GMM", lambda peer, g: _on_features(peer.GMM(None), g, 200)),
    "knn": Shared("KNN", lambda peer, g: _on_features(peer.KNN(None, k=50), g)),
    "vim": Shared("ViM", _vim, "the authors' dimension"),
    "react": Shared("ReAct", lambda peer, g: _on_maps(peer.ReAct(None, g.head), g)),
    "vra": Shared(
        "VRA",
        lambda peer, g: _on_maps(
            peer.VRA(None, g.head, lower_percentile=0.1, upper_percentile=0.9), g
        ),
        "percentiles 10 and 90",
    ),
    "dice": Shared(
        "DICE",
        lambda peer, g: _on_features(peer.DICE(None, g.weight, g.bias, p=0.9), g, 200),
        "p = 0.9",
    ),
    "ash_p": Shared("ASH", _ash("ash-p"), "percentile 90"),
    "ash_b": Shared("ASH", _ash("ash-b"), "percentile 90"),
    "ash_s": Shared("ASH", _ash("ash-s"), "percentile 90"),
    "scale": Shared(
        "SCALE",
        lambda peer, g: _on_maps(peer.SCALE(None, g.head, percentile=0.85), g),
        "percentile 85",
    ),
    "she": Shared("SHE", lambda peer, g: _on_features(peer.SHE(None, g.linear()), g)),
    "nnguide": Shared("NNGuide", _nnguide, "k = 100, the same bank"),
    "fdbd": Shared("fDBD", lambda peer, g: _on_features(peer.fDBD(None, g.linear()), g)),
    "nci": Shared(
        "NCI",
        lambda peer, g: _on_features(peer.NCI(None, g.linear(), alpha=1e-4), g),
        "alpha 1e-4",
    ),
    "gradnorm": Shared(
        "GradNorm",
        lambda peer, g: peer.GradNorm(g.linear(), param_filter=lambda n: n == "weight").predict(
            g.f
        ),
        "gradient of the head's weight",
    ),
    "nac": Shared("NACUE", _nac),
}
"""Our name -> both sides."""

UNSHARED: Mapping[str, str] = {
    "GradUncertainty, LTS, PNML, WeightedEBO": "scores that the toolkit does not have",
    "MCD, RankFeat, MahalanobisODIN": "repeat or differentiate the model; arrays do not hold that",
    "Gram": "needs the feature maps of several layers",
    "MCM": "needs the embeddings of the classes' names",
}
"""Detectors of pytorch-ood 0.4.0 without a row, and why."""
