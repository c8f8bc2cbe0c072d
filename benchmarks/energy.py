"""Energy of float32 logits, by number of classes, against one read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

import ood_toolkit as ood
from benchmarks.limits import one_read, read_and_write
from benchmarks.peers import MISSING, library
from benchmarks.results import Case
from benchmarks.timing import Calls, agree, interleaved

__all__ = ["CLASSES", "WRITTEN", "cases", "logits"]

CLASSES = (10, 100, 1_000, 21_841, 128_256)
ELEMENTS = {"full": 100_000_000, "tiny": 400_000}
WRITTEN = "one read, a score written"
LEAST = {"full": 0.08, "tiny": 0.0}
"""Seconds spent on each quick candidate in a round."""

Floats = npt.NDArray[np.float32]


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Log-sum-exp over each number of classes; then the maximum probability over 1,000."""
    for classes in CLASSES:
        yield _case(
            f"energy, C = {classes:,}", logits(scale, classes), energy_candidates, scale, rounds
        )
    yield _case("msp, C = 1,000", logits(scale, 1_000), msp_candidates, scale, rounds)


def logits(scale: str, classes: int) -> Floats:
    """Normal logits of standard deviation 3, 1e8 of them at full scale."""
    rows = -(-ELEMENTS[scale] // classes)
    z = np.random.default_rng(0).standard_normal((rows, classes), dtype=np.float32)
    z *= 3
    return z


def _case(
    name: str, z: Floats, candidates: Callable[[Floats], Calls], scale: str, rounds: int
) -> Case:
    some = candidates(z[:100])
    agree(some, some.keys() - {"one read", WRITTEN, "ours"}, 1e-4)
    return Case(
        name,
        f"{z.shape[0]:,} × {z.shape[1]:,} float32",
        interleaved(candidates(z), rounds, least=LEAST[scale]),
        absent={
            peer: MISSING
            for peer, module in (("torch", "torch"), ("pytorch-ood", "pytorch_ood"), ("jax", "jax"))
            if not library(module)
        },
        read_bytes=z.nbytes,
    )


def energy_candidates(z: Floats) -> Calls:
    """One read, ours, and the log-sum-exp of each peer."""
    from scipy.special import logsumexp

    def by_numpy() -> Floats:
        top = z.max(axis=1, keepdims=True)
        return np.log(np.exp(z - top).sum(axis=1)) + top[:, 0]

    calls = {
        "one read": one_read(z),
        WRITTEN: read_and_write(z, 1),
        "ours": lambda: ood.score(z, "energy")["energy"],
        "scipy": lambda: logsumexp(z, axis=1),
        "numpy": by_numpy,
    }
    if torch := library("torch"):
        t = torch.from_numpy(z)
        calls["torch"] = lambda: torch.logsumexp(t, dim=1)
        if pytorch_ood := library("pytorch_ood"):
            calls["pytorch-ood"] = lambda: -pytorch_ood.detector.EnergyBased.score(t)
    if jax := library("jax"):
        compiled = jax.jit(lambda x: jax.nn.logsumexp(x, axis=1))
        x = jax.numpy.asarray(z)
        calls["jax"] = lambda: compiled(x).block_until_ready()
    return calls


def msp_candidates(z: Floats) -> Calls:
    """The same for the maximum probability."""
    calls = {"one read": one_read(z), "ours": lambda: ood.score(z, "msp")["msp"]}
    if torch := library("torch"):
        t = torch.from_numpy(z)
        calls["torch"] = lambda: t.softmax(dim=1).amax(dim=1)
        if pytorch_ood := library("pytorch_ood"):
            calls["pytorch-ood"] = lambda: -pytorch_ood.detector.MaxSoftmax.score(t)
    return calls
