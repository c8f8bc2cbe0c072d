"""Nine logit scores in one pass, and GEN as the tenth, against torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import ood_toolkit as ood
from benchmarks.energy import LEAST, Floats, logits
from benchmarks.limits import one_read, read_and_write
from benchmarks.peers import MISSING, library
from benchmarks.results import Case
from benchmarks.timing import interleaved

__all__ = ["CLASSES", "NINE", "cases"]

CLASSES = (10, 32, 100, 1_000, 21_841)
NINE = (
    "msp",
    "max_logit",
    "energy",
    "entropy",
    "margin",
    "logit_margin",
    "gini",
    "msp_kl",
    "label_non_uniformity",
)
TEN = (*NINE, "gen")
GAMMA, TOP = 0.1, 100


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Nine and ten scores over each number of classes."""
    for classes in CLASSES:
        z = logits(scale, classes)
        calls = {
            "one read": one_read(z),
            "one read, nine written": read_and_write(z, len(NINE)),
            "ours, nine": lambda z=z: ood.score(z, NINE),
            "ours, ten": lambda z=z: ood.score(z, TEN),
        }
        absent = {}
        if torch := library("torch"):
            t = torch.from_numpy(z)
            _check(torch, z[:50])
            calls["torch, ten calls"] = lambda t=t: _each_alone(torch, t)
            calls["torch, shared"] = lambda t=t: _shared(torch, t)
        else:
            absent = dict.fromkeys(("torch, ten calls", "torch, shared"), MISSING)
        yield Case(
            f"scores, C = {classes:,}",
            f"{z.shape[0]:,} × {classes:,} float32",
            interleaved(calls, rounds, least=LEAST[scale]),
            absent=absent,
            read_bytes=z.nbytes,
        )


def _each_alone(torch: Any, z: Any) -> dict[str, Any]:
    """Each score from the logits, as a library of separate scores computes them."""
    classes = z.shape[1]
    two = torch.softmax(z, 1).topk(2, 1).values
    largest = z.topk(2, 1).values
    logs = torch.log_softmax(z, 1)
    p = torch.softmax(z, 1).topk(min(TOP, classes), 1).values
    return {
        "msp": torch.softmax(z, 1).amax(1),
        "max_logit": z.amax(1),
        "energy": torch.logsumexp(z, 1),
        "entropy": (logs.exp() * logs).sum(1),
        "margin": two[:, 0] - two[:, 1],
        "logit_margin": largest[:, 0] - largest[:, 1],
        "gini": 1 - 1 / torch.softmax(z, 1).square().sum(1),
        "msp_kl": math.log(classes) + (torch.softmax(z, 1) * torch.log_softmax(z, 1)).sum(1),
        "label_non_uniformity": (torch.softmax(z, 1) - 1 / classes).abs().sum(1) / 2,
        "gen": -(p.pow(GAMMA) * (1 - p).pow(GAMMA)).sum(1),
    }


def _shared(torch: Any, z: Any) -> dict[str, Any]:
    """The same with every intermediate result used as often as it can be."""
    classes = z.shape[1]
    lse = torch.logsumexp(z, 1)
    top = z.topk(min(TOP, classes), 1).values
    logs = z - lse[:, None]
    p = logs.exp()
    likely = (top - lse[:, None]).exp()
    negative_entropy = (p * logs).sum(1)
    return {
        "msp": likely[:, 0],
        "max_logit": top[:, 0],
        "energy": lse,
        "entropy": negative_entropy,
        "margin": likely[:, 0] - likely[:, 1],
        "logit_margin": top[:, 0] - top[:, 1],
        "gini": 1 - 1 / p.square().sum(1),
        "msp_kl": negative_entropy + math.log(classes),
        "label_non_uniformity": (p - 1 / classes).abs().sum(1) / 2,
        "gen": -(likely.pow(GAMMA) * (1 - likely).pow(GAMMA)).sum(1),
    }


def _check(torch: Any, z: Floats) -> None:
    """What is timed answers what ours answers."""
    ours = ood.score(z, TEN)
    for answers in (_each_alone(torch, torch.from_numpy(z)), _shared(torch, torch.from_numpy(z))):
        for name in TEN:
            there = answers[name].numpy()
            np.testing.assert_allclose(there, ours[name], 1e-3, 1e-3, err_msg=name)
