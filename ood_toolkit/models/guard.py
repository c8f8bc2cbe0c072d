"""A model with its scorer, calibrator and threshold: label, probability, score, accept."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.registry import method_of_calibrator
from ood_toolkit.chunks import checked_statistics
from ood_toolkit.decision import ClassThresholds, RiskRule, Rule, Threshold
from ood_toolkit.decision import Verdict as RuleVerdict
from ood_toolkit.detectors.base import FittedScorer, LogitScorer
from ood_toolkit.detectors.catalogue import method_of
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import PREDICTION, TAIL
from ood_toolkit.models.export import guard_module, save_onnx
from ood_toolkit.models.guard_parts import GuardParts, write_guard
from ood_toolkit.models.logit_judge import LogitJudge
from ood_toolkit.models.network import Network
from ood_toolkit.models.torch_library import to_array
from ood_toolkit.outputs import Array, Outputs

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Explanation", "Guard", "Verdict"]


class Verdict(NamedTuple):
    """What a guard says of a batch; tensors on the CPU.

    Attributes
    ----------
    label : (N,) tensor of int64
        The predicted class.
    probability : (N,) tensor of float64
        Of that class, calibrated where the guard has a calibrator.
    score : (N,) tensor of float64
        Larger = more in-distribution.
    accept : (N,) tensor of bool
        Whether the rule accepts the row: its score reaches the threshold.
    """

    label: Tensor
    probability: Tensor
    score: Tensor
    accept: Tensor


class Explanation(NamedTuple):
    """A `Verdict` with the reason for it.

    Attributes
    ----------
    label, probability, score, accept : (N,) tensors
        As in `Verdict`.
    p_value : (N,) tensor of float64
        Conformal p-value of each row under "this row is in-distribution".
    reason : tuple of str
        One sentence a row.
    """

    label: Tensor
    probability: Tensor
    score: Tensor
    accept: Tensor
    p_value: Tensor
    reason: tuple[str, ...]


@dataclass(frozen=True)
class Guard:
    """Says of each input what the model thinks it is, and whether to believe it.

    Made by `WrappedClassifier.guard`, or by `load_guard` from a file.  Called like a module;
    the model is left as it is found at every call.

    Parameters
    ----------
    network : Network
        The model, and where its head lies.
    scorer : FittedScorer
        Larger = more in-distribution.
    threshold : Threshold, ClassThresholds, RiskRule or MethodRule
        Which rows are accepted; set on held-out in-distribution rows.
    calibrator : FittedCalibrator, optional
        Where probabilities come from; the softmax where there is none.
    """

    network: Network
    scorer: FittedScorer
    threshold: Rule
    calibrator: FittedCalibrator | None = None

    @property
    def model(self) -> nn.Module:
        """The model, as it was given."""
        return self.network.model

    @property
    def needs_logits_alone(self) -> bool:
        """Whether no hooks are needed."""
        needs = set(method_of(self.scorer.detector).needs)
        if self.calibrator is not None:
            needs |= set(method_of_calibrator(self.calibrator.calibrator).needs)
        return needs <= {"logits"}

    def to(self, device: Any) -> Guard:
        """The same guard; its model moves to the device."""
        self.network.inner.to(device)
        return self

    def outputs(self, inputs: Any) -> Outputs:
        """What the model says about one batch of inputs."""
        if self.needs_logits_alone:
            return Outputs(logits=to_array(self.network.logits(inputs)))
        with self.network.running() as run:
            found = run(inputs)
            return Outputs(
                logits=to_array(found.logits),
                features=to_array(found.features),
                layers={name: to_array(tensor) for name, tensor in found.layers.items()},
                head=self.network.head(),
            )

    @cached_property
    def _judge(self) -> LogitJudge | None:
        """Finds everything from one pass over the logits, where that is possible."""
        limits = _limits(self.threshold)
        if type(self.scorer) is not LogitScorer or self.calibrator is not None:
            return None
        return None if limits is None or limits.ndim else LogitJudge(self.scorer, float(limits))

    def __call__(self, inputs: Any) -> Verdict:
        """Judge a batch of inputs.

        Parameters
        ----------
        inputs : tensor, or a dict of tensors
            What the model takes.

        Returns
        -------
        Verdict
            `label, probability, score, accept`.

        Raises
        ------
        InputError
            If the model's answer holds NaN or is not what the scorer was fitted on.
        """
        import torch

        if self._judge is not None:
            logits = to_array(self.network.logits(inputs), copy=False)
            return Verdict(*map(torch.from_numpy, self._judge(logits)))
        *judged, said = self._judged(self.outputs(inputs))
        return Verdict(*map(torch.from_numpy, (*judged, said.accept)))

    def _judged(self, x: Outputs) -> tuple[Array, Array, Array, RuleVerdict]:
        """Labels, probabilities and scores, and what the rule says."""
        scores = self.scorer.score(x)
        said = self.threshold.verdict(x, scores, self.scorer)
        if self.calibrator is not None:
            x = self.calibrator.apply(replace(x, head=None))
        rows = checked_statistics(x, (PREDICTION, TAIL))
        return rows[PREDICTION], rows.probability(), scores, said

    def explain(self, inputs: Any) -> Explanation:
        """The verdict with a p-value and a sentence for each row.

        Parameters
        ----------
        inputs : tensor, or a dict of tensors
            What the model takes.

        Returns
        -------
        Explanation
            The four parts of `Verdict`, `p_value` and `reason`.
        """
        import torch

        *judged, said = self._judged(self.outputs(inputs))
        reasons = tuple(map(self._reason, judged[2], *said))
        parts = (*judged, said.accept, said.p_value)
        return Explanation(*[torch.from_numpy(part) for part in parts], reasons)  # type: ignore[call-arg]

    def _reason(self, score: float, accepted: bool, p_value: float, limit: float) -> str:
        held = f"{100 * p_value:.2g} % of in-distribution rows score as low"
        if not accepted:
            return f"rejected: {self.scorer.name}: {self.threshold.why(score, limit)}; {held}"
        how = "by its own rule" if np.isnan(limit) else f"reaches the threshold {limit:.4g}"
        return f"accepted: {self.scorer.name} {score:.4g} {how}; {held}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the model to one `.safetensors` file; `load_guard` reads it."""
        write_guard(path, self.network, GuardParts(self.scorer, self.calibrator), self.threshold)

    def module(self) -> nn.Module:
        """A copy as one pure module that returns logits, probability, score and accept.

        For `torch.export` and `torch.jit.trace`; scores in float32.

        Raises
        ------
        InputError
            If the score, the rule or the calibrator cannot be computed in tensors.
        """
        limits = _limits(self.threshold)
        if limits is None:
            raise InputError(
                f"the rule of {self.scorer.name} itself cannot be exported; set a threshold"
            )
        return guard_module(self.network, self.scorer, limits, self.calibrator)

    def to_onnx(self, path: str | os.PathLike[str], sample: Tensor) -> None:
        """Write the same as one ONNX file, for batches of any size, shaped as `sample`."""
        save_onnx(self.module(), os.fspath(path), self.network.moved(sample))


def _limits(rule: Rule) -> Array | None:
    """The smallest score that is accepted, () or by class (C,); None where it is no limit."""
    if isinstance(rule, Threshold | RiskRule):
        return np.array(rule.value)
    if isinstance(rule, ClassThresholds):
        return np.array([threshold.value for threshold in rule.thresholds])
    return None
