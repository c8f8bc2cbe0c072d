"""SDM with an exemplar adaptor trained on frozen embeddings."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.detectors import SDM, ExemplarAdaptor, SDMScorer
from ood_toolkit.detectors.base import training_labels
from ood_toolkit.detectors.sdm.activation import balanced_sdm_loss
from ood_toolkit.detectors.sdm.distances import class_distances, distance_quantiles
from ood_toolkit.detectors.sdm.matching import Support
from ood_toolkit.detectors.training import feature_matrix
from ood_toolkit.errors import InputError
from ood_toolkit.models.progress import Progress, reporting
from ood_toolkit.models.sdm_checkpoint import Checkpoint, TrainingState, data_digest
from ood_toolkit.models.sdm_epochs import AdaptorModel
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["AdaptorTraining", "train_sdm"]


@dataclass(frozen=True, slots=True)
class AdaptorTraining:
    """How an exemplar adaptor is trained.

    Parameters
    ----------
    width : int
        Columns of the new features.
    splits : int
        How often the rows are split anew and training begins again; the best epoch of all wins.
    epochs : int
        Passes over the training half of each split.
    batch : int
        Rows a step of Adam.
    learning_rate : float
        Of Adam.
    seed : int
        Of splits, first weights and the order of rows.
    """

    width: int = 1000
    splits: int = 1
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 1e-5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "splits", "epochs", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1")
        require(self.learning_rate > 0, f"learning_rate must be above 0, got {self.learning_rate}")
        require(self.seed >= 0, f"seed must be at least 0, got {self.seed}")


def train_sdm(
    train: Outputs,
    validation: Outputs | None = None,
    *,
    sdm: SDM | None = None,
    training: AdaptorTraining | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> SDMScorer:
    """Train an exemplar adaptor on frozen features, and fit SDM behind it.

    The rows given are pooled and split in half: one half trains the adaptor and is the support,
    the other selects the epoch and calibrates.  After each epoch q and d of all training rows
    are found anew, each row itself left out; the epoch with the least balanced SDM loss on the
    calibration half is kept.  Logits of the records are not looked at.

    Parameters
    ----------
    train, validation : Outputs
        With features and labels, each class at least twice.
    sdm : SDM, optional
        What is fitted behind the adaptor; `SDM()` by default.
    training : AdaptorTraining, optional
        How the adaptor is trained.
    checkpoint : path, optional
        A `.safetensors` file that is written after every epoch and, where it is there,
        resumed from; an interrupted run so ends as if it had not been.
    progress : bool or callable, optional
        As everywhere in `ood_toolkit.models`: rows done, and rows in all.

    Returns
    -------
    SDMScorer
        Needs features alone to score, and no torch.

    Raises
    ------
    InputError
        If features or labels are missing, a half lacks a class, or a checkpoint was written
        by another run.
    MissingDependency
        If torch is not installed.

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", arXiv 2509.12760.
    """
    detector, how = sdm or SDM(), training or AdaptorTraining()
    features, labels = _pooled(train, validation)
    saved = Checkpoint(checkpoint, {**asdict(how), "data": data_digest(features, labels)})
    state = saved.read() or TrainingState.first()
    half = len(labels) // 2
    total = how.splits * how.epochs * half
    with reporting(progress, total) as tell:
        for split in range(state.split, how.splits):
            for_support, for_calibration = _halves(labels, how.seed, split, train)
            rows = features[for_support], labels[for_support]
            held = features[for_calibration], labels[for_calibration]
            model = AdaptorModel.begin(*rows, how.width, how.learning_rate, [how.seed, split, 0])
            if state.parameters:
                model.resume(state.parameters, state.steps)
            for epoch in range(state.epoch, how.epochs):
                order = np.random.default_rng([how.seed, split, epoch + 1]).permutation(
                    len(rows[1])
                )
                quantities = state.quantities or _softmax_quantities(len(rows[1]))
                for start in range(0, len(order), how.batch):
                    model.step(order[start : start + how.batch], *quantities)
                    tell((split * how.epochs + epoch) * half + min(start + how.batch, half))
                adaptor = model.adaptor()
                loss, found = _refreshed(adaptor, rows, held, detector)
                state = state.after_epoch(split, epoch, model.state(), found, loss, adaptor)
                saved.write(state)
            state = state.next_split(split)
    adaptor = state.best_adaptor()
    for_support, for_calibration = _halves(labels, how.seed, state.best_split, train)
    support, calibration = (
        Outputs(features=features[rows], labels=labels[rows])
        for rows in (for_support, for_calibration)
    )
    origin = f"half of {len(labels)} pooled rows, by split {state.best_split} of seed {how.seed}"
    return detector.fit_adapted(adaptor, support, calibration, origin)


def _softmax_quantities(rows: int) -> tuple[Array, Array]:
    """The q and d at which the activation is the ordinary softmax."""
    return np.full(rows, math.e - 2.0), np.ones(rows)


def _pooled(train: Outputs, validation: Outputs | None) -> tuple[Array, Array]:
    """Features and labels of all rows."""
    records = [train] if validation is None else [train, validation]
    for x in records:
        if x.features is None:
            raise InputError(located(x, "an adaptor is trained on features, and there are none"))
    labels = [training_labels("sdm", x, every_class=False) for x in records]
    widths = {x.features.shape[1] for x in records if x.features is not None}
    if len(widths) > 1:
        raise InputError(
            located(records[1], f"features have {max(widths)} and {min(widths)} columns")
        )
    return np.concatenate([feature_matrix(x, dtype=np.float32) for x in records]), np.concatenate(
        labels
    )


def _halves(labels: Array, seed: int, split: int, x: Outputs) -> tuple[Array, Array]:
    """Rows of the training and of the calibration half."""
    order = np.random.default_rng([seed, split]).permutation(len(labels))
    halves = order[: len(labels) // 2], order[len(labels) // 2 :]
    classes = int(labels.max()) + 1
    for name, half in zip(("training", "calibration"), halves, strict=True):
        missing = np.flatnonzero(np.bincount(labels[half], minlength=classes) == 0)
        if len(missing):
            raise InputError(
                located(
                    x,
                    f"class {missing[0]} has no row in the {name} half of split {split}; give "
                    "more rows of it, or another seed",
                )
            )
    return halves


def _refreshed(
    adaptor: ExemplarAdaptor, rows: tuple[Array, Array], held: tuple[Array, Array], sdm: SDM
) -> tuple[float, tuple[Array, Array]]:
    """Balanced loss on the calibration half; q and d of the training half."""
    (a, y), (b, held_y) = rows, held
    new, other = (adaptor.apply(Outputs(features=f)) for f in (a, b))
    assert new.logits is not None
    assert other.logits is not None
    bank, queries = (feature_matrix(x, unit_length=sdm.normalize) for x in (new, other))
    said = new.logits.argmax(axis=1)
    support = Support(bank, y, said)
    classes = new.logits.shape[1]
    own = support.match(bank, said, sdm.cap, np.arange(len(y)))
    known = class_distances(own.nearest, own.similarity, y, classes)
    quantile, _ = distance_quantiles(own.nearest, known)
    found = support.match(queries, other.logits.argmax(axis=1), sdm.cap)
    known = class_distances(found.nearest, found.similarity, held_y, classes)
    held_quantile, _ = distance_quantiles(found.nearest, known)
    loss = balanced_sdm_loss(other.logits, found.similarity, held_quantile, held_y)
    return loss, (own.similarity.astype(np.float64), quantile)
