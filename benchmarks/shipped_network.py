"""The network of the `fashion` benchmark and the images that ship with it, as tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from data.build.training import build_network

__all__ = ["LAYERS", "fashion_network", "images", "labels", "residual_network"]

DATA = Path(__file__).parents[1] / "data"
LAYERS = ("3", "7", "11")
"""Names of the three rectifiers of the shipped network that give maps."""


def fashion_network() -> nn.Sequential:
    """Trained on eight classes of Fashion-MNIST, in evaluation mode."""
    facts = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
    model = facts["benchmarks"]["fashion"]["model"]
    network = build_network(model["layers"])
    network.load_state_dict(load_file(DATA / model["file"]))
    return network.eval()


def images(name: str, rows: slice = slice(None)) -> Tensor:
    """(N, 1, 28, 28) inputs in [0, 1]: `id_test`, `held_out_classes`, `photographs`, ..."""
    with np.load(DATA / "fashion" / f"{name}.npz") as file:
        return torch.from_numpy(file["thumbnails"][rows]).float()[:, None] / 255


def labels(rows: slice = slice(None)) -> Tensor:
    """Classes of `id_test`."""
    with np.load(DATA / "fashion" / "id_test.npz") as file:
        return torch.from_numpy(file["labels"][rows].astype(np.int64))


def residual_network() -> nn.Module:
    """A ResNet-20 for 32 × 32 images of ten classes; random weights, for times alone."""
    torch.manual_seed(0)
    return _ResNet20().eval()


class _Block(nn.Module):
    def __init__(self, inputs: int, out: int) -> None:
        super().__init__()
        stride = 1 if inputs == out else 2
        self.body = nn.Sequential(
            nn.Conv2d(inputs, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.beside: nn.Module = nn.Identity()
        if inputs != out:
            self.beside = nn.Sequential(
                nn.Conv2d(inputs, out, 1, 2, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.beside(x))


class _ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths: list[Any] = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(*map(_Block, widths[:-1], widths[1:]))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))
