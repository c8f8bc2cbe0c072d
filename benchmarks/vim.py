"""ViM in thousands of dimensions: one symmetric eigen-decomposition of D × D."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import ood_toolkit as ood
from benchmarks.memory import head_record
from benchmarks.peers import MISSING, library
from benchmarks.results import Case
from benchmarks.timing import interleaved

__all__ = ["cases"]

SIZES = {
    "full": {"D = 1,024": (10_000, 1_024), "D = 4,096": (8_192, 4_096)},
    "tiny": {"D = 1,024": (100, 16), "D = 4,096": (200, 32)},
}
CLASSES = {"full": 1_000, "tiny": 5}


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Fit and score; the decomposition alone."""
    for name, (rows, dims) in SIZES[scale].items():
        record = head_record(rows, dims, CLASSES[scale])
        detector = ood.ViM(dim=dims // 4)
        scorer = detector.fit(record)
        wide = record.features.astype(np.float64)
        moment = wide.T @ wide
        del wide
        calls = {
            "eigh": lambda moment=moment: np.linalg.eigh(moment),
            "ours, fit": lambda record=record, detector=detector: detector.fit(record),
            "ours, score": lambda record=record, scorer=scorer: scorer.score(record),
        }
        if library("pytorch_ood"):
            torch = library("torch")
            features, weight, bias = (
                torch.from_numpy(np.asarray(array))
                for array in (record.features, record.head.weight, record.head.bias)
            )
            peer = library("pytorch_ood").detector.ViM(None, dims // 4, weight, bias)
            labels = torch.zeros(rows, dtype=torch.int64)
            peer.fit_features(features, labels)
            calls["pytorch-ood, fit"] = lambda p=peer, x=features, y=labels: p.fit_features(x, y)
            calls["pytorch-ood, score"] = lambda p=peer, x=features: p.predict_features(x)
        yield Case(
            name,
            f"{rows:,} × {dims:,} float32, {CLASSES[scale]:,} classes",
            interleaved(calls, rounds),
            absent={} if library("pytorch_ood") else {"pytorch-ood": MISSING},
            notes=["eigh: of D × D float64 by numpy", "pytorch-ood: float32"],
        )
