"""Methods that need a model, beside pytorch-ood 0.4.0 on the same model, device and loader.

    python -m benchmarks.models_peers [--rounds 3] [--only WORD ...] [--out docs/models-peers.inc]

Runs in the environment that `make peers` builds.  Prints for each method Spearman's correlation
of the scores, the seconds of both and their ratio, and writes a Markdown table.  Status 1 says
that a correlation is not above 0.9999 and no reason is given, or that the peer was quicker.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import ood_toolkit as ood
from benchmarks.peers import library, limit_threads, versions
from benchmarks.results import magnitude, spread
from benchmarks.tables import duration
from benchmarks.timing import interleaved

TABLE = Path(__file__).parents[1] / "docs" / "models-peers.inc"
AGREES = 0.9999
HEAD = ("method", "what", "Spearman", "ours", "pytorch-ood", "pytorch-ood / ours", "")

Scores = Callable[[], Any]


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


def few_values(scores: Any) -> str:
    """The peer's softmax in float32 leaves few different values."""
    values = scores.numpy()
    return f"float32 leaves the peer {len(np.unique(values))} values for {len(values)} rows"


def perturbations(peer: Any) -> Iterator[Pair]:
    """ODIN and the Mahalanobis score of moved inputs."""
    import torch

    from benchmarks.shipped_network import fashion_network, images, labels, residual_network
    from ood_toolkit.models import wrap

    torch.manual_seed(0)
    network, deep = fashion_network(), residual_network()
    clf, wide = wrap(network), wrap(deep)
    batches = images("id_test", slice(0, 1000)).split(100)
    colour = torch.randn(200, 3, 32, 32).split(100)
    for temperature, reason in ((10.0, None), (1000.0, few_values)):
        yield _odin(peer, clf, batches, temperature, "Fashion CNN, 1,000 images", reason)
    yield _odin(peer, wide, colour, 10.0, "ResNet-20, 200 images of 32 × 32", None)

    rows = slice(4000, 8000)
    train = clf.outputs([(images("id_test", rows), labels(rows))])
    scorer = ood.Mahalanobis().fit(train)
    encoder = torch.nn.Sequential(*list(network)[:-1]).eval()
    fitted = peer.MahalanobisODIN(encoder, eps=0.002).fit_features(
        torch.from_numpy(train.features), torch.from_numpy(train.labels)
    )
    yield Pair(
        "Mahalanobis, inputs moved",
        "Fashion CNN, 1,000 images",
        lambda: scorer.score(clf.perturbed(batches, scorer, epsilon=0.002, progress=False)),
        lambda: torch.cat([fitted.predict(batch) for batch in batches]),
    )


def _odin(peer: Any, clf: Any, batches: Any, temperature: float, what: str, reason: Any) -> Pair:
    import torch

    scorer = ood.ODINTemperature(temperature=temperature).fit()
    theirs = peer.ODIN(clf.model, eps=0.004, temperature=temperature)
    return Pair(
        f"ODIN, T = {temperature:,.0f}",
        what,
        lambda: scorer.score(clf.perturbed(batches, scorer, epsilon=0.004, progress=False)),
        lambda: torch.cat([theirs.predict(batch) for batch in batches]),
        reason,
    )


def gradients(peer: Any) -> Iterator[Pair]:
    """GradNorm of the head and of a convolution."""
    import torch

    from benchmarks.shipped_network import fashion_network, images
    from ood_toolkit.models import wrap

    network = fashion_network()
    clf = wrap(network)
    batches = images("id_test", slice(0, 1000)).split(100)
    what = "Fashion CNN, 1,000 images"

    def theirs(name: str) -> Scores:
        detector = peer.GradNorm(network, param_filter=lambda other: other == name)
        return lambda: torch.cat([detector.predict(batch) for batch in batches])

    head = f"{clf.head_name}.weight"
    yield Pair(
        "GradNorm of the head, from outputs",
        what,
        lambda: ood.score(clf.outputs(batches, progress=False), "gradnorm")["gradnorm"],
        theirs(head),
    )
    for name, told in ((head, "the head"), ("8.weight", "a convolution")):
        yield Pair(
            f"GradNorm of {told}, by autograd",
            what,
            lambda name=name: clf.gradient_norms(batches, name),  # type: ignore[misc]
            theirs(name),
        )


def distances(peer: Any) -> Iterator[Pair]:
    """Mahalanobis: fit and score, from features and through a model."""
    import torch

    from benchmarks.shipped_network import LAYERS, fashion_network, images, labels
    from ood_toolkit.models import wrap
    from ood_toolkit.models.layer_ensemble import fit_layers, layer_record

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
    known = slice(4000, 6000)
    loader = list(zip(images("id_test", known).split(100), labels(known).split(100), strict=True))
    batches = images("id_test", slice(0, 1000)).split(100)
    network = fashion_network()
    clf, several = wrap(network), wrap(network, layers=LAYERS)
    parts = [list(network)[:4], list(network)[4:8], list(network)[8:12]]
    stages = [torch.nn.Sequential(*part).eval() for part in parts]
    encoder = torch.nn.Sequential(*list(network)[:-1]).eval()

    def ours() -> Any:
        scorer = ood.Mahalanobis().fit(clf.outputs(loader, progress=False))
        return scorer.score(clf.outputs(batches, progress=False))

    def theirs() -> Any:
        detector = peer.Mahalanobis(encoder).fit(loader)
        return torch.cat([detector.predict(batch) for batch in batches])

    what = "Fashion CNN, 8 classes, 2,000 images fitted, 1,000 scored"
    yield Pair("Mahalanobis, fit and score", what, ours, theirs, waits=True)

    def our_layers() -> Any:
        train, test = (several.outputs(data, progress=False) for data in (loader, batches))
        scorers = fit_layers(ood.Mahalanobis(), train)
        # their score divides by the sum over rows and not by the mean: the same ranks
        return sum(scorers[name].score(layer_record(test, name)) for name in LAYERS)

    def their_layers() -> Any:
        detector = peer.MultiMahalanobis(stages).fit(loader)
        return torch.cat([detector.predict(batch) for batch in batches])

    yield Pair("Mahalanobis, three layers summed", what, our_layers, their_layers)


