"""Several scores made one: standardised, or ranked, by what they are in distribution."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import Method, make_detector, method, method_of
from ood_toolkit.detectors.catalogue import parameter_values as values_of
from ood_toolkit.detectors.held_out import held_out_or_split
from ood_toolkit.detectors.planner import fit_method, score_together
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require
from ood_toolkit.protocols import Detector

__all__ = ["Ensemble", "EnsembleScorer", "RankedEnsemble", "StandardizedEnsemble"]

PARTS = tuple(field.name for field in fields(Outputs))
"""Order in which the needs of the members are listed."""

COMBINATIONS = ("zscore", "fisher", "mean_rank")
"""How scores are combined."""

Member = str | Mapping[str, Any] | Detector


@method(
    "ensemble",
    family="features + head",
    needs="logits features",
    train="logits features",
    reference="Fisher, Statistical Methods for Research Workers, 1932",
    grid={"combine": COMBINATIONS},
)
@dataclass(frozen=True)
class Ensemble:
    """Scores of several methods, made comparable on in-distribution rows and then combined.

    zscore: S = mean over methods of (s - mean) / std, with the mean and the standard deviation
    of that method's held-out scores; fisher: S = sum over methods of ln p, with p = (1 + the
    number of held-out scores <= s) / (1 + n), which is -1/2 times Fisher's statistic;
    mean_rank: S = mean over methods of F(s), with F the share of held-out scores below s plus
    half of those equal to it, in [0, 1].  larger = more in-distribution.

    Nothing but in-distribution rows is used.  The methods are fitted on the training rows and
    scored on held-out ones; where none are given, the second of every five training rows of a
    class is held out from the fit.  A method whose held-out scores are all equal is divided by
    1.  With zscore, a row that one method scores -inf scores -inf.

    Parameters
    ----------
    members : list of names or detectors, or names with commas
        What is combined; a mapping ``{"method": NAME, "parameters": {...}}`` sets
        hyper-parameters in text.
    combine : "zscore", "fisher" or "mean_rank"
        Mean of the standardised scores, sum of the logarithms of p-values, or mean of ranks.

    Notes
    -----
    Fit O(N (C + N D)) time, O(N (C + D)) memory; score O(N (C + B D)) time, O(N D) memory; with
    energy and knn: its cost is that of its members.

    Works where members miss different outliers; fails where one of them is much worse than the
    rest, for all have one vote, and where held-out rows were seen in training.

    References
    ----------
    Fisher, "Statistical Methods for Research Workers", 4th edition, 1932, for the product of
    p-values; the p-values are those of Vovk et al., "Algorithmic Learning in a Random World",
    2005.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Ensemble, Outputs
    >>> rng = np.random.default_rng(0)
    >>> train = Outputs(logits=4 * np.eye(3)[np.arange(60) % 3] + rng.normal(size=(60, 3)))
    >>> scorer = Ensemble(["msp", "energy"], combine="fisher").fit(train)
    >>> scorer.score(Outputs(logits=np.array([[4.0, 0.0, 0.0], [0.5, 0.2, 0.1]]))).round(2)
    array([-0.85, -5.13])
    """

    members: str | Sequence[Member] = "energy,knn"
    combine: Literal["zscore", "fisher", "mean_rank"] = "zscore"

    def __post_init__(self) -> None:
        given: Any = self.members
        if isinstance(given, str):
            given = [name.strip() for name in given.split(",") if name.strip()]
        made = tuple(_detector(member) for member in given)
        require(len(made) > 0, "ensemble.members names no method; give at least one")
        require(
            all(made.index(member) == i for i, member in enumerate(made)),
            "ensemble.members names the same method with the same parameters twice",
        )
        require(
            self.combine in COMBINATIONS,
            f'ensemble.combine is "zscore", "fisher" or "mean_rank", got {self.combine!r}',
        )
        object.__setattr__(self, "members", made)

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """The members, each a detector."""
        return cast(tuple[Detector, ...], self.members)

    def as_method(self) -> Method:
        """The catalogue row with the needs of these members."""
        rows = [method_of(member) for member in self.detectors]
        needs = _listed(part for row in rows for part in row.needs)
        return Method(
            "ensemble",
            _family(needs),
            needs,
            _listed(part for row in rows for part in (*row.needs, *row.train)),
            _listed(part for row in rows for part in row.validation),
            "; ".join(dict.fromkeys(row.reference for row in rows)),
            frozenset(),
            type(self),
            grid={"combine": COMBINATIONS},
        )

    def parameter_values(self) -> dict[str, Any]:
        """Hyper-parameters as JSON can hold them; members at their defaults are names."""
        return {"members": tuple(map(_as_text, self.detectors)), "combine": self.combine}

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> EnsembleScorer:
        """Fit every member, and learn what its in-distribution scores are."""
        if train is None:
            raise InputError("ensemble needs training outputs")
        fit_on, held_out, origin = held_out_or_split("ensemble", train, validation)
        scorers = tuple(fit_method(member, fit_on, held_out) for member in self.detectors)
        scores = _scores(scorers, held_out)
        shared = (
            self,
            max(scorer.classes for scorer in scorers),
            max(scorer.dims for scorer in scorers),
            scorers,
            origin,
            len(fit_on),
            len(held_out),
        )
        if self.combine != "zscore":
            return RankedEnsemble(*shared, np.sort(scores, axis=1))
        for scorer, own in zip(scorers, scores, strict=True):
            if not np.isfinite(own).all():
                raise InputError(
                    located(
                        held_out,
                        f"ensemble: {scorer.name} scores held-out row "
                        f"{int(np.argmin(np.isfinite(own)))} infinite, which has no mean; use "
                        "combine=fisher or combine=mean_rank",
                    )
                )
        spread = scores.std(axis=1)
        constant = np.ptp(scores, axis=1) == 0
        return StandardizedEnsemble(*shared, scores.mean(axis=1), np.where(constant, 1.0, spread))


@dataclass(frozen=True)
class EnsembleScorer(FittedScorer):
    """What the two kinds of fitted `Ensemble` share.

    Attributes
    ----------
    scorers : tuple of FittedScorer
        The fitted members.
    origin : str
        Where the held-out rows come from.
    rows, held_out : int
        Rows that the members were fitted on, and rows that their scores were learnt from.
    """

    scorers: tuple[FittedScorer, ...]
    origin: str
    rows: int
    held_out: int

    def _score(self, x: Outputs) -> Array:
        return self.combined(_scores(self.scorers, x))

    @abstractmethod
    def combined(self, scores: Array) -> Array:
        """One number a row from the (M, N) scores of the members."""

    def report(self) -> Mapping[str, Any]:
        """Rows behind the fit and behind the comparison, and where the latter come from."""
        return {"rows": self.rows, "held_out": self.held_out, "held_out_from": self.origin}


@dataclass(frozen=True)
class StandardizedEnsemble(EnsembleScorer):
    """Fitted `Ensemble` with `combine="zscore"`.

    Attributes
    ----------
    mean, scale : (M,) arrays of float64
        Of each member's held-out scores.
    """

    mean: Array
    scale: Array

    shapes = {"mean": "M", "scale": "M"}

    def combined(self, scores: Array) -> Array:
        """Mean of the standardised scores; -inf where any of them is."""
        standard = (scores - self.mean[:, np.newaxis]) / self.scale[:, np.newaxis]
        lost = (standard == -np.inf).any(axis=0)
        standard[:, lost] = -np.inf  # not +inf - inf, which is no number
        return np.asarray(standard.mean(axis=0))


@dataclass(frozen=True)
class RankedEnsemble(EnsembleScorer):
    """Fitted `Ensemble` with `combine="fisher"` or `combine="mean_rank"`.

    Attributes
    ----------
    id_scores : (M, N) array of float64
        Sorted held-out scores of each member.
    """

    id_scores: Array

    shapes = {"id_scores": "M N"}
    infinite = frozenset({"id_scores"})

    def combined(self, scores: Array) -> Array:
        """Sum of ln p, or mean of the ranks."""
        rows = zip(self.id_scores, scores, strict=True)
        if self.detector.combine == "fisher":
            return np.asarray(np.sum([_log_p(known, new) for known, new in rows], axis=0))
        return np.asarray(np.mean([_rank(known, new) for known, new in rows], axis=0))


def _log_p(known: Array, new: Array) -> Array:
    """Ln of the share of sorted scores that are no larger, the row itself counted."""
    below = np.searchsorted(known, new, side="right")
    return np.asarray(np.log1p(below) - np.log1p(len(known)))


def _rank(known: Array, new: Array) -> Array:
    """Share of sorted scores that are smaller, plus half of those that are equal."""
    smaller = np.searchsorted(known, new, side="left")
    no_larger = np.searchsorted(known, new, side="right")
    return np.asarray((smaller + no_larger) / (2 * len(known)))


def _scores(scorers: Sequence[FittedScorer], x: Outputs) -> Array:
    """(M, N) scores; members that live on row statistics share one pass over the logits."""
    scores = score_together(x, {str(i): scorer for i, scorer in enumerate(scorers)})
    return np.array(list(scores.values()))


def _detector(member: Member) -> Detector:
    """A member as a detector, whichever way it is named."""
    if isinstance(member, str):
        return make_detector(member)
    if isinstance(member, Mapping):
        if not {"method"} <= member.keys() <= {"method", "parameters"}:
            raise BadParameter(
                'ensemble.members: a mapping has the keys "method" and "parameters", got '
                f"{', '.join(map(str, member)) or 'none'}"
            )
        return make_detector(member["method"], member.get("parameters"))
    method_of(member)  # or it is no detector
    return member


def _as_text(member: Detector) -> str | dict[str, Any]:
    name, values = method_of(member).name, values_of(member)
    if make_detector(name) == member:
        return name
    return {"method": name, "parameters": values}


def _listed(parts: Iterator[str]) -> tuple[str, ...]:
    """Each part once, in the order of `PARTS`."""
    return tuple(sorted(set(parts), key=PARTS.index))


def _family(needs: tuple[str, ...]) -> str:
    """The family a method with these needs belongs to."""
    return needs[0] if needs in (("logits",), ("members",), ("features",)) else "features + head"
