"""A model with its scorer, calibrator and threshold: label, probability, score, accept."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.registry import method_of_calibrator
from ood_toolkit.decision import Threshold
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method_of
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
        Whether the score reaches the threshold.
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
    threshold : Threshold
        Set on held-out in-distribution scores.
    calibrator : FittedCalibrator, optional
        Where probabilities come from; the softmax where there is none.
    """

    network: Network
    scorer: FittedScorer
    threshold: Threshold
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

    def _judged(self, inputs: Any) -> tuple[Array, Array, Array, Array]:
        x = self.outputs(inputs)
        scores = self.scorer.score(x)
        if self.calibrator is not None:
            x = self.calibrator.apply(replace(x, head=None))
        assert x.logits is not None
        # the scorer has refused rows that hold NaN
        z = np.asarray(x.logits, dtype=np.float64)
        labels = z.argmax(axis=1)
        top = z[np.arange(len(z)), labels][:, None]
        probabilities = 1.0 / np.exp(z - top).sum(axis=1)
        return labels, probabilities, scores, self.threshold.accept(scores)

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

        return Verdict(*map(torch.from_numpy, self._judged(inputs)))

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

        labels, probabilities, scores, accepted = self._judged(inputs)
        p_values = self.threshold.p_value(scores)
        reasons = tuple(map(self._reason, scores, accepted, p_values))
        parts = (labels, probabilities, scores, accepted, p_values)
        return Explanation(*[torch.from_numpy(part) for part in parts], reasons)  # type: ignore[call-arg]

    def _reason(self, score: float, accepted: bool, p_value: float) -> str:
        held = f"{100 * p_value:.2g} % of in-distribution rows score as low"
        name, limit = self.scorer.name, self.threshold.value
        if accepted:
            return f"accepted: {name} {score:.4g} reaches the threshold {limit:.4g}; {held}"
        return f"rejected: {name} {score:.4g} is below the threshold {limit:.4g}; {held}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the model to one `.safetensors` file; `load_guard` reads it."""
        from ood_toolkit.models.guard_file import save_guard

        save_guard(self, path)

    def module(self) -> nn.Module:
        """A copy as one pure module that returns logits, probability, score and accept.

        For `torch.export` and `torch.jit.trace`; scores in float32.
        """
        from ood_toolkit.models.export import guard_module

        return guard_module(self)

    def to_onnx(self, path: str | os.PathLike[str], sample: Tensor) -> None:
        """Write the same as one ONNX file, for batches of any size, shaped as `sample`."""
        from ood_toolkit.models.export import save_onnx

        save_onnx(self, os.fspath(path), sample)
