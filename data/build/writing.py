"""From a trained network to the files of a benchmark and its entry in the manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save
from torch import nn

from data.build.plan import Plan, Split, figures, tolerance
from data.build.training import run

__all__ = ["MANIFEST", "SHIPPED", "read_manifest", "write_benchmark"]

Array = npt.NDArray[Any]

SHIPPED = Path(__file__).resolve().parents[1]
"""The folder whose content is shipped."""

MANIFEST = "manifest.json"

STORED = {
    "logits": "float32, computed by the network from its float32 features",
    "features": "the float32 features, which are what the head multiplies, rounded to float16; "
    "the head applied to them gives the logits within that rounding",
    "labels": "int8, positions in class_names; absent in OOD files",
    "thumbnails": "uint8, the exact input of the network; absent in train and id_val files",
    "index": "row of the image in its source",
    "source_class": "class of the image in its source, where that is no class of the classifier",
    "place": "photograph, scale, top and left edge of a crop",
}

RULE = (
    "The shipped seed is the most typical of those tried: its figures differ least, in sum, from "
    "those of the others, listed below.  Tolerance of each figure: twice the largest deviation "
    "from shipped_metrics among them, rounded up to a hundredth, at least 0.01.  The shipped seed "
    "on the same machine and libraries gives the same bytes."
)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in `folder`, or an empty one."""
    path = folder / MANIFEST
    if not path.exists():
        return {"schema": 1, "benchmarks": {}}
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _entry(path: Path, folder: Path, **facts: Any) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "file": path.relative_to(folder).as_posix(),
        **{name: value for name, value in facts.items() if value is not None},
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _arrays(split: Split, net: nn.Sequential) -> dict[str, Array]:
    logits, features = run(net, split.images)
    arrays: dict[str, Array] = {"logits": logits, "features": features.astype(np.float16)}
    if not np.isfinite(arrays["features"]).all():
        raise SystemExit(f"{split.name}: a feature does not fit float16")
    if split.labels is not None:
        arrays["labels"] = split.labels.astype(np.int8)
    if split.thumbnails:
        arrays["thumbnails"] = split.images
    return {**arrays, **split.extra}


def _write_model(net: nn.Sequential, folder: Path) -> tuple[Path, Path]:
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    model, head = folder / "model.safetensors", folder / "head.safetensors"
    model.write_bytes(save(state))
    last = len(net) - 1
    layer = {"head_weight": state[f"{last}.weight"], "head_bias": state[f"{last}.bias"]}
    head.write_bytes(save(layer))
    return model, head


def _model_facts(plan: Plan, net: nn.Sequential) -> dict[str, Any]:
    linear = net[-1]
    assert isinstance(linear, nn.Linear)
    return {
        "file": f"{plan.name}/model.safetensors",
        "head": f"{plan.name}/head.safetensors",
        "layers": plan.layers,
        "layer_kinds": "conv: 3x3, padding 1, no bias; norm: batch normalisation; "
        "pool: 2x2 maximum; parameters are named by the layer's position",
        "input": "thumbnails / 255 as float32, shape (N, 1, H, W)",
        "features": linear.in_features,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }


def write_benchmark(
    plan: Plan, net: nn.Sequential, folder: Path, seeds: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the files under `folder/NAME` and the entry in `folder/manifest.json`; return it.

    `seeds` holds the figures of networks trained with other seeds; where it is empty those
    already in the manifest are kept.
    """
    place = folder / plan.name
    place.mkdir(parents=True, exist_ok=True)
    files, splits = [], {}
    for split in plan.splits:
        arrays = _arrays(split, net)
        path = place / f"{split.file}.npz"
        np.savez_compressed(path, allow_pickle=False, **arrays)
        splits[split.name] = arrays
        files.append(
            _entry(
                path,
                folder,
                role=split.role,
                name=split.name,
                group=split.group,
                rows=len(split.images),
                origin=split.origin,
                licence=split.licence,
            )
        )
    model, head = _write_model(net, place)
    notice = place / "NOTICE"
    if folder.resolve() != SHIPPED:
        shutil.copyfile(SHIPPED / plan.name / "NOTICE", notice)
    for path, role in ((head, "head"), (model, "model"), (notice, "notice")):
        files.append(_entry(path, folder, role=role))

    manifest = read_manifest(folder)
    before = manifest["benchmarks"].get(plan.name, {}).get("rebuild", {})
    seeds = seeds or before.get("seeds", {})
    stated = figures(splits, {split.name: split.role for split in plan.splits})
    entry = {
        "title": plan.title,
        "description": plan.description,
        "licence": plan.licence,
        "class_names": plan.class_names,
        "held_out": plan.held_out,
        "model": _model_facts(plan, net),
        "training": {
            "seed": plan.seed,
            "rows": len(plan.training_images),
            **asdict(plan.recipe),
        },
        "built_with": {name: version(name) for name in ("torch", "numpy", "scikit-learn")},
        "sources": plan.sources,
        "stored": STORED,
        "files": files,
        "shipped_metrics": stated,
        "rebuild": {"rule": RULE, "tolerance": tolerance(stated, seeds), "seeds": seeds},
    }
    manifest["benchmarks"][plan.name] = entry
    manifest["benchmarks"] = dict(sorted(manifest["benchmarks"].items()))
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return entry
