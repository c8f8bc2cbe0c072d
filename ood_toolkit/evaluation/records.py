"""What an evaluation found, and the document it is written as."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import BadParameter
from ood_toolkit.evaluation.comparison import Comparison
from ood_toolkit.evaluation.groups import groups_of
from ood_toolkit.evaluation.kept_scores import KeptScores
from ood_toolkit.io.gate import printable
from ood_toolkit.metrics import AUPR_ESTIMATORS, FPR_RULES

if TYPE_CHECKING:
    from ood_toolkit.evaluation.tables import Table

__all__ = [
    "Convention",
    "Evaluation",
    "MethodNote",
    "PairResult",
    "ShiftedSet",
    "note_lines",
    "plain",
]

SCHEMA = 1


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
    aupr_in_ci: tuple[float, float] | None = None
    aupr_out_ci: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class MethodNote:
    """A method that has no result, and why."""

    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class ShiftedSet:
    """A set of the same classes under a shift, whose rows count as in-distribution."""

    name: str
    n: int
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything one evaluation found; shown as a table, in a notebook too.

    Attributes
    ----------
    id_name, n_id, accuracy
        The in-distribution set: its name (joined by "+" to those of shifted sets), the rows
        that entered, the classifier's accuracy on the test rows alone (None without labels).
    results : tuple of PairResult
        One for each method and out-of-distribution set.
    skipped, failed : tuple of MethodNote
        Methods that lack something they need, and methods that raised an error.
    timings : mapping of str to dict
        Seconds each method took to fit and to score, on the clock and (`fit_cpu`, `score_cpu`)
        of the processor; methods scored in one shared pass share its time equally; and to tune,
        where that was asked for.  `side_by_side`: how many methods ran at once, each in a
        process of its own, where it was more than one.
    tuning : mapping
        What hyper-parameters were chosen on ("none", "id", "ood"), and which, by method.
    shifted : tuple of ShiftedSet
        Sets that count as in-distribution beside the test rows.
    held_out : mapping of str to str
        Where methods that hold rows out of the training set took them from.
    comparison : Comparison or None
        Which methods can be told apart; None where it was not asked for or there are too few
        rows.
    run : mapping
        Versions, command, inputs and machine.
    pictures : mapping or None
        What a report draws.
    scores : KeptScores or None
        Scores of every row, where they were to be kept.
    whole_catalogue : bool
        Whether no method was asked for by name; those that were skipped are then not shown.
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
    shifted: tuple[ShiftedSet, ...] = ()
    held_out: Mapping[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Any] | None = None
    scores: KeptScores | None = None
    whole_catalogue: bool = False

    def methods(self) -> tuple[str, ...]:
        """Names of the methods that have results."""
        return tuple(dict.fromkeys(r.method for r in self.results))

    def means(self) -> list[dict[str, Any]]:
        """Unweighted means over the sets of each group, and over all but synthetic ones."""
        rows = []
        for name in self.methods():
            own = [r for r in self.results if r.method == name]
            for group, sets in groups_of({r.ood: r.group for r in own}).items():
                members = [r for r in own if r.ood in sets]
                row: dict[str, Any] = {
                    "method": name,
                    "group": group,
                    "auroc": math.fsum(r.auroc for r in members) / len(members),
                    "fpr": math.fsum(r.fpr for r in members) / len(members),
                }
                if self.comparison is not None:
                    row["auroc_ci"] = self.comparison.mean_interval(name, group)
                rows.append(row)
        return rows

    def to_json(self) -> dict[str, Any]:
        """The document of schema 1: plain types, undefined figures as None."""
        converted: dict[str, Any] = plain(
            {
                "schema": SCHEMA,
                "toolkit": self.toolkit,
                "convention": {"positive": "id", **asdict(self.convention)},
                "id": {"name": self.id_name, "n": self.n_id, "accuracy": self.accuracy}
                | ({"shifted": [asdict(s) for s in self.shifted]} if self.shifted else {}),
                "results": [asdict(r) for r in self.results],
                "means": self.means(),
                "skipped": [asdict(s) for s in self.skipped],
                "failed": [asdict(f) for f in self.failed],
                "timings": {name: dict(t) for name, t in self.timings.items()},
                "tuning": dict(self.tuning),
                "held_out": [
                    {"method": name, "held_out_from": origin}
                    for name, origin in self.held_out.items()
                ],
                "comparisons": self.comparison.to_json() if self.comparison else None,
                "run": dict(self.run),
                **({} if self.pictures is None else {"pictures": self.pictures}),
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
        measured = [name for name in PairResult.__slots__ if name.endswith("_ci")]
        bounds = [f"{m.removesuffix('_ci')}_{side}" for m in measured for side in ("low", "high")]
        writer.writerow(fields + bounds)
        for r in self.results:
            intervals = [end for m in measured for end in (getattr(r, m) or ("", ""))]
            values = [getattr(r, name) for name in fields]
            writer.writerow(["" if v is None else plain(v) for v in values + intervals])
        return text.getvalue()

    def table(self, **shown: Any) -> Table:
        """The leaderboard, best mean AUROC first; `leaderboard` says what can be shown."""
        from ood_toolkit.evaluation.tables import leaderboard

        return leaderboard(self.to_json(), **shown)

    def plot(self) -> Any:
        """The leaderboard as a matplotlib figure."""
        from importlib import import_module

        return import_module("ood_toolkit.report.figures").leaderboard_figure(self.to_json())

    def _notes(self) -> list[str]:
        """What to say below the table: methods without results."""
        skipped = () if self.whole_catalogue else self.skipped
        lines = note_lines([asdict(s) for s in skipped], [asdict(f) for f in self.failed])
        return lines if self.results else ["No method could run.", *lines]

    def __str__(self) -> str:
        table = [self.table().to_text(), ""] if self.results else []
        return "\n".join([*table, *self._notes()]).rstrip()

    def _repr_html_(self) -> str:
        table = self.table().to_html() if self.results else ""
        return table + "".join(f"<p>{html.escape(line)}</p>" for line in self._notes())


def note_lines(
    skipped: Sequence[Mapping[str, str]], failed: Sequence[Mapping[str, str]]
) -> list[str]:
    """A line for each reason why methods were skipped, then one for each method that failed."""
    reasons: dict[str, list[str]] = {}
    for note in skipped:
        reasons.setdefault(note["reason"], []).append(note["method"])
    lines = [f"Skipped: {', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return lines + [f"Failed: {note['method']}: {note['reason']}" for note in failed]


def plain(value: Any) -> Any:
    """The same tree with tuples as lists, undefined numbers as None, and texts that can be written.

    Texts are as `printable` has them: UTF-8 does not hold every name of a file.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {plain(key): plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
