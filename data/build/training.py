"""The networks: built from a list of layers, trained and run with torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["Recipe", "build_network", "run", "train"]

BATCH_OUT = 500

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum under a one-cycle learning rate."""

    epochs: int
    batch: int
    peak_rate: float
    weight_decay: float
    momentum: float = 0.9
    flip: bool = False
    """Whether half of the images of a batch are mirrored left to right."""
    threads: int = 2
    """Threads torch may use: the order of its sums, and so the bits, depend on them."""


def build_network(layers: Sequence[Sequence[Any]]) -> nn.Sequential:
    """A network from a list such as [["conv", 1, 16], ["norm", 16], ["relu"], ...].

    The last layer is linear and is the head; what enters it are the features.  Parameters
    are named by position: layer 3's weight is "3.weight".
    """
    make = {
        "conv": lambda inputs, out: nn.Conv2d(inputs, out, kernel_size=3, padding=1, bias=False),
        "norm": nn.BatchNorm2d,
        "relu": nn.ReLU,
        "pool": lambda: nn.MaxPool2d(2),
        "flatten": nn.Flatten,
        "linear": nn.Linear,
    }
    return nn.Sequential(*(make[kind](*sizes) for kind, *sizes in layers))


def _tensor(images: Array) -> torch.Tensor:
    """(N, H, W) bytes as the (N, 1, H, W) float32 input in [0, 1] of a network."""
    return torch.from_numpy(np.ascontiguousarray(images)).float()[:, None] / 255


def train(
    layers: Sequence[Sequence[Any]], images: Array, labels: Array, recipe: Recipe, seed: int
) -> nn.Sequential:
    """A network trained from scratch; the same seed gives the same bits on one machine."""
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    net = build_network(layers)
    inputs, targets = _tensor(images), torch.from_numpy(labels)
    batches = len(inputs) // recipe.batch
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=recipe.peak_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.peak_rate, total_steps=recipe.epochs * batches
    )
    net.train()
    started = time.monotonic()
    for epoch in range(recipe.epochs):
        total = 0.0
        order = torch.randperm(len(inputs))[: batches * recipe.batch]
        for rows in order.split(recipe.batch):
            batch = inputs[rows]
            if recipe.flip:
                mirrored = torch.rand(len(rows)) < 0.5
                batch = torch.where(mirrored[:, None, None, None], batch.flip(3), batch)
            loss = nn.functional.cross_entropy(net(batch), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.monotonic() - started
        print(
            f"seed {seed}: epoch {epoch + 1}/{recipe.epochs}, "
            f"loss {total / batches:.4f}, {seconds:.0f} s",
            file=sys.stderr,
        )
    return net.eval()


def run(net: nn.Sequential, images: Array) -> tuple[Array, Array]:
    """Logits (N, C) and features (N, D), float32, of the network in evaluation mode."""
    net.eval()
    logits, features = [], []
    with torch.no_grad():
        for batch in _tensor(images).split(BATCH_OUT):
            penultimate = net[:-1](batch)
            features.append(penultimate.numpy())
            logits.append(net[-1](penultimate).numpy())
    return np.concatenate(logits), np.concatenate(features)
