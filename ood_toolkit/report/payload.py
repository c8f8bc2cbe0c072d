"""What the page's script draws from: the pictures of the results, by number instead of by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ood_toolkit.report.results import ALL, Results, number

__all__ = ["IMAGE_BUDGET", "payload"]

IMAGE_BUDGET = 1024 * 1024
"""Bytes of all thumbnails on a page together."""


def payload(results: Results) -> dict[str, Any]:
    """Plain types for one JSON block.

    `methods` and `sets` are lists; `pairs[m][s]` holds a histogram `h` = [low, high, ID counts,
    OOD counts] and the counts `c` = [ID, OOD] at or above each threshold, or null; `extremes`
    likewise, with the in-distribution set last; `specimens[s][row]` what is shown of a row.
    """
    sets = {s.name: n for n, s in enumerate(results.sets)}
    methods = {method: n for n, method in enumerate(results.methods)}
    pairs: list[list[Any]] = [[None] * len(sets) for _ in methods]
    for found in results.pictures.get("pairs", ()):
        if found["method"] in methods and found["ood"] in sets:
            pairs[methods[found["method"]]][sets[found["ood"]]] = _pair(found)
    places = {**sets, "": len(sets)}
    extremes: list[list[Any]] = [[[] for _ in places] for _ in methods]
    for found in results.pictures.get("extremes", ()):
        if found["method"] in methods and found["set"] in places:
            extremes[methods[found["method"]]][places[found["set"]]] = found["rows"]
    return {
        "id": results.document["id"].get("name") or "ID",
        "tpr": results.document["convention"]["fpr_at_tpr"],
        "sets": [{"name": s.name, "group": s.group, "rows": s.rows} for s in results.sets],
        "methods": [_method(results, method) for method in results.methods],
        "first": methods[results.ranked(results.tabs()[0].group)[0]],
        "pairs": pairs,
        "figures": [[_figures(results, m, s.name) for s in results.sets] for m in results.methods],
        "extremes": extremes,
        "specimens": _specimens(results, places),
        "classifier": (results.pictures.get("classifier") or {}).get("bins", []),
    }


def _pair(picture: Mapping[str, Any]) -> dict[str, Any]:
    bins, counts = picture["histogram"], picture["at_or_above"]
    return {
        "h": [bins["low"], bins["high"], bins["id"], bins["ood"]],
        "c": [counts["id"], counts["ood"]],
    }


def _figures(results: Results, method: str, ood: str) -> list[float | None]:
    """AUROC, FPR and both AUPR of a pair, to four decimals, for the caption."""
    row = results.pair(method, ood)
    values = [number(row.get(k)) for k in ("auroc", "fpr", "aupr_in", "aupr_out")]
    return [None if v is None else round(v, 4) for v in values]


def _method(results: Results, name: str) -> dict[str, Any]:
    about = results.about(name)
    curve = about.get("risk_coverage") or {"coverage": [], "risk": [], "rows": 0}
    groups = about.get("accuracy_by_score", ())
    return {
        "name": name,
        "family": results.family(name),
        "reference": about.get("reference", ""),
        "summary": about.get("summary", ""),
        "risk": [curve["coverage"], curve["risk"], curve["rows"]],
        "groups": [[g["low"], g["high"], g["rows"], g["right"]] for g in groups],
        "cost": results.cost(name),
        "auroc": number(results.mean(name, ALL).get("auroc")),
    }


def _specimens(results: Results, places: Mapping[str, int]) -> list[dict[str, Any]]:
    """By number of the set, the rows that can be shown, as far as the budget for pictures goes."""
    shown: list[dict[str, Any]] = [{} for _ in places]
    left = IMAGE_BUDGET
    for one in results.pictures.get("specimens", ()):
        if one["set"] not in places:
            continue
        kept = {k: one[k] for k in ("label", "prediction", "text") if k in one}
        image = str(one.get("image", ""))
        # only what a results file holds on purpose: never an address that asks a network
        if image.startswith("data:image/png;base64,") and len(image) <= left:
            left -= len(image)
            kept["image"] = image
        shown[places[one["set"]]][str(one["row"])] = kept
    return shown
