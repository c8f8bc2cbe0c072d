"""Results documents as an evaluation writes them, of methods and sets made up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.evaluation.pictures import Pictures
from ood_toolkit.metrics import Ranking, delong_interval
from ood_toolkit.outputs import Outputs

__all__ = ["METHODS", "document"]

METHODS = ("energy", "msp", "knn", "vim", "react")


def document(
    methods: tuple[str, ...] = METHODS,
    sets: tuple[str, ...] = ("near/cats", "far/digits", "far/noise"),
    *,
    rows: int = 300,
    pictures: bool = True,
    text: str = "",
    side: int = 6,
) -> dict[str, Any]:
    """Normal scores whose means differ by method and set; thumbnails, or a text of each row."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 3
    logits = 2.5 * np.eye(3)[labels] + rng.normal(size=(rows, 3))

    def outputs(part: int) -> Outputs:
        images = rng.integers(0, 256, (part, side, side, 3)).astype(np.uint8)
        return Outputs(
            logits=logits[:part],
            labels=labels[:part],
            thumbnails=None if text else images,
            text=np.array([text] * part) if text else None,
        )

    inside = outputs(rows)
    groups = {name.split("/")[-1]: name.split("/")[0] if "/" in name else "" for name in sets}
    outside = {name: outputs(rows - 10 * (n % 3) - 10) for n, name in enumerate(groups)}
    correct = np.asarray(logits.argmax(axis=1) == labels)
    drawn = Pictures(inside, outside, correct)
    results = []
    for number, method in enumerate(methods):
        id_scores = correct + rng.normal(1.0, 1.0, rows)
        drawn.rows(method, "", id_scores)
        for place, (name, x) in enumerate(outside.items()):
            scores = rng.normal(-0.2 * number + 0.3 * place, 1.0, len(x))
            ranking = Ranking.of(id_scores, scores)
            drawn.rows(method, name, scores)
            drawn.pair(method, name, ranking)
            results.append(
                {
                    "method": method,
                    "ood": name,
                    "group": groups[name],
                    "n_ood": len(x),
                    "auroc": ranking.auroc(),
                    "auroc_ci": list(delong_interval(ranking)),
                    "fpr": ranking.fpr_at_tpr(),
                    "fpr_ci": None,
                    "aupr_in": ranking.aupr_in(),
                    "aupr_out": ranking.aupr_out(),
                }
            )
    return {
        "schema": 1,
        "toolkit": "0.1.0",
        "convention": {
            "positive": "id",
            "fpr_at_tpr": 0.95,
            "fpr_rule": "id_positive",
            "aupr": "step",
            "id_subset": "all",
        },
        "id": {"name": "dogs", "n": rows, "accuracy": float(correct.mean())},
        "results": results,
        "means": _means(methods, groups, results),
        "skipped": [{"method": "odin", "reason": "needs a model"}],
        "failed": [],
        "timings": {m: {"fit": 0.1 * n, "score": 10.0 ** (n - 3)} for n, m in enumerate(methods)},
        "tuning": {"on": "none", "methods": []},
        **({"pictures": drawn.document()} if pictures else {}),
    }


def _means(
    methods: tuple[str, ...], groups: dict[str, str], results: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    means = []
    for method in methods:
        own = [r for r in results if r["method"] == method]
        for group in dict.fromkeys([*filter(None, groups.values()), "all"]):
            kept = [r for r in own if group in ("all", r["group"])]
            means.append(
                {
                    "method": method,
                    "group": group,
                    "auroc": float(np.mean([r["auroc"] for r in kept])),
                    "fpr": float(np.mean([r["fpr"] for r in kept])),
                }
            )
    return means
