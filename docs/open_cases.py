"""Tables of what `make cases` found: docs/open-cases.json as Markdown.

`results()` is for whoever writes about a method: AUROC on each case, where it is best and worst.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "results", "standing", "write_pages"]

ROOT = Path(__file__).parents[1]


def results() -> dict[str, Any]:
    """By case: `mean` AUROC by method, `auroc` by method and set, `absent` methods and reasons."""
    document: dict[str, Any] = json.loads(
        (ROOT / "docs" / "open-cases.json").read_text(encoding="utf-8")
    )
    return document


def standing(method: str, cases: Mapping[str, Any] | None = None) -> str:
    """Where a method stands among the others: a sentence, empty where it ran on no case.

    A set on which it beats many methods is one where it works, whatever the AUROC.
    """
    found = []
    for name, case in (results() if cases is None else cases).items():
        for outliers in case["sets"]:
            values = [row[outliers] for row in case["auroc"].values() if outliers in row]
            own = case["auroc"].get(method, {}).get(outliers)
            if own is not None and len(values) > 1:
                beaten = sum(value < own for value in values)
                place = f"`{name}` against {outliers} (AUROC {100 * own:.2f} %, ahead of {beaten}"
                found.append((beaten / (len(values) - 1), f"{place} of {len(values) - 1})"))
    if not found:
        return ""
    (_, worst), (_, best) = min(found), max(found)
    return f"On the [open cases](open-cases.md) it is strongest on {best}, weakest on {worst}."


def write_pages() -> None:
    """Put the tables between the markers of docs/open-cases.md and docs/tuning.md."""
    cases = results()
    tables = {
        "open-cases.md": {
            "cases": _cases_table(cases),
            "means": _means_table(cases),
            "absent": _absent(cases),
        },
        "tuning.md": {"tuned": _tuned_table(cases)},
    }
    for page, blocks in tables.items():
        path = ROOT / "docs" / page
        text = path.read_text(encoding="utf-8")
        for name, content in blocks.items():
            pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
            text = pattern.sub(lambda match, c=content: f"{match[1]}{c}\n{match[2]}", text)
        path.write_text(text, encoding="utf-8")


def _cases_table(cases: Mapping[str, Any]) -> str:
    rows = []
    for name, case in cases.items():
        accuracy = f"{100 * case['accuracy']:.2f}" if case["accuracy"] is not None else ""
        sets = ", ".join(f"{s} ({n})" for s, n in case["sets"].items())
        rows.append([f"`{name}`", str(case["rows"]), accuracy, sets])
    return _table(["case", "rows", "accuracy, %", "outlier sets (rows)"], rows)


def _means_table(cases: Mapping[str, Any]) -> str:
    """Whoever beats the largest share of methods first, averaged over the cases it ran on."""
    methods = list(dict.fromkeys(m for case in cases.values() for m in case["mean"]))

    def beaten(method: str) -> float:
        shares = [
            sum(value < case["mean"][method] for value in case["mean"].values()) / len(case["mean"])
            for case in cases.values()
            if method in case["mean"]
        ]
        return sum(shares) / len(shares)

    rows = []
    for method in sorted(methods, key=lambda m: -beaten(m)):
        values = [case["mean"].get(method) for case in cases.values()]
        rows.append([f"`{method}`", *("" if v is None else f"{100 * v:.2f}" for v in values)])
    return _table(["method", *(f"`{name}`" for name in cases)], rows)


def _absent(cases: Mapping[str, Any]) -> str:
    lines = []
    for name, case in cases.items():
        reasons: dict[str, list[str]] = {}
        for method, reason in case["absent"].items():
            reasons.setdefault(reason, []).append(f"`{method}`")
        lines += [
            f"- `{name}`: {', '.join(methods)}: {reason}." for reason, methods in reasons.items()
        ]
    return "\n".join(lines) or "None."


def _tuned_table(cases: Mapping[str, Any]) -> str:
    methods = list(dict.fromkeys(m for case in cases.values() for m in case["tuned"]))
    rows = []
    for method in methods:
        row = [f"`{method}`"]
        for case in cases.values():
            choice = case["tuned"].get(method)
            if choice is None or method not in case["mean"]:
                row.append("")
                continue
            values = ", ".join(f"{key} {value}" for key, value in choice["parameters"].items())
            row.append(f"{100 * case['mean'][method]:.2f} → {100 * choice['mean']:.2f} ({values})")
        rows.append(row)
    shown = [i for i in range(len(cases) + 1) if any(row[i] for row in rows)]
    heads = ["method", *(f"`{name}`" for name in cases)]
    return _table([heads[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _table(columns: list[str], rows: Iterable[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
