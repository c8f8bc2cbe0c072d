"""Mahalanobis score and fit with 1,000 classes, against the matrix products they contain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

import ood_toolkit as ood
from benchmarks.peers import MISSING, library
from benchmarks.results import Case
from benchmarks.timing import Calls, agree, interleaved
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.detectors.gaussian_scorer import GaussianScorer

__all__ = ["cases", "gaussian_features"]

CLASSES = {"full": 1_000, "tiny": 40}
LOOPED = 20
"""Classes that the peer's loop is timed on."""

SCORED = {"full": ((20_000, 512), (20_000, 2_048)), "tiny": ((300, 32), (300, 64))}
FITTED = {"full": ((50_000, 512), (20_000, 2_048)), "tiny": ((300, 32), (300, 64))}
NAMES = ("D = 512", "D = 2,048")

Floats = npt.NDArray[np.float32]


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Scores, then fits."""
    classes = CLASSES[scale]
    for name, (rows, dims) in zip(NAMES, SCORED[scale], strict=True):
        yield _score_case(f"score, {name}", rows, dims, classes, rounds)
    for name, (rows, dims) in zip(NAMES, FITTED[scale], strict=True):
        yield _fit_case(f"fit, {name}", rows, dims, classes, rounds)


def gaussian_features(rows: int, dims: int, classes: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Correlated normal features about class means, and labels in which no class is missing."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    labels[:classes] = np.arange(classes)
    mixing = rng.standard_normal((dims, dims), dtype=np.float32) / np.sqrt(np.float32(dims))
    mixing += np.eye(dims, dtype=np.float32)
    features = rng.standard_normal((rows, dims), dtype=np.float32) @ mixing
    features += rng.standard_normal((classes, dims), dtype=np.float32)[labels]
    return features, labels


def _score_case(name: str, rows: int, dims: int, classes: int, rounds: int) -> Case:
    features, labels = gaussian_features(max(rows, 4 * dims), dims, classes)
    scorer = ood.Mahalanobis().fit(ood.Outputs(features=features, labels=labels))
    x = features[:rows]
    calls: Calls = {"products": _products(scorer, x), "ours": _ours(scorer, x)}
    if torch := library("torch"):
        calls |= _torch_scores(torch, scorer, x)
        agree(calls, ["torch"], 1e-2)
    case = Case(name, f"{rows:,} × {dims:,} float32, {classes:,} classes")
    if library("pytorch_ood"):
        few = np.arange(len(labels)) % LOOPED
        calls["pytorch-ood, 20 classes"] = _class_loop(features, few, x)
    case.seconds = interleaved(calls, rounds)
    looped = case.seconds.get("pytorch-ood, 20 classes")
    if looped:
        case.seconds["pytorch-ood"] = [s * classes / LOOPED for s in looped]
        case.notes.append(
            f"pytorch-ood: its loop timed on {LOOPED} classes, times {classes // LOOPED}"
        )
    case.notes.append("products: x W and (x W) Mᵀ in float32 by numpy, on two threads")
    case.absent = _absent(case)
    return case


def _ours(scorer: GaussianScorer, x: Floats) -> Any:
    record = ood.Outputs(features=x)
    return lambda: scorer.score(record)


def _products(scorer: GaussianScorer, x: Floats) -> Any:
    """The two products of the score, into memory that is already there."""
    whitening, means = (
        np.ascontiguousarray(a, np.float32) for a in (scorer.class_whitening, scorer.class_means.T)
    )
    z = np.empty((len(x), whitening.shape[1]), np.float32)
    products = np.empty((len(x), means.shape[1]), np.float32)

    def multiply() -> None:
        np.matmul(x, whitening, out=z)
        np.matmul(z, means, out=products)

    return multiply


def _torch_scores(torch: Any, scorer: GaussianScorer, x: Floats) -> Calls:
    """The same algebra, written for torch."""
    given = torch.from_numpy(x)
    origin, whitening, means = (
        torch.from_numpy(np.ascontiguousarray(a, np.float32))
        for a in (scorer.origin, scorer.class_whitening, scorer.class_means)
    )
    lengths = means.square().sum(1)

    def score() -> Any:
        z = (given - origin) @ whitening
        products = z @ means.T
        return -(z.square().sum(1, keepdim=True) - 2 * products + lengths).amin(1)

    return {"torch": score}


def _class_loop(features: Floats, labels: npt.NDArray[np.int64], x: Floats) -> Any:
    torch = library("torch")
    detector = library("pytorch_ood").detector.Mahalanobis(None)
    detector.fit_features(torch.from_numpy(features), torch.from_numpy(labels))
    given = torch.from_numpy(x)
    return lambda: detector.predict_features(given)


def _fit_case(name: str, rows: int, dims: int, classes: int, rounds: int) -> Case:
    features, labels = gaussian_features(rows, dims, classes)
    train = ood.Outputs(features=features, labels=labels)
    wide, gram = features.astype(np.float64), np.empty((dims, dims))
    covariance = np.cov(features.T, dtype=np.float64)

    def syrk() -> None:  # numpy sees that both factors are one matrix
        np.matmul(wide.T, wide, out=gram)

    calls: Calls = {
        "syrk": syrk,
        "ours": lambda: ood.Mahalanobis().fit(train),
        "ours, the pass": lambda: feature_moments(train, labels, classes).within_covariance(),
        "eigh": lambda: np.linalg.eigh(covariance),
    }
    if library("sklearn"):
        calls["scikit-learn"] = _empirical_covariance(features, labels, classes)
    if library("pytorch_ood"):
        torch = library("torch")
        given = torch.from_numpy(features), torch.from_numpy(labels)
        calls["pytorch-ood"] = lambda: (
            library("pytorch_ood").detector.Mahalanobis(None).fit_features(*given)
        )
    case = Case(name, f"{rows:,} × {dims:,} float32, {classes:,} classes")
    case.seconds = interleaved(calls, rounds)
    case.notes = [
        "syrk: XᵀX of the features as float64, by numpy",
        "ours, the pass: class means and covariance; ours: the same, inverted and whitened",
        "scikit-learn: class means by numpy, then EmpiricalCovariance, which inverts too",
    ]
    case.absent = _absent(case)
    return case


def _empirical_covariance(features: Floats, labels: npt.NDArray[np.int64], classes: int) -> Any:
    from sklearn.covariance import EmpiricalCovariance

    def fit() -> Any:
        means = np.stack([features[labels == c].mean(axis=0) for c in range(classes)])
        return EmpiricalCovariance(assume_centered=True).fit(features - means[labels])

    return fit


def _absent(case: Case) -> dict[str, str]:
    peers = {"torch": "torch", "scikit-learn": "sklearn", "pytorch-ood": "pytorch_ood"}
    return {name: MISSING for name, module in peers.items() if not library(module)}
