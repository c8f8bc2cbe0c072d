"""The exemplar adaptor while it is trained: two affine layers and Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.detectors import ExemplarAdaptor
from ood_toolkit.models.sdm_activation import sdm_loss_tensor
from ood_toolkit.models.torch_library import load_torch, to_array
from ood_toolkit.outputs import Array

__all__ = ["LAYERS", "AdaptorModel"]

LAYERS = ("weight", "bias", "head_weight", "head_bias")
"""The trained arrays of an `ExemplarAdaptor`."""


@dataclass(frozen=True)
class AdaptorModel:
    """Parameters in training, the optimizer, and the rows.

    Attributes
    ----------
    mean, scale : float
        Of all entries of the features.
    features, labels : tensors
        Standardised (n, D) features and (n,) labels.
    parameters : mapping of str to tensor
        By the names in `LAYERS`.
    optimizer : torch.optim.Adam
        Over them.
    """

    mean: float
    scale: float
    features: Any
    labels: Any
    parameters: Mapping[str, Any]
    optimizer: Any

    @classmethod
    def begin(
        cls, features: Array, labels: Array, width: int, learning_rate: float, seed: list[int]
    ) -> AdaptorModel:
        """First weights, uniform within 1 / sqrt(columns) of 0.

        Parameters
        ----------
        features, labels : (n, D) and (n,) arrays
            The training half; its labels hold every class.
        width : int
            Columns of the new features.
        learning_rate : float
            Of Adam.
        seed : list of int
            Of the first weights.

        Returns
        -------
        AdaptorModel
            Ready for its first step.
        """
        torch = load_torch("training an exemplar adaptor")
        wide = features.astype(np.float64)
        mean, scale = float(wide.mean()), float(wide.std(ddof=1))
        scale = scale or 1.0
        dims, classes = features.shape[1], int(labels.max()) + 1
        rng = np.random.default_rng(seed)
        shapes = ((width, dims), (width,), (classes, width), (classes,))
        parameters: dict[str, Any] = {}
        for name, shape in zip(LAYERS, shapes, strict=True):
            bound = 1.0 / np.sqrt(dims if len(parameters) < 2 else width)
            values = rng.uniform(-bound, bound, size=shape).astype(np.float32)
            parameters[name] = torch.from_numpy(values).requires_grad_()
        optimizer = torch.optim.Adam(list(parameters.values()), lr=learning_rate)
        scaled = torch.from_numpy(((wide - mean) / scale).astype(np.float32))
        return cls(mean, scale, scaled, torch.from_numpy(labels), parameters, optimizer)

    def step(self, rows: Array, similarity: Array, quantile: Array) -> None:
        """One step of Adam on the SDM loss of some rows, given q and d of all."""
        torch = load_torch("training an exemplar adaptor")
        picked = torch.from_numpy(rows)
        p = self.parameters
        hidden = self.features[picked] @ p["weight"].T + p["bias"]
        logits = hidden @ p["head_weight"].T + p["head_bias"]
        q, d = (torch.from_numpy(a[rows].astype(np.float32)) for a in (similarity, quantile))
        loss = sdm_loss_tensor(logits, q, d, self.labels[picked])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def adaptor(self) -> ExemplarAdaptor:
        """The adaptor as it is now."""
        layers = {name: to_array(tensor) for name, tensor in self.parameters.items()}
        return ExemplarAdaptor(self.mean, self.scale, **layers)

    def state(self) -> tuple[dict[str, Array], int]:
        """Parameters and Adam's two moments as arrays, and its number of steps."""
        arrays, steps = {}, 0
        for name, tensor in self.parameters.items():
            moments = self.optimizer.state[tensor]
            arrays[name] = to_array(tensor)
            arrays[f"{name}.first"] = to_array(moments["exp_avg"])
            arrays[f"{name}.second"] = to_array(moments["exp_avg_sq"])
            steps = int(moments["step"])
        return arrays, steps

    def resume(self, arrays: Mapping[str, Array], steps: int) -> None:
        """Go on from what `state` returned."""
        torch = load_torch("training an exemplar adaptor")
        with torch.no_grad():
            for name, tensor in self.parameters.items():
                tensor.copy_(torch.from_numpy(arrays[name]))
                self.optimizer.state[tensor] = {
                    "step": torch.tensor(float(steps)),
                    "exp_avg": torch.from_numpy(arrays[f"{name}.first"].copy()),
                    "exp_avg_sq": torch.from_numpy(arrays[f"{name}.second"].copy()),
                }
