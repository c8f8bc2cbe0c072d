"""Conformal prediction sets: the classes that cannot be ruled out, with a coverage promise."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ood_toolkit.chunks import located, refuse_bad_row, warn_of_probabilities
from ood_toolkit.decision.nonconformity import conformal_quantile, nonconformity
from ood_toolkit.decision.row_chance import row_chance
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.products import chunk_of_logits, row_chunks
from ood_toolkit.kernels.softmax import predicted_softmax
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["ConformalSets", "FittedSets", "SetReport", "labels_of_sets"]

_USUAL_PENALTY = {"raps": 0.01, "saps": 0.2}


@dataclass(frozen=True)
class ConformalSets:
    """Sets of classes that contain the label of a new row with probability at least 1 - alpha.

    Parameters
    ----------
    alpha : float
        In (0, 1): largest probability that the label is not in the set.
    score : "lac", "aps", "raps" or "saps"
        What is ranked: the smallest sets on average; sets that adapt to the row; those with
        a penalty for long ones; those that trust the largest probability only.
    by_class : bool
        Whether the guarantee holds for each true class separately (Mondrian).
    randomized : bool
        Whether sets are randomised where that makes the coverage exact; no effect on "lac".  The
        random number of a row depends only on its logits and the seed: a row has the same set
        alone and in any batch.
    penalty : float, optional
        Of "raps" and "saps", at least 0; where none is given, the usual 0.01 for "raps" and 0.2
        for "saps".
    rank_free : int
        Ranks without penalty of "raps", at least 0.
    seed : int
        Of the chance.

    References
    ----------
    Sadinle, Lei & Wasserman, JASA 2019 (lac); Romano, Sesia & Candes, NeurIPS 2020 (aps);
    Angelopoulos, Bates, Malik & Jordan, ICLR 2021 (raps; their code takes the quantile
    without the N + 1); Huang, Xi, Zhang, Yao, Qiu & Wei, ICML 2024 (saps).

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs
    >>> z = np.log([[0.7, 0.2, 0.1]] * 10)
    >>> validation = Outputs(logits=z, labels=[0] * 7 + [1, 1, 2])
    >>> ConformalSets(alpha=0.2).fit(validation).sets(validation)[0]
    array([ True,  True, False])
    """

    alpha: float = 0.1
    score: Literal["lac", "aps", "raps", "saps"] = "lac"
    by_class: bool = False
    randomized: bool = True
    penalty: float | None = None
    rank_free: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        require(0.0 < self.alpha < 1.0, f"alpha must lie in (0, 1), got {self.alpha}")
        known = ("lac", "aps", "raps", "saps")
        require(self.score in known, f"score is one of {', '.join(known)}, got {self.score!r}")
        require(
            self.penalty is None or 0.0 <= self.penalty < math.inf,
            f"penalty must be at least 0 and finite, got {self.penalty}",
        )
        require(self.rank_free >= 0, f"rank_free must be at least 0, got {self.rank_free}")
        require(self.seed >= 0, f"seed must be at least 0, got {self.seed}")

    def fit(self, validation: Outputs) -> FittedSets:
        """Find the quantile, or one for each class.

        Raises
        ------
        InputError
            If logits or labels are missing or unknown, a row cannot be used, there are no
            rows, or, by class, naming a class with none.

        Warns
        -----
        ToolkitWarning
            If the logits look like probabilities; if there are too few rows, or rows of a
            class, so that every set holds all classes.
        """
        labels = labels_of_sets(validation)
        warn_of_probabilities(validation)
        scores = self.scores(validation, self.seed)[np.arange(len(labels)), labels]
        if not self.by_class:
            quantiles = np.array([conformal_quantile(scores, self.alpha)])
        else:
            present = np.bincount(labels, minlength=validation.classes)
            if not present.all():
                raise InputError(
                    located(validation, f"class {int(np.argmin(present))} has no row, and sets "
                            "by class need every class")
                )  # fmt: skip
            quantiles = np.array(
                [conformal_quantile(scores[labels == c], self.alpha) for c in range(len(present))]
            )
        if not np.isfinite(quantiles).all():
            of = f"class {int(np.argmax(quantiles))} has" if self.by_class else "there are"
            warnings.warn(
                located(
                    validation,
                    f"{of} too few rows for alpha {self.alpha:g}: every set holds "
                    f"{'that class' if self.by_class else 'every class'}; it takes "
                    f"{_rows_for(self.alpha)}",
                ),
                ToolkitWarning,
                stacklevel=2,
            )
        return FittedSets(self, validation.classes, quantiles)

    def scores(self, x: Outputs, seed: int) -> Array:
        """(N, C) nonconformity of every class of each row; `seed` is of the chance."""
        assert x.logits is not None
        chance = self.randomized and self.score != "lac"
        penalty = _USUAL_PENALTY.get(self.score, 0.0) if self.penalty is None else self.penalty
        found = np.empty((len(x), x.classes))
        for part in row_chunks(len(x), chunk_of_logits(x.classes)):
            z = np.asarray(x.logits[part])  # once, as it may be read from a file
            p, _, bad = predicted_softmax(z)
            refuse_bad_row(x, part.start + bad if bad >= 0 else -1)
            u = row_chance(z, seed) if chance else np.zeros(len(z))
            found[part] = nonconformity(
                p, self.score, u, penalty=penalty, rank_free=self.rank_free, logits=z
            )
        return found


class SetReport(NamedTuple):
    """What prediction sets did on labelled rows.

    Attributes
    ----------
    coverage : float
        Share of rows whose set holds the label.
    size : float
        Mean number of classes in a set.
    singletons : float
        Share of sets with one class: what a rule that accepts those would accept.
    singleton_accuracy : float
        Share of these that hold the label; NaN without any.
    empty : float
        Share of empty sets.
    coverage_by_class : (C,) array of float64
        NaN for classes without rows.
    """

    coverage: float
    size: float
    singletons: float
    singleton_accuracy: float
    empty: float
    coverage_by_class: Array


@dataclass(frozen=True)
class FittedSets:
    """Fitted `ConformalSets`.

    Attributes
    ----------
    rule : ConformalSets
        What was fitted.
    classes : int
        Classes it was fitted on.
    quantiles : (1,) or (C,) array of float64
        Largest nonconformity that stays in a set; infinite where there were too few rows.
    """

    rule: ConformalSets
    classes: int
    quantiles: Array

    def sets(self, x: Outputs) -> Array:
        """Which classes are in each row's set.

        Parameters
        ----------
        x : Outputs
            With logits.

        Returns
        -------
        (N, C) array of bool
            A set may be empty.

        Raises
        ------
        InputError
            If logits are missing, the classes differ, or a row cannot be used.
        """
        if x.logits is None:
            raise InputError(located(x, "prediction sets need logits"))
        if x.classes != self.classes:
            raise InputError(
                located(x, f"{x.classes} classes, but the sets were fitted on {self.classes}")
            )
        # the seed of the fit: the nonconformity is then one function of a row, and rows that
        # are exchangeable have scores that are, even where many rows share their logits
        scores = self.rule.scores(x, self.rule.seed)
        return np.asarray(scores <= self.quantiles)

    def report(self, x: Outputs) -> SetReport:
        """Coverage and size of the sets of labelled rows.

        Raises
        ------
        InputError
            If logits or labels are missing or unknown, or a row cannot be used.
        """
        labels = labels_of_sets(x)
        sets = self.sets(x)
        held = sets[np.arange(len(labels)), labels]
        size = sets.sum(axis=1)
        single = size == 1
        rows = np.bincount(labels, minlength=self.classes)
        with np.errstate(invalid="ignore"):
            by_class = np.bincount(labels[held], minlength=self.classes) / rows
        return SetReport(
            float(held.mean()),
            float(size.mean()),
            float(single.mean()),
            float(held[single].mean()) if single.any() else math.nan,
            float((size == 0).mean()),
            by_class,
        )


def _rows_for(alpha: float) -> int:
    """Fewest rows whose quantile is finite."""
    rows = max(1, math.ceil(1.0 / alpha) - 2)
    while math.isinf(conformal_quantile(np.zeros(rows), alpha)):
        rows += 1
    return rows


def labels_of_sets(x: Outputs) -> Array:
    """The labels of the rows, all known; `InputError` where one cannot be used."""
    if x.logits is None or x.labels is None:
        raise InputError(located(x, "prediction sets need logits and labels to be fitted"))
    if len(x) == 0:
        raise InputError(located(x, "prediction sets need labelled rows, there are none"))
    if (x.labels < 0).any():
        row = int(np.argmax(x.labels < 0))
        raise InputError(located(x, f"labels: row {row} is {x.labels[row]} (unknown)"))
    return x.labels
