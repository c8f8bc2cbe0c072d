"""What an evaluation found, and the document it is written as."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ood_toolkit.errors import BadParameter
from ood_toolkit.metrics import AUPR_ESTIMATORS, FPR_RULES

__all__ = ["Convention", "Evaluation", "MethodNote", "PairResult", "plain"]

SCHEMA = 1
SYNTHETIC = "synthetic"
"""Group of sanity sets; they are reported but left out of the means over all sets."""


@dataclass(frozen=True, slots=True)
class Convention:
    """The choices that published tables leave unsaid."""

    fpr_at_tpr: float = 0.95
    fpr_rule: str = "id_positive"
    aupr: str = "step"
    id_subset: str = "all"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("fpr_rule", self.fpr_rule, FPR_RULES),
            ("aupr", self.aupr, AUPR_ESTIMATORS),
        ):
            if value not in known:
                raise BadParameter(f"{name} is one of {', '.join(known)}, got {value!r}")
        if self.id_subset not in ("all", "correct"):
            raise BadParameter(f"id_subset is all or correct, got {self.id_subset!r}")
        if not 0.0 < self.fpr_at_tpr <= 1.0:
            raise BadParameter(f"tpr must lie in (0, 1], got {self.fpr_at_tpr}")


@dataclass(frozen=True, slots=True)
class PairResult:
    """One method on one out-of-distribution set; fractions, not percent."""

    method: str
    ood: str
    group: str
    n_ood: int
    auroc: float
    auroc_ci: tuple[float, float] | None
    fpr: float
    fpr_ci: tuple[float, float] | None
    aupr_in: float
    aupr_out: float
    detection_error: float
    autc: float
    ccr_at_fpr: float | None
    oscr: float | None


@dataclass(frozen=True, slots=True)
class MethodNote:
    """A method that has no result, and why."""

    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything one evaluation found.

    Attributes
    ----------
    id_name, n_id, accuracy
        The in-distribution set: its name, the rows that entered, the classifier's accuracy
        on all of its rows (None where there are no labels).
    results : tuple of PairResult
        One for each method and out-of-distribution set.
    skipped, failed : tuple of MethodNote
        Methods whose needs the files do not meet, and methods that raised an error.
    timings : mapping of str to dict
        Seconds each method took to fit and to score; methods scored in one shared pass
        share its time equally; and to tune, where that was asked for.
    tuning : mapping
        What hyper-parameters were chosen on ("none", "id", "ood"), and which, by method.
    """

    id_name: str
    n_id: int
    accuracy: float | None
    convention: Convention
    results: tuple[PairResult, ...]
    skipped: tuple[MethodNote, ...]
    failed: tuple[MethodNote, ...]
    timings: Mapping[str, Mapping[str, float]]
    toolkit: str
    tuning: Mapping[str, Any] = field(default_factory=lambda: {"on": "none", "methods": []})

    def methods(self) -> tuple[str, ...]:
        """Names of the methods that have results."""
        return tuple(dict.fromkeys(r.method for r in self.results))

    def means(self) -> list[dict[str, Any]]:
        """Unweighted means over the sets of each group, and over all but synthetic ones."""
        rows = []
        for name in self.methods():
            own = [r for r in self.results if r.method == name]
            groups = {
                g: [r for r in own if r.group == g] for g in dict.fromkeys(r.group for r in own)
            }
            groups["all"] = [r for r in own if r.group != SYNTHETIC] or own
            for group, members in groups.items():
                if not group:
                    continue
                rows.append(
                    {
                        "method": name,
                        "group": group,
                        "auroc": math.fsum(r.auroc for r in members) / len(members),
                        "fpr": math.fsum(r.fpr for r in members) / len(members),
                    }
                )
        return rows

    def to_json(self) -> dict[str, Any]:
        """The document of schema 1: plain types, undefined figures as None."""
        converted: dict[str, Any] = plain(
            {
                "schema": SCHEMA,
                "toolkit": self.toolkit,
                "convention": {"positive": "id", **asdict(self.convention)},
                "id": {"name": self.id_name, "n": self.n_id, "accuracy": self.accuracy},
                "results": [asdict(r) for r in self.results],
                "means": self.means(),
                "skipped": [asdict(s) for s in self.skipped],
                "failed": [asdict(f) for f in self.failed],
                "timings": {name: dict(t) for name, t in self.timings.items()},
                "tuning": dict(self.tuning),
            }
        )
        return converted

    def to_csv(self) -> str:
        """One line a result, with a header."""
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        fields = [name for name in PairResult.__slots__ if not name.endswith("_ci")]
        bounds = [f"{m}_{side}" for m in ("auroc", "fpr") for side in ("low", "high")]
        writer.writerow(fields + bounds)
        for r in self.results:
            intervals = [*(r.auroc_ci or ("", "")), *(r.fpr_ci or ("", ""))]
            values = [getattr(r, name) for name in fields]
            writer.writerow(["" if v is None else v for v in values + intervals])
        return text.getvalue()


def plain(value: Any) -> Any:
    """The same tree with tuples as lists and undefined numbers as None."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
