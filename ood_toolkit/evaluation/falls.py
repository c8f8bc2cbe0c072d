"""What a later run does worse than the first, and what of the first it does not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ood_toolkit.evaluation.side_by_side import Results, counted_rows, is_number

__all__ = ["Missing", "Worse", "missing_pairs", "other_sets", "worse_pairs"]


@dataclass(frozen=True, slots=True)
class Worse:
    """A pair that a later run does worse on than the first."""

    file: str
    method: str
    ood: str
    baseline: float
    auroc: float


def worse_pairs(runs: Sequence[Results], margin: float | None = None) -> list[Worse]:
    """Pairs of method and set whose AUROC fell from the first run to a later one.

    Parameters
    ----------
    runs : sequence of Results
        The first is what the others are held against; pairs that it lacks are passed over.
        Those that a later run lacks are for `missing_pairs` to name.
    margin : float, optional
        How far an AUROC may fall, in [0, 1].  By default to the lower end of the first run's
        interval, or not at all where it has none.

    Returns
    -------
    list of Worse
        In the order of the files.
    """
    found = []
    baseline, *others = runs
    for run in others:
        for (method, ood), before in baseline.pairs.items():
            now = run.pairs.get((method, ood))
            if now is None or not is_number(before["auroc"]) or not is_number(now["auroc"]):
                continue
            interval = before.get("auroc_ci")
            least = interval[0] if interval and is_number(interval[0]) else before["auroc"]
            if margin is not None:
                least = before["auroc"] - margin
            if now["auroc"] < least:
                found.append(Worse(run.name, method, ood, before["auroc"], now["auroc"]))
    return found


@dataclass(frozen=True, slots=True)
class Missing:
    """A pair of the first run that cannot be held against a later one, and which has no AUROC."""

    file: str
    method: str
    ood: str
    lacks: str


def missing_pairs(runs: Sequence[Results]) -> list[Missing]:
    """Pairs of the first run that it, or a later one, has no AUROC of: none is known to hold.

    Parameters
    ----------
    runs : sequence of Results
        The first is what the others are held against.

    Returns
    -------
    list of Missing
        In the order of the files.  Empty also where the first run has no pairs at all.
    """
    baseline, *others = runs
    found = []
    for run in others:
        for pair in baseline.pairs:
            lacking = [r.name for r in (baseline, run) if not _has_auroc(r, pair)]
            if lacking:
                found.append(Missing(run.name, *pair, " and ".join(lacking)))
    return found


def _has_auroc(run: Results, pair: tuple[str, str]) -> bool:
    return is_number(run.pairs.get(pair, {}).get("auroc"))


def other_sets(runs: Sequence[Results]) -> list[str]:
    """How the data sets of later runs differ from those of the first; a line a run that does."""
    baseline, *others = runs
    lines = []
    for run in others:
        why = []
        if run.id_name != baseline.id_name:
            why.append(f"in-distribution {run.id_name}, not {baseline.id_name}")
        if counted_rows(run) != counted_rows(baseline):
            why.append(f"{counted_rows(run)} in-distribution rows counted, not "
                       f"{counted_rows(baseline)}")  # fmt: skip
        if None not in (run.id_rows, baseline.id_rows) and run.id_rows != baseline.id_rows:
            why.append(f"{run.id_rows} in-distribution rows, not {baseline.id_rows}")
        own, first = _set_rows(run), _set_rows(baseline)
        why += [f"{name} has {own[name]} rows, not {first[name]}" for name in first
                if name in own and own[name] != first[name]]  # fmt: skip
        for words, names in (("without", first.keys() - own), ("also with", own.keys() - first)):
            if names:
                why.append(f"{words} {', '.join(sorted(names))}")
        if why:
            lines.append(f"{run.name} is about other data sets than {baseline.name}: "
                         f"{'; '.join(why)}")  # fmt: skip
    return lines


def _set_rows(run: Results) -> dict[str, Any]:
    """Rows of each out-of-distribution set, None where the file does not say."""
    return {ood: pair.get("n_ood") for (_, ood), pair in run.pairs.items()}
