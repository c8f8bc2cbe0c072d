"""The report of an evaluation as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from ood_toolkit.errors import MissingDependency
from ood_toolkit.report.leaderboard import Board, leaderboards, percent
from ood_toolkit.report.payload import payload
from ood_toolkit.report.results import Results, number

__all__ = ["render", "require_jinja2"]

_RULES = {
    "id_positive": "share of OOD scores at or above the threshold that keeps {tpr} % of ID rows",
    "ood_positive": "share of ID scores at or below the threshold that finds {tpr} % of OOD rows",
    "openood": "as OpenOOD's code computes it, OOD positive, dropped ROC points included",
    "odin": "mean over thresholds whose TPR is within 0.05 % of {tpr} %",
    "nearest_id": "at the threshold whose share of ID rows is nearest to {tpr} %",
    "nearest_ood": "at the threshold whose share of OOD rows is nearest to {tpr} %",
}
_AUPR = {"step": "average precision (steps)", "trapezoid": "straight lines between points"}
_SUBSETS = {"all": "all rows", "correct": "correctly classified rows only"}


def render(results: Mapping[str, Any], *, title: str = "") -> str:
    """The page of an evaluation: leaderboard, curves, specimens, and how it was made.

    Parameters
    ----------
    results : mapping
        The document that `evaluate` and `benchmark` write with ``--json-out``, or that
        `Evaluation.to_json` returns.  Curves are drawn where it holds `pictures`.
    title : str
        Heading; by default the name of the in-distribution set.

    Returns
    -------
    str
        One HTML file: styles, script and figures are inside, and it asks no network.

    Raises
    ------
    InputError
        If the mapping is no results document, or has no results.
    MissingDependency
        If jinja2 is not installed.

    Examples
    --------
    >>> pair = {"method": "energy", "ood": "svhn", "group": "far", "n_ood": 9, "auroc": 0.9,
    ...         "fpr": 0.4}
    >>> page = render({
    ...     "schema": 1, "convention": {"fpr_at_tpr": 0.95}, "id": {"name": "cifar10", "n": 9},
    ...     "results": [pair], "means": [{"method": "energy", "group": "all", "auroc": 0.9}]})
    >>> page[:15], "energy" in page
    ('<!doctype html>', True)
    """
    found = Results(results)
    style, script = _resource("page.css"), _resource("charts.js") + _resource("page.js")
    boards = leaderboards(found)
    return str(
        _template().render(
            title=title or f"Out-of-distribution detection: {found.document['id']['name']}",
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            results=found,
            document=found.document,
            boards=boards,
            best=[_best(board) for board in boards],
            families=sorted({found.family(m) for m in found.methods}),
            convention=_convention(found),
            made=_made(found.document.get("run") or {}),
            payload=payload(found),
        )
    )


def require_jinja2() -> Any:
    """The library, or what to install; asked before an evaluation of hours whose page needs it."""
    try:
        import jinja2
    except ImportError:
        raise MissingDependency("jinja2", "report", "the HTML report") from None
    return jinja2


def _template() -> Any:
    jinja2 = require_jinja2()
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "thousands": _thousands, "breakable": _breakable}
    return environment.from_string(_resource("page.html.jinja"))


def _resource(name: str) -> str:
    return (files("ood_toolkit.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _thousands(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{found:,.0f}"


def _breakable(name: str) -> Any:
    """A name that may be broken after an underscore; everything else in it is escaped."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _best(board: Board) -> dict[str, Any]:
    """The first row of a board, and what the heading says of it."""
    first = board.rows[0]
    return {
        "title": board.title,
        "method": first.method,
        "auroc": first.cells[0],
        "fpr": first.cells[1],
        "fpr_title": board.columns[1].title,
    }


def _convention(found: Results) -> list[tuple[str, str]]:
    """The choices that published tables leave unsaid, as a list of terms."""
    rule = found.document["convention"]
    tpr = f"{100 * rule['fpr_at_tpr']:g}"
    name = str(rule.get("fpr_rule", "id_positive"))
    says = _RULES.get(name, "").format(tpr=tpr)
    aupr = str(rule.get("aupr", "step"))
    subset = str(rule.get("id_subset", "all"))
    tests = found.document.get("comparisons") or {}
    terms = [
        ("Positive class", "in-distribution (ID); a higher score means more in-distribution"),
        (f"FPR@{tpr} TPR", f"{name}: {says}" if says else name),
        ("AUPR", f"{aupr}: {_AUPR[aupr]}" if aupr in _AUPR else aupr),
        ("ID rows counted", _SUBSETS.get(subset, subset)),
        ("Means", "unweighted over the sets of a group; synthetic sets are not in “All sets”"),
        (
            "Intervals",
            "95 %, the small print in cells; AUROC and its means by DeLong’s variances and "
            "Student’s t on the logit scale, FPR by the likelihood ratio of both sets, AUPR by "
            "Student’s t on the logit scale, less the bias that a stratified bootstrap shows",
        ),
        (
            "Bands",
            "pointwise: at each drawn threshold TPR and FPR lie in Wilson intervals that hold "
            "both with 95 %; the band joins the corners of these rectangles",
        ),
    ]
    if tests:
        correction, level = tests.get("correction", "none"), percent(tests.get("level"), 0)
        said = f"methods that share a letter are not told apart at {level} % by a "
        said += f"{tests.get('test', '')} test of every two means, corrected ({correction})"
        terms.append(("Ties", said))
    return terms


def _made(run: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The manifest of the run, the command first, as terms and texts or inner lists."""
    first = [key for key in ("command", "argv") if key in run]
    return [
        (key.replace("_", " "), _told(key, run[key]))
        for key in [*first, *(k for k in run if k not in first)]
    ]


def _told(key: str, value: Any) -> Any:
    """A text; a table, for a list of alike entries; or a list of terms where there is more."""
    if isinstance(value, Mapping):
        if not any(isinstance(v, Mapping | list | tuple) for v in value.values()):
            return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
        return [(str(k).replace("_", " "), _told(str(k), v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        if key in ("command", "argv"):
            return shlex.join(str(v) for v in value)
        if value and all(isinstance(v, Mapping) for v in value):
            names = list(dict.fromkeys(name for entry in value for name in entry))
            kept = [n for n in names if any(entry.get(n) not in (None, "") for entry in value)]
            lines = [[_text(entry.get(name)) for name in kept] for entry in value]
            return {"columns": kept, "lines": lines}
        return ", ".join(_text(v) for v in value)
    return _text(value)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)
