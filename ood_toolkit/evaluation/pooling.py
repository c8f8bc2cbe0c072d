"""Results of several runs, of other seeds or other models, pooled into means and deviations."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.evaluation.records import plain

__all__ = ["POOLED_METRICS", "Pooled", "pool_results"]

POOLED_METRICS = ("auroc", "fpr", "aupr_in", "aupr_out", "detection_error", "autc")
"""Figures of a pair that are pooled; of means over sets the first two."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Means and standard deviations over runs.

    Attributes
    ----------
    runs : tuple of str
        What the runs are called.
    ddof : int
        1: deviation of the runs as a sample; 0: as all there are.
    convention : mapping
        That of every run.
    accuracy, accuracy_std : float or None
        Of the classifiers.
    results, means : tuple of dict
        As in a results document, each metric with its `_std`, and how many `runs` had it.
    """

    runs: tuple[str, ...]
    ddof: int
    convention: Mapping[str, Any]
    id_name: str
    accuracy: float | None
    accuracy_std: float | None
    results: tuple[Mapping[str, Any], ...]
    means: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """The document of schema 1; `pooled` tells it from that of one run."""
        converted: dict[str, Any] = plain(
            {
                "schema": 1,
                "pooled": {"runs": list(self.runs), "ddof": self.ddof},
                "convention": dict(self.convention),
                "id": {
                    "name": self.id_name,
                    "accuracy": self.accuracy,
                    "accuracy_std": self.accuracy_std,
                },
                "results": [dict(r) for r in self.results],
                "means": [dict(m) for m in self.means],
            }
        )
        return converted


def pool_results(
    documents: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]], ddof: int = 1
) -> Pooled:
    """Pool the results documents of several runs of one evaluation.

    The mean over a group of sets is taken within each run first, and its deviation is that of
    the runs' means, as benchmarks publish it.

    Parameters
    ----------
    documents : mapping of str to dict, or sequence of dict
        What `Evaluation.to_json` returns or `--json-out` wrote, by a name of the run.
    ddof : int
        1 (default) divides squares by one less than the runs; 0 by their number, as OpenOOD's
        scripts do.

    Returns
    -------
    Pooled
        Methods that some runs lack are pooled over the others; `runs` of each row says how many
        there were.  The deviation over one run is None.

    Raises
    ------
    InputError
        If there are no runs, or their conventions or sets differ: names, shifted sets that count
        as in-distribution, and rows (of the in-distribution set where all of them count).

    Examples
    --------
    >>> runs = [
    ...     {"convention": {}, "id": {"name": "x", "accuracy": 0.9}, "means": [], "results": [
    ...         {"method": "msp", "ood": "a", "group": "far", "auroc": auroc, "fpr": 0.5}]}
    ...     for auroc in (0.8, 0.9)
    ... ]
    >>> row = pool_results(runs).results[0]
    >>> round(row["auroc"], 3), round(row["auroc_std"], 4), row["runs"]
    (0.85, 0.0707, 2)
    """
    if not isinstance(documents, Mapping):
        documents = {f"run {i}": document for i, document in enumerate(documents, start=1)}
    if not documents:
        raise InputError("there are no results to pool")
    if ddof not in (0, 1):
        raise InputError(f"ddof is 0 or 1, got {ddof}")
    first = next(iter(documents))
    for name, document in documents.items():
        _check_alike(first, documents[first], name, document)
    names = dict.fromkeys(document["id"]["name"] for document in documents.values())
    if len(names) > 1:  # as files are called, one a seed perhaps; their numbers of rows agree
        warnings.warn(
            f"the in-distribution sets are called {', '.join(names)}; they are pooled as one",
            ToolkitWarning,
            stacklevel=2,
        )
    accuracies = [d["id"].get("accuracy") for d in documents.values()]
    accuracy, spread = _mean_and_deviation(accuracies, ddof)
    known = documents.values()
    return Pooled(
        tuple(documents),
        ddof,
        documents[first]["convention"],
        documents[first]["id"]["name"],
        accuracy,
        spread,
        _pooled([d["results"] for d in known], ("method", "ood", "group"), POOLED_METRICS, ddof),
        _pooled([d["means"] for d in known], ("method", "group"), POOLED_METRICS[:2], ddof),
    )


def _check_alike(
    first: str, expected: Mapping[str, Any], name: str, document: Mapping[str, Any]
) -> None:
    differing = [
        f"{key} {document['convention'].get(key)} against {value}"
        for key, value in expected["convention"].items()
        if document["convention"].get(key) != value
    ]
    if differing:
        raise InputError(
            f"{name}: its convention is not that of {first}: {', '.join(differing)}; pool runs "
            "of one convention"
        )
    sets = [{(r["ood"], r["group"]) for r in d["results"]} for d in (expected, document)]
    if sets[0] != sets[1]:
        odd = sorted(f"{group}/{ood}" if group else ood for ood, group in sets[0] ^ sets[1])
        raise InputError(f"{name}: its sets are not those of {first}: {', '.join(odd)} are not in "
                         "both; pool runs over the same sets")  # fmt: skip
    own = _rows(document)
    unlike = [
        f"{what} {own[what]} against {value}"
        for what, value in _rows(expected).items()
        if what in own and own[what] != value
    ]
    if unlike:
        raise InputError(
            f"{name}: its sets are not those of {first}: {', '.join(unlike)}; pool runs over the "
            "same sets"
        )


def _rows(document: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the sets of a document from others of the same names; where it says so."""
    inside = document["id"]
    every_row = document["convention"].get("id_subset", "all") == "all"
    shifted = inside.get("shifted") or []
    found = {
        "shifted sets": ", ".join(f"{s['name']} ({s['n']} rows)" for s in shifted) or "none",
        # of the rows that are classified right each model has others
        "in-distribution rows": inside.get("n") if every_row else None,
        **{f"rows of {r['ood']}": r.get("n_ood") for r in document["results"]},
    }
    return {what: value for what, value in found.items() if value is not None}


def _pooled(
    runs: Sequence[Sequence[Mapping[str, Any]]],
    keys: tuple[str, ...],
    metrics: tuple[str, ...],
    ddof: int,
) -> tuple[dict[str, Any], ...]:
    """One row for each combination of the keys' values, in the order they first come."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        for row in run:
            found.setdefault(tuple(row[key] for key in keys), []).append(row)
    pooled = []
    for place, rows in found.items():
        row = {**dict(zip(keys, place, strict=True)), "runs": len(rows)}
        for metric in metrics:
            if metric in rows[0]:
                mean, spread = _mean_and_deviation([r[metric] for r in rows], ddof)
                row |= {metric: mean, f"{metric}_std": spread}
        pooled.append(row)
    return tuple(pooled)


def _mean_and_deviation(
    values: Sequence[float | None], ddof: int
) -> tuple[float | None, float | None]:
    """None where a run has no figure; no deviation of a single run."""
    numbers = [v for v in values if isinstance(v, int | float)]
    if len(numbers) < len(values):
        return None, None
    mean = statistics.fmean(numbers)
    if len(numbers) < 2:
        return mean, None
    return mean, statistics.stdev(numbers) if ddof else statistics.pstdev(numbers)
