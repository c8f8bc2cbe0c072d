"""A guard as one pure module, for `torch.export`, tracing and ONNX."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import DataError, InputError, MissingDependency
from ood_toolkit.io.atomic import atomic_path
from ood_toolkit.models.batches import call_model, logits_of
from ood_toolkit.models.guard import Guard
from ood_toolkit.models.score_functions import score_module

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["OUTPUT_NAMES", "guard_module", "save_onnx"]

OUTPUT_NAMES = ("logits", "probability", "score", "accept")
"""What the module returns, and the outputs of an ONNX file, in this order."""


def guard_module(guard: Guard) -> nn.Module:
    """Model, score and threshold as one module in evaluation mode; a copy of its own.

    Its forward takes what the model takes and returns logits (N, C), the probability of the
    predicted class, the score and whether it is accepted, (N,) each, in float32.

    Parameters
    ----------
    guard : Guard
        Its method must be one of `TENSOR_METHODS`, its calibrator none or a temperature.

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

    network = guard.network
    temperature = _temperature(guard)
    score = score_module(guard.scorer, network.head())
    model = copy.deepcopy(network.inner).eval().requires_grad_(False)
    function = network.features_fn
    tapped = network.features_from or network.head_name

    class GuardModule(torch.nn.Module):  # type: ignore[misc]
        """A model with its score."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.score = model, score
            self.register_buffer("threshold", torch.tensor(guard.threshold.value))

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
            return logits, probability, score, score >= self.threshold.to(score.dtype)

    return GuardModule().eval()


def _temperature(guard: Guard) -> float:
    if guard.calibrator is None:
        return 1.0
    found = getattr(guard.calibrator, "temperature", None)
    if guard.calibrator.name != "temperature" or found is None:
        raise InputError(
            f"{guard.calibrator.name} cannot be exported; use the calibrator temperature, or none"
        )
    return float(found)


def save_onnx(guard: Guard, path: str | Path, sample: Tensor) -> None:
    """Write model, score and threshold as one ONNX file for batches of any size.

    Parameters
    ----------
    guard : Guard
        As for `guard_module`.
    path : str or Path
        Replaced at once or not at all.
    sample : tensor
        A batch of at least two inputs.

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
    module = guard_module(guard)
    device = guard.network.moved(sample).device
    with atomic_path(name) as temporary, torch.no_grad():
        try:
            program = torch.onnx.export(
                module.to(device),
                (sample.to(device),),
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
