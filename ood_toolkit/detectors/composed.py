"""Composition: a transform, then any scorer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import Method, method_of, parameter_values
from ood_toolkit.detectors.head_check import warn_if_head_disagrees
from ood_toolkit.detectors.logit_values import Energy
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.given import fits_outputs
from ood_toolkit.kernels.products import CHUNK, row_chunks
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector, Scorer, Transform
from ood_toolkit.shaping.base import finite_features, refuse_overflow

__all__ = ["After", "Composed", "Shaping"]

LOGITS = 1 << 24
"""New logits that are held at a time."""


@dataclass(frozen=True)
class After(FittedScorer):
    """Apply a fitted transform, then score with a fitted scorer.

    Attributes
    ----------
    transform : Transform
        Changes the outputs.
    scorer : Scorer
        Judges the changed outputs.
    """

    transform: Transform
    scorer: Scorer

    def _score(self, x: Outputs) -> Array:
        finite_features(x)  # names a bad row by its place in the whole record
        step = max(1, LOGITS // (CHUNK * max(1, x.classes))) * CHUNK
        scores = np.empty(len(x))
        # a NaN is told of by its row in the whole record, and not in a part of it
        scorer = self.scorer
        judge = scorer.judged if isinstance(scorer, FittedScorer) else scorer.score
        for part in row_chunks(len(x), step):
            shaped = self.transform.apply(x.rows(part))
            refuse_overflow(self.name, x, shaped, part.start)
            scores[part] = judge(shaped)
        return scores


class Shaping(ABC):
    """A catalogue row whose method is a shaping of features or head, then energy.

    `before` puts another score in the place of energy: "react+gen" on the command line.
    """

    @abstractmethod
    def fitted(self, train: Outputs) -> Transform:
        """The transform, fitted on training outputs."""

    def before(self, base: Detector) -> Composed:
        """The same shaping, followed by another method."""
        return Composed(self, base)

    def fit(self, train: Outputs | None = None, validation: Outputs | None = None, /) -> After:
        """Learn what the shaping needs from training features."""
        return _after(self, self, Energy(), train)


@fits_outputs
@dataclass(frozen=True)
class Composed:
    """A shaping followed by a method of the catalogue.

    Parameters
    ----------
    shaping : Shaping
        Its transform is applied first.
    base : detector
        What scores the logits that follow; must need no more than logits.
    """

    shaping: Shaping
    base: Detector

    def __post_init__(self) -> None:
        row = method_of(self.base)
        if row.family != "logits":
            raise BadParameter(
                f"{row.name} cannot follow a shaping: it needs {' and '.join(row.needs)}; any "
                "method of the family logits can"
            )

    def as_method(self) -> Method:
        """The row that the catalogue would have for this composition."""
        first, second = method_of(self.shaping), method_of(self.base)
        train = dict.fromkeys(first.train)
        if second.train:
            train |= dict.fromkeys(("features", "head", *second.train))
            train.pop("logits", None)
        return Method(
            f"{first.name}+{second.name}",
            first.family,
            first.needs,
            tuple(train),
            (),
            f"{first.reference}; {second.reference}",
            first.laws & second.laws,
            type(self),
            (*first.parameters, *second.parameters),
            first.grid,
            first.chosen_by,
        )

    def parameter_values(self) -> dict[str, Any]:
        """Hyper-parameters of both, as `make_detector` takes them for the composed name."""
        return parameter_values(self.shaping) | parameter_values(self.base)

    def fit(self, train: Outputs | None = None, validation: Outputs | None = None, /) -> After:
        """Fit the shaping, then the method on what the shaped training outputs say."""
        return _after(self, self.shaping, self.base, train)


def _after(detector: object, shaping: Shaping, base: Detector, train: Outputs | None) -> After:
    name = method_of(detector).name
    needs_train = bool(method_of(shaping).train)
    if needs_train or method_of(base).train:
        if train is None or train.features is None or train.head is None:
            raise InputError(f"{name} needs training outputs with features and head")
        if len(train) == 0:
            raise InputError(f"{name} cannot be fitted on zero rows")
        warn_if_head_disagrees(name, train)
    transform = shaping.fitted(train if train is not None else Outputs())
    fit_base_on = None
    if method_of(base).train:
        assert train is not None
        fit_base_on = transform.apply(train)
        refuse_overflow(name, train, fit_base_on)
    fits = needs_train and train is not None
    return After(
        detector,
        train.classes if fits and train is not None else 0,
        train.features.shape[1] if fits and train is not None and train.features is not None else 0,
        transform,
        base.fit(fit_base_on),
    )
