"""What SDM admits, how accurate it is there, and what others admit at the same cost.

    python -m benchmarks.sdm_tables DATA [--write docs/sdm.md]

DATA holds the folders `cifar10_resnet20` and `clinc150_minilm` of the reference data.  With
--write the tables replace those between the markers in the page.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binom

import ood_toolkit as ood
from benchmarks.pages import put
from ood_toolkit import Outputs

ALPHAS = (0.9, 0.95, 0.99)
BAND = 0.025  # a class counts as below alpha where chance gives so few right this rarely


@dataclass(frozen=True)
class Case:
    title: str
    train: Outputs
    held_out: Outputs
    test: Outputs
    strange: dict[str, Outputs]


@dataclass(frozen=True)
class Rule:
    """Which rows a rule admits: of the test set, and of each strange one."""

    name: str
    test: np.ndarray
    strange: dict[str, np.ndarray]


def cifar(root: Path) -> Case:
    folder = root / "cifar10_resnet20"
    test = ood.load(folder / "id_test.npz")
    rows = np.arange(len(test))
    names = ("tin", "fashion", "mnist", "gauss", "uniform")
    return Case(
        "CIFAR-10, ResNet-20: support = train, held out = even rows of the test, test = odd rows",
        ood.load(folder / "train.npz"),
        test.rows(rows[::2]),
        test.rows(rows[1::2]),
        {name: ood.load(folder / f"ood_{name}.npz", labels=False) for name in names},
    )


def clinc(root: Path, *, by_domain: bool) -> Case:
    folder = root / "clinc150_minilm"
    head = np.load(folder / "head.npz")
    domains, of_class = np.unique(head["domain"], return_inverse=True)

    def read(name: str) -> Outputs:
        x = ood.load(folder / f"{name}.npz", head=folder / "head.npz", labels="oos" not in name)
        if not by_domain:
            return x
        z = np.asarray(x.logits, dtype=np.float64)
        grouped = np.stack(
            [np.logaddexp.reduce(z[:, of_class == d], axis=1) for d in range(len(domains))], axis=1
        )
        labels = None if x.labels is None else of_class[x.labels]
        return Outputs(logits=grouped, features=x.features, labels=labels)

    kind = "by its ten domains" if by_domain else "all 150 classes"
    return Case(
        f"CLINC150 on MiniLM, {kind}: support = train, held out = validation",
        read("train"),
        read("id_val"),
        read("id_test"),
        {"out of scope": read("ood_oos")},
    )


def softmax(z: np.ndarray) -> np.ndarray:
    raised = np.exp(z - z.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def sdm_rules(case: Case, alpha: float) -> Iterator[Rule]:
    """The region, its lower end, and the region after fitting a temperature."""
    for temperature in (1.0, "fit"):
        sdm = ood.SDM(alpha=alpha, temperature=temperature).fit(case.train, case.held_out)
        found = sdm.predict(case.test)
        strange = {name: sdm.predict(x) for name, x in case.strange.items()}
        suffix = "" if temperature == 1.0 else f", temperature {sdm.temperature:.2f}"
        yield Rule(f"SDM{suffix}", found.accept, {name: s.accept for name, s in strange.items()})
        if temperature == 1.0:
            yield Rule(
                "SDM, lower end of the band",
                found.accept_lower,
                {name: s.accept_lower for name, s in strange.items()},
            )
            if not sdm.region.exists:
                missed = sdm.region.missed
                print(f"alpha {alpha}: {len(missed)} classes at fault: {missed}", file=sys.stderr)


def lac_singletons(case: Case, alpha: float) -> Rule:
    """Rows whose split-conformal set, with score 1 - p of the class, holds one class."""
    held, y = softmax(np.asarray(case.held_out.logits, float)), case.held_out.labels
    scores = np.sort(1 - held[np.arange(len(y)), y])
    rank = int(np.ceil((len(y) + 1) * alpha - 1e-12))
    limit = scores[rank - 1] if rank <= len(y) else np.inf

    def admitted(x: Outputs) -> np.ndarray:
        return (1 - softmax(np.asarray(x.logits, float)) <= limit).sum(axis=1) == 1

    strange = {name: admitted(x) for name, x in case.strange.items()}
    return Rule("LAC singletons at alpha", admitted(case.test), strange)


def at_admission(name: str, scorer: object, case: Case, admitted: int) -> Rule:
    """The rows of largest score, as many of the test set as another rule admits."""
    scores = scorer.score(case.test)
    limit = np.sort(scores)[::-1][admitted - 1] if admitted else np.inf
    strange = {key: scorer.score(x) >= limit for key, x in case.strange.items()}
    return Rule(name, scores >= limit, strange)


class TemperedMSP:
    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def score(self, x: Outputs) -> np.ndarray:
        return softmax(np.asarray(x.logits, float) / self.temperature).max(axis=1)


def rules(case: Case) -> Iterator[tuple[float, Rule]]:
    temperature = ood.Temperature().fit(case.held_out).temperature
    peers = {
        "MSP": ood.MSP().fit(),
        f"MSP, temperature {temperature:.2f}": TemperedMSP(temperature),
        "Mahalanobis": ood.Mahalanobis().fit(case.train),
    }
    for alpha in ALPHAS:
        ours = list(sdm_rules(case, alpha))
        yield from ((alpha, rule) for rule in ours)
        count = int(ours[0].test.sum())
        for name, scorer in peers.items():
            if count:
                yield alpha, at_admission(f"{name}, as many rows", scorer, case, count)
        yield alpha, lac_singletons(case, alpha)


def percent(share: float) -> str:
    return f"{100 * share:.1f}" if share == share else "–"


def line(alpha: float, rule: Rule, case: Case) -> list[str]:
    predicted = np.asarray(case.test.logits).argmax(axis=1)
    y, right = case.test.labels, predicted == case.test.labels
    kept = rule.test
    classes = case.test.classes
    n = np.bincount(y[kept], minlength=classes)
    hits = np.bincount(y[kept & right], minlength=classes)
    below = int((binom.cdf(hits, n, alpha) < BAND)[n > 0].sum())
    with np.errstate(invalid="ignore"):
        of_class = hits / n
    worst = float(np.nanmin(of_class)) if kept.any() else float("nan")
    accuracy = float(right[kept].mean()) if kept.any() else float("nan")
    return [
        f"{alpha:g}",
        rule.name,
        percent(kept.mean()),
        percent(accuracy),
        percent(worst),
        f"{below} of {int((n > 0).sum())}",
        *(percent(rule.strange[name].mean()) for name in case.strange),
    ]


def table(case: Case) -> str:
    header = ["α", "rule", "ID admitted", "accuracy", "worst class", "classes below α",
              *(f"{name} admitted" for name in case.strange)]  # fmt: skip
    rows = [line(alpha, rule, case) for alpha, rule in rules(case)]
    rule = ["---:", "---", *["---:"] * (len(header) - 2)]
    cells = "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])
    accuracy = (np.asarray(case.test.logits).argmax(axis=1) == case.test.labels).mean()
    return f"{case.title} (accuracy {percent(accuracy)}).\n\n{cells}\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    tables = []
    for read in (
        lambda: cifar(given.data),
        lambda: clinc(given.data, by_domain=True),
        lambda: clinc(given.data, by_domain=False),
    ):
        tables.append(table(read()))
        print(tables[-1], flush=True)
    if given.write:
        put(given.write, "sdm_tables", "\n".join(tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