def maps(peer: Any) -> Iterator[Pair]:
    """RankFeat and Gram, which look at maps."""
    import torch

    from benchmarks.shipped_network import LAYERS, fashion_network, images, labels
    from ood_toolkit.models import Gram, RemoveFirstRank, changed_outputs, wrap

    network = fashion_network()
    clf = wrap(network)
    batches = images("id_test", slice(0, 1000)).split(100)
    body, rest = (torch.nn.Sequential(*part) for part in (list(network)[:8], list(network)[8:]))
    detector = peer.RankFeat(body, rest)

    def shortened() -> Any:
        change = {"7": RemoveFirstRank()}
        return ood.score(changed_outputs(clf, batches, change, progress=False), "energy")["energy"]

    yield Pair(
        "RankFeat",
        "Fashion CNN, 1,000 images",
        shortened,
        lambda: torch.cat([detector.predict(batch) for batch in batches]),
    )
    known = slice(4000, 6000)
    loader = list(zip(images("id_test", known).split(100), labels(known).split(100), strict=True))
    parts = [list(network)[:4], list(network)[4:8], list(network)[8:12]]
    stages = [torch.nn.Sequential(*part).eval() for part in parts]
    head = torch.nn.Sequential(*list(network)[12:]).eval()
    powers = (1, 2, 3, 4, 5)
    held = images("id_test", slice(6000, 6100)).split(100)

    def ours() -> Any:
        gram = Gram.fit(clf, loader, held, layers=LAYERS, powers=powers, classes="labels",
                        confidence=False)  # fmt: skip
        expected.append(gram.expected)
        return gram.score(clf, batches)

    expected: list[Any] = []
    ours()

    def theirs() -> Any:
        other = peer.Gram(head, stages, 8, powers)
        other.validation_fraction = 0.0  # every row makes the ranges, as in ours
        other.fit(loader)
        other.layer_norm = torch.from_numpy(expected[0]).float()
        return torch.cat([other.predict(batch) for batch in batches])

    yield Pair(
        "Gram, fit and score", "Fashion CNN, 2,000 images fitted, 1,000 scored", ours, theirs
    )


def main(arguments: list[str] | None = None) -> int:
    """Compare, print, write; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="other rows stay as they were"
    )
    parser.add_argument("--out", type=Path, default=TABLE)
    chosen = parser.parse_args(arguments)
    limit_threads()
    if not library("torch") or not library("pytorch_ood"):
        raise SystemExit("needs torch and pytorch-ood: run it in the environment of `make peers`")
    peer = library("pytorch_ood").detector
    warnings.simplefilter("ignore")
    rows, bad = [], []
    for group in (perturbations, gradients, distances, maps):
        for pair in group(peer):
            if chosen.only and not any(w in f"{pair.method}, {pair.what}" for w in chosen.only):
                continue
            row, failed = _compared(pair, chosen.rounds)
            rows.append(row)
            print("  ".join(row), flush=True)
            if failed:
                bad.append(f"{pair.method}, {pair.what}: {failed}")
    if chosen.only:
        rows = _merged(chosen.out, rows)
    found = versions()
    told = ", ".join(f"{name} {found[name]}" for name in ("pytorch-ood", "torch", "ood_toolkit"))
    text = "\n".join("| " + " | ".join(row) + " |" for row in (HEAD, ("---",) * len(HEAD), *rows))
    measured = f"Measured with {told}, on the CPU, two threads: medians, and the range of ratios."
    chosen.out.write_text(f"{text}\n\n{measured}\n", encoding="utf-8")
    for line in bad:
        print(line, file=sys.stderr)
    return int(bool(bad))


def _merged(path: Path, rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of a table that stands there, those measured now in their places."""
    lines = path.read_text(encoding="utf-8").splitlines()[2:] if path.exists() else []
    cells = (tuple(part.strip() for part in line.split("|")[1:-1]) for line in lines)
    table = {row[:2]: row for row in (*filter(None, cells), *rows)}
    return list(table.values())


def _compared(pair: Pair, rounds: int) -> tuple[tuple[str, ...], str]:
    """A row of the table, and what is wrong with it."""
    ours, theirs = pair.ours(), pair.theirs().detach()
    rank = float(spearmanr(ours, -theirs.double().numpy()).statistic)
    seconds = interleaved({"ours": pair.ours, "theirs": pair.theirs}, rounds)
    ratios = spread(b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=False))
    reason = pair.reason(theirs) if pair.reason and rank <= AGREES else ""
    failed = ""
    if rank <= AGREES and not reason:
        failed = f"Spearman {rank:.6f}"
    if pair.waits:
        reason = "the network takes nearly all of both"
    elif ratios.median < 1:
        failed += f" ratio {ratios}"
    row = (
        pair.method, pair.what, f"{rank:.6f}",
        *(duration(spread(seconds[name]).median) for name in ("ours", "theirs")),
        f"{magnitude(ratios.median)} ({magnitude(ratios.least)} … {magnitude(ratios.most)})",
        reason,
    )  # fmt: skip
    return row, failed


if __name__ == "__main__":
    sys.exit(main())
