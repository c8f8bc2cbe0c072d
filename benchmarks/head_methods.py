"""Scores from features, logits and the head with up to 21,841 classes: time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import ood_toolkit as ood
from benchmarks.memory import PEAKS_KNOWN, head_record, measured
from benchmarks.peers import MISSING, library
from benchmarks.results import Case
from benchmarks.timing import interleaved

__all__ = ["CASES", "cases"]


class Size(NamedTuple):
    """Rows that are timed, rows of the memory test, dimensions, classes."""

    timed: int
    held: int
    dims: int
    classes: int


SIZES = {
    "full": {
        "C = 1,000": Size(20_000, 100_000, 512, 1_000),
        "C = 21,841": Size(2_000, 8_000, 512, 21_841),
        "N = 50,000, C = 1,000": Size(50_000, 50_000, 64, 1_000),
    },
    "tiny": {
        "C = 1,000": Size(40, 40, 16, 30),
        "C = 21,841": Size(20, 20, 16, 60),
        "N = 50,000, C = 1,000": Size(60, 60, 8, 30),
    },
}
METHODS = ("fdbd", "dice", "gradnorm", "gen")
CASES = [
    *((method, size) for size in ("C = 1,000", "C = 21,841") for method in METHODS),
    ("kl_matching", "N = 50,000, C = 1,000"),
]
LEAST = {"full": 0.05, "tiny": 0.0}
PEER_NUMBERS = 1 << 27
"""Numbers that a peer's (rows, C, D) array may have; it is timed on as many rows as that."""


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Each method at each size."""
    for name in SIZES[scale]:
        size = SIZES[scale][name]
        record = head_record(size.timed, size.dims, size.classes)
        for method, of in CASES:
            if of == name:
                yield _case(f"{method}, {name}", method, size, record, scale, rounds)


def _case(name: str, method: str, size: Size, record: ood.Outputs, scale: str, rounds: int) -> Case:
    scorer = ood.detector(method).fit(record)
    calls: dict[str, Callable[[], Any]] = {"ours": lambda: scorer.score(record)}
    case = Case(name, f"{size.timed:,} rows, D = {size.dims}, C = {size.classes:,}, float32")
    scaled = 1.0
    if library("pytorch_ood"):
        calls["peer"], rows = PEERS[method](record)
        scaled = size.timed / rows
    else:
        case.absent["pytorch-ood"] = MISSING
    case.seconds = interleaved(calls, rounds, least=LEAST[scale])
    if "peer" in calls:
        case.seconds["pytorch-ood"] = [s * scaled for s in case.seconds.pop("peer")]
        if scaled > 1:
            rows = round(size.timed / scaled)
            case.notes.append(f"pytorch-ood timed on {rows:,} rows, times {scaled:,.0f}")
    _add_memory(case, method, size, scale)
    return case


def _add_memory(case: Case, method: str, size: Size, scale: str) -> None:
    """Peaks of a process of its own; at tiny scale of one method, since processes take time."""
    if PEAKS_KNOWN and (scale == "full" or method == METHODS[0]):
        readings = measured("method", method, size.held, size.dims, size.classes)
        case.figures = {key: [value] for key, value in readings.items()}
        case.notes.append(f"memory: {size.held:,} rows")
        return
    reason = "measured at full scale only" if PEAKS_KNOWN else "peaks are read from /proc"
    for step in ("fit", "score"):
        case.absent[f"{step} beyond inputs and state, MiB"] = reason


Peer = tuple[Callable[[], Any], int]
"""What pytorch-ood does, and on how many rows."""


def _tensors(record: ood.Outputs) -> tuple[Any, Any, Any, Any]:
    """Features, logits, weight and bias."""
    torch = library("torch")
    assert record.head is not None
    arrays = (record.features, record.logits, record.head.weight, record.head.bias)
    return tuple(torch.from_numpy(np.asarray(array)) for array in arrays)


def _rows(record: ood.Outputs) -> int:
    """Rows of a (rows, C, D) array that is still small."""
    assert record.head is not None
    return max(1, min(len(record), PEER_NUMBERS // record.head.weight.size))


def _fdbd(record: ood.Outputs) -> Peer:
    """Its (C, C) matrix of distances is put there: its own way makes (C, C, D) numbers."""
    torch = library("torch")
    features, _, weight, bias = _tensors(record)
    detector = library("pytorch_ood").detector.fDBD(torch.nn.Identity(), _linear(weight, bias))
    detector.train_mean = features.mean(dim=0)
    detector._denom_matrix = torch.cdist(weight, weight).fill_diagonal_(1.0)
    return lambda: detector.predict_features(features), len(record)


def _dice(record: ood.Outputs) -> Peer:
    features, _, weight, bias = _tensors(record)
    detector = library("pytorch_ood").detector.DICE(None, weight, bias, 0.9)
    # not by fit_features: torch's quantile refuses so many numbers
    contributions = features.mean(dim=0) * weight
    threshold = float(np.quantile(contributions.numpy(), 0.9))
    detector.masked_w = weight * (contributions > threshold)
    rows = _rows(record)
    return lambda: detector.predict_features(features[:rows]), rows


def _gradnorm(record: ood.Outputs) -> Peer:
    features, _, weight, bias = _tensors(record)
    rows = min(64, _rows(record))
    detector = library("pytorch_ood").detector.GradNorm(
        _linear(weight, bias), lambda name: name == "weight", micro_batch_size=min(32, rows)
    )
    return lambda: detector.predict(features[:rows]), rows


def _gen(record: ood.Outputs) -> Peer:
    logits = _tensors(record)[1]
    return lambda: library("pytorch_ood").detector.GEN.score(logits, 0.1, 100), len(record)


def _kl_matching(record: ood.Outputs) -> Peer:
    logits = _tensors(record)[1]
    detector = library("pytorch_ood").detector.KLMatching(None).fit_logits(logits)
    return lambda: detector.predict_logits(logits), len(record)


def _linear(weight: Any, bias: Any) -> Any:
    torch = library("torch")
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, bias
    return layer


PEERS: dict[str, Callable[[ood.Outputs], Peer]] = {
    "fdbd": _fdbd,
    "dice": _dice,
    "gradnorm": _gradnorm,
    "gen": _gen,
    "kl_matching": _kl_matching,
}
