"""Small models in the styles of the libraries people use, and the shipped Fashion network."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

DATA = Path(__file__).resolve().parents[2] / "data"


def state_hash(model: nn.Module) -> str:
    """Everything of a model that a run could change."""
    digest = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
        digest.update(f"{tensor.requires_grad} {tensor.grad is None} {tensor.device}".encode())
    for name, module in model.named_modules():
        hooks = (
            module._forward_hooks, module._forward_pre_hooks, module._backward_hooks,
            module._forward_hooks_with_kwargs, module._forward_pre_hooks_with_kwargs,
        )  # fmt: skip
        digest.update(f"{name} {module.training} {[len(h) for h in hooks]}".encode())
    return digest.hexdigest()


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            if stride > 1 or inputs != out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        same = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + same)


class TorchvisionStyle(nn.Module):
    """A residual network with `avgpool`, a flatten that is no module, and `fc`."""

    def __init__(
        self, channels: int = 1, classes: int = 8, width: int = 8, blocks: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(width, width, 1, blocks)
        self.layer2 = self._stage(width, 2 * width, 2, blocks)
        self.layer3 = self._stage(2 * width, 4 * width, 2, blocks)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(4 * width, classes)

    @staticmethod
    def _stage(inputs: int, out: int, stride: int, blocks: int) -> nn.Sequential:
        rest = [BasicBlock(out, out, 1) for _ in range(blocks - 1)]
        return nn.Sequential(BasicBlock(inputs, out, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class TimmStyle(nn.Module):
    """`forward_features` and `forward_head`; the head is registered before what feeds it."""

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.head = nn.Linear(12, classes)
        self.stem = nn.Conv2d(1, 12, 4, 4)
        self.norm = nn.LayerNorm(12)
        self.mlp = nn.Linear(12, 12)

    def forward_features(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        return tokens + F.gelu(self.mlp(self.norm(tokens)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = F.dropout(x.mean(dim=1), 0.5, self.training)
        return x if pre_logits else self.head(x)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


class ModelOutput(OrderedDict[str, Any]):
    """Attributes and keys, as the answers of Hugging Face models have."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class HuggingFaceStyle(nn.Module):
    """Named inputs, a pooler, dropout, and an answer with `.logits` and, given labels, a loss."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.pooler = nn.Sequential(nn.Linear(16, 16), nn.Tanh())
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(16, classes)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> ModelOutput:
        mask = None if attention_mask is None else attention_mask == 0
        hidden = self.encoder(self.embedding(input_ids), src_key_padding_mask=mask)
        logits = self.classifier(self.dropout(self.pooler(hidden[:, 0])))
        answer = ModelOutput(logits=logits, hidden_states=None)
        if labels is not None:
            answer["loss"] = F.cross_entropy(logits, labels)
        return answer


class LightningStyle(nn.Module):
    """A training module around a network, with methods of the loop beside it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.loss = nn.CrossEntropyLoss()
        self.projector = nn.Linear(8, 5)  # used by the training step alone

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def training_step(self, batch: Any, index: int) -> Tensor:
        return self.loss(self(batch[0]), batch[1])


def text_batch(rows: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(5)
    mask = torch.ones(rows, 7, dtype=torch.long)
    mask[:, 5:] = 0
    return {
        "input_ids": torch.randint(0, 50, (rows, 7)),
        "attention_mask": mask,
        "labels": torch.arange(rows) % 3,
    }


@dataclass
class TextBatch:
    """The same as a dataclass."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def images(rows: int = 20, channels: int = 1, side: int = 16) -> Tensor:
    torch.manual_seed(11)
    return torch.rand(rows, channels, side, side)


def made(build: Callable[[], nn.Module]) -> nn.Module:
    """A model from a fixed seed, in training mode, its running statistics away from zero."""
    torch.manual_seed(3)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


@cache
def fashion_cnn() -> nn.Sequential:
    """The shipped network of the `fashion` benchmark, in evaluation mode."""
    facts = json.loads((DATA / "manifest.json").read_text())["benchmarks"]["fashion"]["model"]
    make: dict[str, Callable[..., nn.Module]] = {
        "conv": lambda inputs, out: nn.Conv2d(inputs, out, 3, padding=1, bias=False),
        "norm": nn.BatchNorm2d,
        "relu": nn.ReLU,
        "pool": lambda: nn.MaxPool2d(2),
        "flatten": nn.Flatten,
        "linear": nn.Linear,
    }
    net = nn.Sequential(*(make[kind](*sizes) for kind, *sizes in facts["layers"]))
    net.load_state_dict(load_file(DATA / facts["file"]))
    return net.eval()


def fashion_images(name: str) -> Tensor:
    """(N, 1, 28, 28) inputs in [0, 1] of a shipped set: `id_test` or one of the OOD sets."""
    with np.load(DATA / "fashion" / f"{name}.npz") as file:
        return torch.from_numpy(file["thumbnails"]).float()[:, None] / 255
