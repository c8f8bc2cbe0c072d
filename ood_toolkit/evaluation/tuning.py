"""Choosing hyper-parameters: from in-distribution rows alone, or on given validation outliers."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ood_toolkit.detectors.catalogue import (
    PSEUDO_OUTLIERS,
    Method,
    make_detector,
    method_of,
    parameter_values,
)
from ood_toolkit.detectors.held_out import held_out_or_split
from ood_toolkit.detectors.planner import fit_method, score_together, unmet_needs
from ood_toolkit.errors import BadParameter, InputError, ToolkitWarning
from ood_toolkit.evaluation.failing import why_it_failed
from ood_toolkit.evaluation.leakage import content_digest
from ood_toolkit.evaluation.pseudo_outliers import pseudo_outliers
from ood_toolkit.evaluation.records import plain
from ood_toolkit.given import expect_records
from ood_toolkit.metrics import auroc
from ood_toolkit.outputs import Outputs
from ood_toolkit.protocols import Detector

__all__ = ["OOD_ROWS", "Candidate", "Tuned", "Tuning", "tune"]

OOD_ROWS = "OOD validation rows"
"""The rule where outliers are given."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting that was tried.

    Attributes
    ----------
    parameters : mapping
        The tuned hyper-parameters only.
    auroc : float or None
        On the validation rows; None where the setting cannot be fitted or has no scores.
    reason : str
        Why.
    """

    parameters: Mapping[str, Any]
    auroc: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was chosen, and from what.

    Attributes
    ----------
    detector : Detector
        With the chosen hyper-parameters, not fitted.
    rule : str
        "OOD validation rows", "pseudo-outliers", or the rule of the catalogue row that leaves
        the detector as it is.
    parameters : mapping
        The chosen values of the tuned hyper-parameters; empty where nothing was compared.
    candidates : tuple of Candidate
        Every setting that was compared, the detector's own first.
    rows : mapping of str to int
        Rows that candidates were fitted on (`fit`), and that AUROC was measured on
        (`held_out`, `outliers`).
    held_out_from : str
        "id_val", or the rule by which training rows were held out.
    """

    detector: Detector
    rule: str
    parameters: Mapping[str, Any]
    candidates: tuple[Candidate, ...] = ()
    rows: Mapping[str, int] | None = None
    held_out_from: str = ""

    @property
    def auroc(self) -> float | None:
        """Of the chosen setting, on the validation rows."""
        known = [c.auroc for c in self.candidates if c.auroc is not None]
        return max(known, default=None)

    def to_json(self) -> dict[str, Any]:
        """Plain types, as `evaluate` records them."""
        document: dict[str, Any] = plain(
            {
                "method": method_of(self.detector).name,
                "rule": self.rule,
                "parameters": parameter_values(self.detector),
                "tuned": dict(self.parameters),
                "auroc": self.auroc,
                "rows": self.rows,
                "held_out_from": self.held_out_from or None,
                "candidates": [asdict(c) for c in self.candidates],
            }
        )
        return document


def tune(
    detector: Detector | str,
    train: Outputs | None,
    validation: Outputs | None = None,
    ood: Outputs | None = None,
) -> Tuned:
    """Choose a detector's hyper-parameters from its grid in the catalogue.

    With `ood`, the setting with the largest AUROC of `validation` against those rows.  Without,
    as the row's `auto` says: the published default, a rule inside the fit, or the setting that
    best separates held-out rows from pseudo-outliers, midpoints between rows of different classes.
    Ties go to the detector's own setting, then to the earliest of the grid.  Parameters that
    differ from their defaults are kept as they are.

    Parameters
    ----------
    detector : Detector or str
        What to tune; parameters set to non-default values are kept.
    train : Outputs or None
        In-distribution rows that candidates are fitted on.
    validation : Outputs, optional
        Held-out in-distribution rows; without them the second of every five training rows of a
        class is held out from the candidates' fit.
    ood : Outputs, optional
        Out-of-distribution validation rows, none of which may be reported on.

    Returns
    -------
    Tuned
        `.detector` is to be fitted; `.candidates` lists what was compared.

    Raises
    ------
    InputError
        If rows are missing, or no setting of the grid can be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, tune
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 3
    >>> features = np.eye(3)[labels] + 0.1 * rng.normal(size=(60, 3))
    >>> train = Outputs(features=features, labels=labels)
    >>> chosen = tune("knn", train)
    >>> chosen.rule, dict(chosen.parameters)
    ('pseudo-outliers', {'k': 1})
    """
    expect_records(train=train, validation=validation, ood=ood)
    made = make_detector(detector) if isinstance(detector, str) else detector
    row = method_of(made)
    free = _free_grid(row, made)
    if ood is None and row.auto != PSEUDO_OUTLIERS:
        return Tuned(made, row.auto, {})
    rule = PSEUDO_OUTLIERS if ood is None else OOD_ROWS
    if not free:
        return Tuned(made, "nothing to choose", {})
    fit_on, held_out, origin = _rows(row, train, validation)
    outliers = pseudo_outliers(held_out) if ood is None else ood
    if len(outliers) == 0:
        raise InputError(f"{outliers.source or 'ood'}: has no rows to tune {row.name} on")
    settings = _settings(row.name, made, free)
    aurocs = _measured([d for _, d in settings], row, fit_on, held_out, outliers)
    candidates = tuple(
        Candidate(parameters, *found)
        for (parameters, _), found in zip(settings, aurocs, strict=True)
    )
    known = [i for i, c in enumerate(candidates) if c.auroc is not None]
    if not known:
        raise InputError(f"{row.name}: no setting can be tuned: {candidates[0].reason}")
    best = max(known, key=lambda i: (candidates[i].auroc, -i))
    counts = {
        "fit": len(fit_on) if row.train and fit_on is not None else 0,
        "held_out": len(held_out),
        "outliers": len(outliers),
    }
    parameters, chosen = settings[best]
    return Tuned(chosen, rule, parameters, candidates, counts, origin)


