"""How far the training of an exemplar adaptor has come, in memory and on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ood_toolkit.detectors import ExemplarAdaptor
from ood_toolkit.errors import DataError
from ood_toolkit.io import atomic_write
from ood_toolkit.models.sdm_epochs import LAYERS
from ood_toolkit.outputs import Array

__all__ = ["Checkpoint", "TrainingState", "data_digest"]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Where training stands after an epoch.

    Attributes
    ----------
    split, epoch : int
        What comes next.
    parameters : mapping of str to array
        Weights and Adam's moments; empty at the beginning of a split.
    steps : int
        Steps of Adam.
    quantities : tuple of two arrays, or None
        q and d of the training rows for the next epoch.
    best_loss, best_split, best : float, int, mapping of str to array
        The least balanced loss so far, where it was found, and the adaptor then.
    """

    split: int
    epoch: int
    parameters: Mapping[str, Array] = field(default_factory=dict)
    steps: int = 0
    quantities: tuple[Array, Array] | None = None
    best_loss: float = float("inf")
    best_split: int = 0
    best: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def first(cls) -> TrainingState:
        """Before anything."""
        return cls(0, 0)

    def after_epoch(
        self,
        split: int,
        epoch: int,
        model: tuple[dict[str, Array], int],
        quantities: tuple[Array, Array],
        loss: float,
        adaptor: ExemplarAdaptor,
    ) -> TrainingState:
        """The state after an epoch; of equal losses the later wins."""
        arrays, steps = model
        state = replace(
            self,
            split=split,
            epoch=epoch + 1,
            parameters=arrays,
            steps=steps,
            quantities=quantities,
        )
        if loss > self.best_loss:
            return state
        best = {name: getattr(adaptor, name) for name in LAYERS}
        best["standard"] = np.array([adaptor.mean, adaptor.scale])
        return replace(state, best_loss=loss, best_split=split, best=best)

    def next_split(self, split: int) -> TrainingState:
        """The state at the beginning of the split after `split`."""
        return replace(self, split=split + 1, epoch=0, parameters={}, steps=0, quantities=None)

    def best_adaptor(self) -> ExemplarAdaptor:
        """The adaptor of the best epoch."""
        mean, scale = self.best["standard"].tolist()
        return ExemplarAdaptor(mean, scale, **{name: self.best[name] for name in LAYERS})


def data_digest(features: Array, labels: Array) -> str:
    """Checksum of the rows that are trained on."""
    digest = hashlib.sha256(f"{features.shape} {labels.shape}".encode())
    digest.update(np.ascontiguousarray(features).tobytes())
    digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that training resumes from; none where the path is None.

    Parameters
    ----------
    path : path-like or None
        Ends in `.safetensors`.
    run : mapping
        JSON-ready facts that must be the same for a run to go on.
    """

    path: str | os.PathLike[str] | None
    run: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.path is not None and not os.fspath(self.path).endswith(".safetensors"):
            raise DataError(os.fspath(self.path), "", "a checkpoint must end in .safetensors")

    def write(self, state: TrainingState) -> None:
        """Replace the file at once or not at all."""
        if self.path is None:
            return
        from safetensors.numpy import save

        arrays = {f"now/{name}": a for name, a in state.parameters.items()}
        arrays |= {f"best/{name}": a for name, a in state.best.items()}
        if state.quantities is not None:
            arrays["similarity"], arrays["quantile"] = state.quantities
        numbers = {
            "split": state.split,
            "epoch": state.epoch,
            "steps": state.steps,
            "best_loss": state.best_loss,
            "best_split": state.best_split,
        }
        text = {"run": json.dumps(self.run, sort_keys=True), "state": json.dumps(numbers)}
        arrays = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
        with atomic_write(os.fspath(self.path)) as file:
            file.write(save(arrays, metadata=text))

    def read(self) -> TrainingState | None:
        """The state that the file holds; None where there is no file.

        Raises
        ------
        DataError
            If it is no checkpoint, damaged, or of another run.
        """
        if self.path is None or not os.path.exists(self.path):
            return None
        from safetensors import SafetensorError, safe_open

        name = os.fspath(self.path)
        try:
            with safe_open(name, framework="numpy") as file:
                text = file.metadata() or {}
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            run, numbers = json.loads(text["run"]), json.loads(text["state"])
        except (SafetensorError, OSError, ValueError, KeyError) as reason:
            raise DataError(name, "", f"is not a readable checkpoint ({reason})") from None
        differing = sorted(k for k in {*run, *self.run} if run.get(k) != self.run.get(k))
        if differing:
            raise DataError(
                name,
                "",
                f"is the checkpoint of another run: {', '.join(differing)} differ; remove it, or "
                "name another file",
            )
        return TrainingState(
            parameters=_part(arrays, "now/"),
            quantities=(arrays["similarity"], arrays["quantile"])
            if "similarity" in arrays
            else None,
            best=_part(arrays, "best/"),
            **numbers,
        )


def _part(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
