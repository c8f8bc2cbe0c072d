"""Far field and fragility of many scores on one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from ood_toolkit.detectors.catalogue import make_detector, method_of
from ood_toolkit.detectors.planner import fit_method, unmet_needs
from ood_toolkit.errors import BadParameter
from ood_toolkit.evaluation.failing import why_it_failed
from ood_toolkit.evaluation.far_field import FACTORS, FarField, far_field
from ood_toolkit.evaluation.fragility import SHARES, Fragility, fragility
from ood_toolkit.evaluation.records import MethodNote, plain
from ood_toolkit.outputs import Outputs
from ood_toolkit.protocols import Detector, Scorer

__all__ = ["Stress", "StressReport", "sampled", "stress"]


@dataclass(frozen=True, slots=True)
class Stress:
    """Both checks of one score."""

    method: str
    far_field: FarField
    fragility: Fragility | None


@dataclass(frozen=True, slots=True)
class StressReport:
    """What `stress` found.

    Attributes
    ----------
    n : int
        Rows that rays went through and decisions were made on.
    results : tuple of Stress
        In the order of the methods; a score of a record without logits has no fragility.
    skipped, failed : tuple of MethodNote
        Methods whose needs were not met, and those that could not run.
    """

    n: int
    results: tuple[Stress, ...]
    skipped: tuple[MethodNote, ...]
    failed: tuple[MethodNote, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of schema 1: plain types, undefined figures as None."""
        document = {"schema": 1, "toolkit": version("ood_toolkit"), **asdict(self)}
        converted: dict[str, Any] = plain(document)
        return converted


def stress(
    methods: str | Sequence[str | Detector],
    x: Outputs,
    *,
    scorers: Mapping[str, tuple[Scorer, float | None]] | None = None,
    train: Outputs | None = None,
    id_val: Outputs | None = None,
    rows: int = 1000,
    tpr: float = 0.95,
    factors: Sequence[float] = FACTORS,
    shares: Sequence[float] = SHARES,
    skip_unmet: bool = False,
    progress: Callable[[str], None] = lambda label: None,
) -> StressReport:
    """Follow scores far away from the data, and count decisions that are easy to flip.

    Parameters
    ----------
    methods : str or sequence of str or detectors
        What to score with.
    x : Outputs
        In-distribution rows.
    scorers : mapping of str to (scorer, float or None), optional
        Scorers already fitted besides, by name, each with its threshold or None.
    train, id_val : Outputs, optional
        What methods are fitted on.
    rows : int
        At most so many rows are used, evenly spread over the record; at least 1.
    tpr : float
        Share of the rows that a score without a threshold of its own accepts.
    factors : sequence of float
        How far out, as of `far_field`.
    shares : sequence of float
        How far probabilities are moved, as of `fragility`.
    skip_unmet : bool
        Whether a method that lacks something it needs is skipped instead of failing.
    progress : callable, optional
        Called with a label after each method.

    Returns
    -------
    StressReport
        One entry a method.

    Raises
    ------
    BadParameter
        If `rows`, `tpr`, a factor or a share is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> z = 3 * np.random.default_rng(0).normal(size=(200, 5))
    >>> found = stress("energy", ood.Outputs(logits=z)).results[0]
    >>> found.far_field.rising > 0.95, found.fragility.lost[-1]
    (True, 0.0)
    """
    if rows < 1:
        raise BadParameter(f"rows must be at least 1, got {rows}")
    used = sampled(x, rows)
    results: list[Stress] = []
    skipped: list[MethodNote] = []
    failed: list[MethodNote] = []

    def judge(name: str, scorer: Scorer, threshold: float | None) -> None:
        movable = used.logits is not None or used.members is not None
        results.append(
            Stress(
                name,
                far_field(scorer, used, factors),
                fragility(scorer, used, threshold=threshold, tpr=tpr, shares=shares)
                if movable or used.token_logits is not None
                else None,
            )
        )

    for name, (scorer, threshold) in (scorers or {}).items():
        judge(name, scorer, threshold)
        progress(name)
    for item in [methods] if isinstance(methods, str) else methods:
        made = make_detector(item) if isinstance(item, str) else item
        row = method_of(made)
        reason = unmet_needs(row, used, train)
        if reason:
            (skipped if skip_unmet else failed).append(MethodNote(row.name, reason))
        else:
            try:
                judge(row.name, fit_method(made, train, id_val), None)
            except BadParameter:
                raise
            except Exception as error:  # noqa: BLE001, any library may raise any kind
                failed.append(MethodNote(row.name, why_it_failed(row.name, error)))
        progress(row.name)
    return StressReport(len(used), tuple(results), tuple(skipped), tuple(failed))


def sampled(x: Outputs, rows: int) -> Outputs:
    """At most `rows` rows, evenly spread."""
    if len(x) <= rows:
        return x
    return x.rows(np.linspace(0, len(x) - 1, rows).astype(np.int64))