def _free_grid(row: Method, detector: Detector) -> dict[str, tuple[Any, ...]]:
    """The grid without parameters that the user has set."""
    own = parameter_values(detector)
    default = {parameter.name: parameter.default for parameter in row.parameters}
    return {key: values for key, values in row.grid.items() if own[key] == default[key]}


def _settings(
    name: str, own: Detector, grid: Mapping[str, tuple[Any, ...]]
) -> list[tuple[dict[str, Any], Detector]]:
    """Tuned parameters and detector of each setting, the detector's own first."""
    fixed = parameter_values(own)
    made = [own]
    for values in itertools.product(*grid.values()):
        other = make_detector(name, fixed | dict(zip(grid, values, strict=True)))
        if other not in made:
            made.append(other)
    return [({key: parameter_values(d)[key] for key in grid}, d) for d in made]


def _rows(
    row: Method, train: Outputs | None, validation: Outputs | None
) -> tuple[Outputs | None, Outputs, str]:
    """Rows to fit on, rows to measure on, and where these come from."""
    if train is not None:
        return held_out_or_split(row.name, train, validation)
    if validation is None or row.train:
        raise InputError(f"{row.name}: tuning needs training outputs (train=, --train)")
    if len(validation) == 0:
        raise InputError(f"{row.name}: tuning needs held-out rows, got zero rows")
    return None, validation, "id_val"


def _measured(
    detectors: list[Detector],
    row: Method,
    fit_on: Outputs | None,
    held_out: Outputs,
    outliers: Outputs,
) -> list[tuple[float | None, str]]:
    """AUROC of each detector, or why it has none; those that learn nothing share a pass."""
    found: list[tuple[float | None, str]] = []
    # of settings that nobody asked for; the chosen one is fitted again, and warns then
    unwarned = partial(warnings.catch_warnings, action="ignore", category=ToolkitWarning)
    if not row.fits:
        with unwarned():
            scorers = {str(i): fit_method(d) for i, d in enumerate(detectors)}
            inside, outside = (score_together(x, scorers) for x in (held_out, outliers))
            return [(auroc(inside[key], outside[key]), "") for key in scorers]
    for detector in detectors:
        try:
            with unwarned():
                scorer = fit_method(detector, fit_on, held_out)
                found.append((auroc(scorer.score(held_out), scorer.score(outliers)), ""))
        except Exception as error:  # noqa: BLE001, any library may raise any kind
            found.append((None, why_it_failed(row.name, error)))
    return found


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an evaluation chooses the hyper-parameters of its methods.

    Parameters
    ----------
    on : str
        "none", the published defaults; "id", from in-distribution rows alone; "ood", on the
        validation outliers.
    outliers : Outputs, optional
        With "ood".
    """

    on: str = "none"
    outliers: Outputs | None = None

    def __post_init__(self) -> None:
        if self.on not in ("none", "id", "ood") or (self.on == "ood") != (
            self.outliers is not None
        ):
            raise BadParameter(
                f'tune is "none", "id" or outputs of validation outliers, got {self.on!r}'
            )

    def unmet(self, row: Method, train: Outputs | None, validation: Outputs | None) -> str:
        """Why a method cannot be tuned on these records; empty where it can, or needs not."""
        if self.on == "none" or not row.grid:
            return ""
        if self.outliers is not None:
            reason = unmet_needs(row, self.outliers, train)
            if reason:
                return f"{reason} in the rows it is tuned on"
        elif row.auto != PSEUDO_OUTLIERS:
            return ""
        lacking = train is None and (validation is None or bool(row.train))
        return "needs training or held-out outputs to be tuned" if lacking else ""

    def choose(
        self, detector: Detector, train: Outputs | None, validation: Outputs | None
    ) -> Tuned | None:
        """The tuned detector; None where nothing is tuned."""
        if self.on == "none":
            return None
        return tune(detector, train, validation, self.outliers)

    def record(self, tuned: Mapping[str, Tuned]) -> dict[str, Any]:
        """What was chosen, and on which rows, as the evaluation's document holds it."""
        document: dict[str, Any] = {"on": self.on}
        if self.outliers is not None:
            document["source"] = self.outliers.source
            document["rows"] = len(self.outliers)
            document["sha256"] = content_digest(self.outliers)
        return {**document, "methods": [choice.to_json() for choice in tuned.values()]}
