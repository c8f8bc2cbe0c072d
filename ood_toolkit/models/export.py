"""A guard as one pure module, for `torch.export`, tracing and ONNX."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.errors import DataError, InputError, MissingDependency
from ood_toolkit.io.atomic import atomic_path
from ood_toolkit.models.batches import call_model, logits_of
from ood_toolkit.models.network import Network
from ood_toolkit.models.score_functions import score_module
from ood_toolkit.outputs import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["OUTPUT_NAMES", "guard_module", "save_onnx"]

OUTPUT_NAMES = ("logits", "probability", "score", "accept")
"""What the module returns, and the outputs of an ONNX file, in this order."""


def guard_module(
    network: Network, scorer: FittedScorer, limit: Array, calibrator: FittedCalibrator | None
) -> nn.Module:
    """Model, score and threshold as one module in evaluation mode; a copy of its own.

    Its forward takes what the model takes and returns logits (N, C), the probability of the
    predicted class, the score and whether it is accepted, (N,) each, in float32.

    Parameters
    ----------
    network : Network
        The model, and where its head lies.
    scorer : FittedScorer
        Of one of `TENSOR_METHODS`.
    limit : () or (C,) array of float64
        The smallest score that is accepted, of all rows or of those predicted as each class.
    calibrator : FittedCalibrator or None
        Of the method temperature, where there is one.

    Returns
    -------
    torch.nn.Module
        Takes part in `torch.export`, `torch.jit.trace` and ONNX export.

    Raises
    ------
    InputError
        If the score or the calibrator cannot be computed in tensors.
    """
    import torch

    temperature = _temperature(calibrator)
    score = score_module(scorer, network.head())
    model = copy.deepcopy(network.inner).eval().requires_grad_(False)
    function = network.features_fn
    tapped = network.features_from or network.head_name

    class GuardModule(torch.nn.Module):  # type: ignore[misc]
        """A model with its score."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.score = model, score
            self.register_buffer("limit", torch.from_numpy(np.array(limit, dtype=np.float32)))

        def logits_and_features(self, inputs: Any) -> tuple[Tensor, Tensor]:
            if function is not None:
                return function(self.model, inputs)
            seen: list[Tensor] = []
            module = self.model.get_submodule(tapped)
            if network.features_from is None:
                handle = module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
            else:
                handle = module.register_forward_hook(
                    lambda _, given, answer: seen.append(answer.flatten(1))
                )
            try:
                logits = logits_of(call_model(self.model, inputs))
            finally:
                handle.remove()
            return logits, seen[0]

        def forward(self, inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            logits, features = self.logits_and_features(inputs)
            logits, features = logits.float(), features.float()
            score = self.score(logits, features)
            probability = (logits / temperature).softmax(1).amax(1)
            limit = self.limit[logits.argmax(1)] if self.limit.dim() else self.limit
            return logits, probability, score, score >= limit

    return GuardModule().eval()


def _temperature(calibrator: FittedCalibrator | None) -> float:
    if calibrator is None:
        return 1.0
    found = getattr(calibrator, "temperature", None)
    if calibrator.name != "temperature" or found is None:
        raise InputError(
            f"{calibrator.name} cannot be exported; use the calibrator temperature, or none"
        )
    return float(found)


def save_onnx(module: nn.Module, path: str | Path, sample: Tensor) -> None:
    """Write a guard's module as one ONNX file for batches of any size.

    Parameters
    ----------
    module : torch.nn.Module
        As `guard_module` makes it.
    path : str or Path
        Replaced at once or not at all.
    sample : tensor
        A batch of at least two inputs, on the device that the module is moved to.

    Raises
    ------
    InputError
        If torch cannot translate the model.
    MissingDependency
        If onnx or onnxscript is not installed.
    """
    import torch

    name = os.fspath(path)
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as reason:
        raise MissingDependency("onnx and onnxscript", "onnx", f"writing {name}") from reason
    if not name.endswith(".onnx"):
        raise DataError(name, "", "an ONNX file must end in .onnx")
    if sample.dim() < 1 or len(sample) < 2:
        raise InputError("the sample needs two inputs or more, so that the batch may have any size")
    with atomic_path(name) as temporary, torch.no_grad():
        try:
            program = torch.onnx.export(
                module.to(sample.device),
                (sample,),
                input_names=["inputs"],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as reason:
            text = " ".join(str(reason).split())[:300]
            raise InputError(f"torch cannot write this model as ONNX ({text})") from reason
        Path(temporary).write_bytes(program.model_proto.SerializeToString())
