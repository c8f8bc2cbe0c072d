"""Methods that need a model, on the shipped Fashion network, with confidence intervals.

    python -m benchmarks.models_tables [--rows 1000] [--out docs/models-tables.inc]

Writes three Markdown tables: scores of moved, changed and inner values beside those of plain
outputs; Mahalanobis at one layer and at several; detection of four attacks.  The rows that
something is fitted or chosen on are never those of the tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ood_toolkit as ood
from benchmarks.shipped_network import LAYERS, fashion_network, images, labels
from ood_toolkit.models import (
    BIM,
    CW,
    FGSM,
    AdaScale,
    DeepFool,
    Gram,
    Grood,
    LayerEnsemble,
    adversarial_inputs,
    fit_layers,
    rankfeat_outputs,
    wrap,
)

TABLE = Path(__file__).parents[1] / "docs" / "models-tables.inc"
NEAR, FAR = ("held_out_classes",), ("digits", "photographs")
ATTACKS = {
    "FGSM": FGSM(epsilon=0.05),
    "BIM": BIM(step=0.01, iterations=6),
    "DeepFool": DeepFool(iterations=20),
    "CW": CW(weight=10.0, rate=0.04, iterations=25),
}
FITTED, HELD, TESTED = 2000, 500, 4000
"""Rows of `id_test`: fitted are the first, held out the next; tables begin at the last."""

Scores = Mapping[str, np.ndarray]


class Study:
    """The network, and the rows that each part is given."""

    def __init__(self, rows: int) -> None:
        self.clf = wrap(fashion_network(), layers=LAYERS)
        self.train = [(images("id_test", slice(0, FITTED)), labels(slice(0, FITTED)))]
        self.held = images("id_test", slice(FITTED, FITTED + HELD))
        self.fitted = self.clf.outputs(self.train, progress=False)
        tested = slice(TESTED, TESTED + rows)
        self.sets = {"id": images("id_test", tested)}
        self.sets |= {name: images(name, slice(HELD, HELD + rows)) for name in (*NEAR, *FAR)}
        self.plain = {name: self.clf.outputs(x, progress=False) for name, x in self.sets.items()}
        self.known = [(self.sets["id"], labels(tested))]

    def of_outputs(self, scorer: Any) -> Scores:
        """Scores of plain outputs."""
        return {name: scorer.score(x) for name, x in self.plain.items()}

    def of_moved(self, scorer: Any, epsilon: float, **how: Any) -> Scores:
        """Scores of inputs moved towards the score."""
        return {
            name: scorer.score(
                self.clf.perturbed(x, scorer, epsilon=epsilon, progress=False, **how)
            )
            for name, x in self.sets.items()
        }


def shown(inside: Any, outside: Any) -> str:
    """AUROC in percent with its interval."""
    area = 100 * ood.metrics.auroc(inside, outside)
    low, high = (100 * edge for edge in ood.metrics.auroc_interval(inside, outside))
    return f"{area:.1f} [{low:.1f}, {high:.1f}]"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def against_outliers(methods: Mapping[str, Scores]) -> str:
    """A row a method, a column a set of outliers."""
    rows = [
        (name, *(shown(found["id"], found[out]) for out in (*NEAR, *FAR)))
        for name, found in methods.items()
    ]
    head = ("method", *(f"{n} (near)" for n in NEAR), *(f"{n} (far)" for n in FAR))
    return table(head, rows)


def scores(study: Study) -> tuple[str, str]:
    """ODIN beside what needs no gradient, and what looks into the network; the chosen step."""
    clf, sets = study.clf, study.sets
    odin = ood.ODINTemperature(temperature=1000.0).fit()
    grid = (0.0, 0.001, 0.002, 0.004, 0.008)
    choice = clf.choose_epsilon(study.held, odin, grid=grid)
    gini = ood.detector("gini").fit()
    held, train = [study.held], study.train
    gram = Gram.fit(clf, train, held, layers=LAYERS, powers=(1, 2, 3, 4, 5))
    mixed = Grood.fit(clf, train, layer=LAYERS[0])
    scaled = AdaScale.fit(clf, held)
    energy = ood.Energy().fit()
    # the last two of the maps, as the paper's last two stages
    shorter = {
        n: rankfeat_outputs(clf, x, LAYERS[1:], progress=False) for n, x in sets.items()
    }  # fmt: skip
    methods = {
        "`msp`": study.of_outputs(ood.MSP().fit()),
        "`energy`": study.of_outputs(energy),
        "`gradnorm`": study.of_outputs(ood.GradNorm().fit()),
        "ODIN, step 0": study.of_outputs(odin),
        f"ODIN, step {choice.epsilon}": study.of_moved(odin, choice.epsilon),
        f"i-ODIN, step {choice.epsilon}": study.of_moved(odin, choice.epsilon, single=True),
        "DOCTOR, step 0": study.of_outputs(gini),
        "DOCTOR, step 0.00035": study.of_moved(gini, 0.00035, down=True),
        "RankFeat": {name: energy.score(x) for name, x in shorter.items()},
        "AdaSCALE-A": {name: scaled.score(clf, x) for name, x in sets.items()},
        "Gram": {name: gram.score(clf, x) for name, x in sets.items()},
        "GROOD": {name: mixed.score(x) for name, x in study.plain.items()},
    }
    return against_outliers(methods), f"{choice.epsilon}, by {choice.rule}"


def layers(study: Study) -> str:
    """Mahalanobis at the penultimate layer, of moved inputs, and as an ensemble."""
    clf, epsilon = study.clf, 0.002
    scorers = fit_layers(ood.Mahalanobis(), study.fitted)
    single = scorers["features"]

    def versions(x: torch.Tensor) -> dict[str, ood.Outputs]:
        return {
            name: clf.perturbed(
                x, scorer, epsilon=epsilon, progress=False,
                layer="" if name == "features" else name,
            )
            for name, scorer in scorers.items()
        }  # fmt: skip

    outside = images(NEAR[0], slice(0, HELD))
    inside = clf.outputs(study.held, progress=False)
    attacked = adversarial_inputs(clf, study.train, ATTACKS["FGSM"]).adversarial[:HELD]
    seen = LayerEnsemble.fit(scorers, inside, clf.outputs(outside, progress=False))
    moved = LayerEnsemble.fit(scorers, versions(study.held), versions(outside))
    blind = LayerEnsemble.fit(scorers, inside, clf.outputs(attacked, progress=False))
    changed = {name: versions(x) for name, x in study.sets.items()}
    return against_outliers(
        {
            "penultimate layer": study.of_outputs(single),
            f"penultimate layer, step {epsilon}": {
                name: single.score(x["features"]) for name, x in changed.items()
            },
            "ensemble of four layers": study.of_outputs(seen),
            f"ensemble, step {epsilon}": {name: moved.score(x) for name, x in changed.items()},
            "ensemble, weighed on FGSM alone": study.of_outputs(blind),
        }
    )


def attacks(study: Study) -> str:
    """Clean and noisy rows against attacked ones."""
    clf = study.clf
    scorers = fit_layers(ood.Mahalanobis(), study.fitted)
    shown_to = adversarial_inputs(clf, study.train, ATTACKS["FGSM"])
    tame = torch.cat([shown_to.clean, shown_to.noisy])
    ensemble = LayerEnsemble.fit(
        scorers,
        clf.outputs(tame, progress=False),
        clf.outputs(shown_to.adversarial, progress=False),
    )
    methods = {
        "`msp`": ood.MSP().fit(),
        "`energy`": ood.Energy().fit(),
        "`knn`": ood.KNN().fit(study.fitted),
        "`mahalanobis`": scorers["features"],
        "ensemble": ensemble,
    }
    rows = []
    for name, attack in ATTACKS.items():
        found = adversarial_inputs(clf, study.known, attack)
        calm = [clf.outputs(x, progress=False) for x in (found.clean, found.noisy)]
        odd = clf.outputs(found.adversarial, progress=False)
        cells = (
            shown(np.concatenate([m.score(x) for x in calm]), m.score(odd))
            for m in methods.values()
        )
        rows.append((name, f"{len(found.labels)} of {found.tried}", *cells))
    return table(("attack", "rows", *methods), rows)


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1000, help="of each set")
    parser.add_argument("--out", type=Path, default=TABLE)
    chosen = parser.parse_args(arguments)
    begun = time.perf_counter()
    study = Study(chosen.rows)
    first, step = scores(study)
    parts = [
        f"AUROC in percent, 95 % interval; {chosen.rows:,} rows of each set.  ODIN's step is "
        f"{step} on {HELD} held-out rows; Gram, GROOD and Mahalanobis are fitted on {FITTED:,}.",
        first,
        f"Mahalanobis; the ensembles are weighed on {HELD} held-out rows and as many of "
        f"`{NEAR[0]}` that are not in the table.",
        layers(study),
        "Clean and noisy rows against attacked ones; the ensemble is weighed on FGSM of training "
        "rows alone.",
        attacks(study),
    ]
    text = "\n\n".join(parts) + "\n"
    chosen.out.write_text(text, encoding="utf-8")
    print(text)
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
