"""What a wrapped classifier can do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.decision import Rule
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.models.epsilon import EPSILONS, EpsilonChoice, choose_epsilon
from ood_toolkit.models.fitting import as_record, as_scorer, made_guard
from ood_toolkit.models.gradients import gradient_norms
from ood_toolkit.models.guard import Guard
from ood_toolkit.models.layout import laying_out
from ood_toolkit.models.members import SeveralAnswers
from ood_toolkit.models.perturbation import Perturbation, perturbing
from ood_toolkit.models.progress import Progress
from ood_toolkit.models.score_functions import score_function
from ood_toolkit.models.streaming import PARTS, collect
from ood_toolkit.outputs import Array, Head, Outputs
from ood_toolkit.protocols import Calibrator, Detector

if TYPE_CHECKING:
    from torch import nn

__all__ = ["WrappedClassifier"]


class WrappedClassifier(SeveralAnswers):
    """A classifier whose logits, features and head can be read; made by `wrap`.

    Parameters
    ----------
    network : Network
        The model, and where its head lies.
    """

    @property
    def model(self) -> nn.Module:
        """The model, as it was given."""
        return self.network.model

    @property
    def head_name(self) -> str:
        """Name of the last linear layer; empty where it is no module."""
        return self.network.head_name

    @property
    def head(self) -> Head | None:
        """Weight (C, D) and bias (C,) of the last layer as they are now."""
        return self.network.head()

    def __repr__(self) -> str:
        return f"wrap({type(self.model).__name__}, head={self.head_name!r})"

    def outputs(
        self,
        loader: Any,
        *,
        to: str | Path | None = None,
        keep: Sequence[str] = PARTS,
        dtype: str | None = None,
        shard_rows: int = 10_000,
        progress: Progress = None,
        channels_last: bool = False,
    ) -> Outputs:
        """What the classifier says about everything in a loader.

        Runs in evaluation mode without gradients, on the model's device and in the caller's
        autocast; modes, gradients, parameters and random states are left as they were found.

        Parameters
        ----------
        loader : iterable of batches, a tensor of inputs, or a pair of these and labels
            Its length need not be known.
        to : str or Path, optional
            Stream to this file instead of memory: `.safetensors` or `.zarr`; any other format
            that `save_outputs` writes is gathered first.  A folder, or `FOLDER/*.suffix`, gets
            shards, and a run that was interrupted goes on where its last whole shard ended.
        keep : sequence of str
            Some of logits, features, layers, labels and head.
        dtype : {"float16", "bfloat16", "float32", "float64"}, optional
            Type of the stored numbers; by default the model's, half precision as float32.
        shard_rows : int
            Rows of a shard.
        progress : bool or callable, optional
            None shows a line where stderr is a terminal; or a function of the rows done and
            the rows in all, None where that is unknown.
        channels_last : bool
            Lay inputs of four axes out channels last before the model sees them; other inputs
            and all parameters stay as they are.  On the CPU this takes half the time for the
            shipped Fashion network, four fifths for EfficientNet-Lite0.  Sums are taken in
            another order: logits of the former, of up to 22, differ by less than 1e-5.

        Returns
        -------
        Outputs
            In memory, or read back from `to`.

        Raises
        ------
        InputError
            If the head does not make the logits, a module is not called once a batch, a batch
            cannot be understood, or the model needs the other layout.
        DataError
            If `to` cannot be written, or holds shards of another run.
        """
        with self.network.running() as run:
            return collect(
                self.network,
                loader,
                laying_out(self.network, run) if channels_last else run,
                to=to,
                keep=keep,
                dtype=dtype,
                shard_rows=shard_rows,
                progress=progress,
                how="channels last" if channels_last else "plain",
            )

    def perturbed(
        self,
        loader: Any,
        scorer: str | Detector | FittedScorer,
        *,
        epsilon: float = 0.0014,
        std: Sequence[float] | None = None,
        single: bool = False,
        down: bool = False,
        layer: str = "",
        to: str | Path | None = None,
        shard_rows: int = 10_000,
        progress: Progress = None,
    ) -> Outputs:
        """What the classifier says about inputs that were moved towards a higher score.

        ODIN is `odin_temperature` of what this gives for it; in the same way a Mahalanobis
        scorer gives its input pre-processing and `gini` with `down` that of DOCTOR.  Each
        coordinate moves by epsilon / std in the direction that raises the score, down where its
        gradient is zero; nothing is clipped.  With epsilon 0 it is `outputs`.

        Parameters
        ----------
        loader : iterable of batches, or a tensor of inputs
            Inputs must be floating-point numbers.
        scorer : str, Detector or FittedScorer
            What to raise: a method that learns nothing, or a fitted scorer.
        epsilon : float
            Length of the step.
        std : sequence of float, optional
            What the channels were divided by when they were normalised.
        single : bool
            Move only the coordinate of each row with the largest gradient (i-ODIN).
        down : bool
            Move towards a lower score (DOCTOR).
        layer : str
            One of the layers that `wrap` was given, whose features the scorer was fitted on.
        to, shard_rows, progress
            As in `outputs`.

        Returns
        -------
        Outputs
            To be scored with the same scorer.

        Raises
        ------
        InputError
            If the score cannot be computed in tensors, or no input can be differentiated.

        References
        ----------
        Liang, Li & Srikant, ICLR 2018 (ODIN); Lee et al., NeurIPS 2018 (Mahalanobis); Granese
        et al., NeurIPS 2021 (DOCTOR).
        """
        fitted = as_scorer(scorer)
        how = Perturbation(epsilon, std, single, down)
        function = score_function(fitted, self.head)
        with self.network.running(gradients=True) as run:
            return collect(
                self.network,
                loader,
                perturbing(self.network, run, function, how, layer),
                to=to,
                keep=PARTS,
                dtype=None,
                shard_rows=shard_rows,
                progress=progress,
                how=f"{fitted.name} {how} {layer}",
            )

    def choose_epsilon(
        self,
        loader: Any,
        scorer: str | Detector | FittedScorer,
        *,
        outliers: Any = None,
        grid: Sequence[float] = EPSILONS,
        std: Sequence[float] | None = None,
    ) -> EpsilonChoice:
        """The step of `perturbed` that serves best on held-out rows.

        Parameters
        ----------
        loader : iterable of batches that can be read again, or a tensor
            Held-out in-distribution inputs.
        scorer : str, Detector or FittedScorer
            As in `perturbed`.
        outliers : the same, optional
            Out-of-distribution inputs that are not those reported on.  Without them the step
            with the largest mean score is taken, with them the one with the smallest
            false-positive rate at 95 % true-positive rate.
        grid : sequence of float
            Steps to compare.
        std : sequence of float, optional
            As in `perturbed`.

        Returns
        -------
        EpsilonChoice
            With everything that was compared.
        """
        fitted = as_scorer(scorer)

        def scored(data: Any) -> Callable[[float], Array]:
            return lambda epsilon: fitted.score(
                self.perturbed(data, fitted, epsilon=epsilon, std=std, progress=False)
            )

        return choose_epsilon(scored(loader), None if outliers is None else scored(outliers), grid)

    def gradient_norms(self, loader: Any, parameter: str | None = None) -> Array:
        """L1 norm of each row's gradient, against uniform targets; larger = more in-distribution.

        For the head's weight this is the method `gradnorm`, which needs no model; another
        parameter may be named.  All rows of a batch are differentiated together.
        """
        return gradient_norms(self.network, loader, parameter)

    def guard(
        self,
        method: str | os.PathLike[str] | Detector | FittedScorer,
        *,
        train: Any = None,
        id_val: Any = None,
        rule: Rule | None = None,
        tpr: float = 0.95,
        delta: float | None = None,
        calibrator: str | Calibrator | FittedCalibrator | None = None,
    ) -> Guard:
        """Join a fitted score, a threshold and calibrated probabilities to the classifier.

        Parameters
        ----------
        method : str, path, Detector or FittedScorer
            What judges; it is fitted on `train` where it learns anything.  A `.safetensors` file
            is a detector's, whose rule is used where there are no `id_val`.
        train, id_val : Outputs, or what `outputs` takes
            Rows to fit on, and held-out in-distribution rows that set the threshold.
        rule : Threshold, ClassThresholds, RiskRule or MethodRule, optional
            What is accepted, if not that share of the held-out rows.
        tpr : float
            Share of the held-out rows that is accepted.
        delta : float, optional
            With it, the share of new rows that is accepted is at least `tpr` with confidence
            1 - delta.
        calibrator : str, Calibrator or FittedCalibrator, optional
            Fitted on `id_val`, which must then be labelled.

        Returns
        -------
        Guard
            `guard(x)` gives label, probability, score and accept.

        Raises
        ------
        InputError
            If the method needs what is not there, or nothing says what to accept.
        """
        return made_guard(
            self.network,
            method,
            None if train is None else as_record(train, self.outputs),
            None if id_val is None else as_record(id_val, self.outputs),
            rule,
            tpr,
            delta,
            calibrator,
        )
