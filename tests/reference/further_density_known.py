"""Fixtures of the twins in further_density.py, made by outside code."""

from __future__ import annotations

from typing import Any

from ood_toolkit.outputs import Outputs
from tests.reference.known import Case, features, fixture, floats

__all__ = ["DENSITY_CASES"]

ALL_ROWS = {"components": 2, "per_class": False, "ridge": 0.1}

# method, key of the fixture's outputs, sign there, parameters, digits both sides share
ANSWERS: list[tuple[str, str, int, dict[str, Any], int]] = [
    ("ssd", "one", -1, {}, 8),
    ("ssd", "classes", -1, {"clusters": "classes"}, 8),
    ("trust_score", "nearest", +1, {}, 11),
    ("trust_score", "second", +1, {"neighbor": 2}, 11),
    ("trust_score", "dense", +1, {"neighbor": 2, "k": 4, "alpha": 0.3}, 11),
    ("pca", "score", +1, {}, 9),
    ("corp", "score", +1, {"width": 32, "seed": 3}, 9),
    ("kde", "fixed", +1, {"bandwidth": 0.75}, 11),
    ("kde", "auto", +1, {}, 11),
    ("kde", "per_class", +1, {"bandwidth": 0.75, "per_class": True}, 11),
    ("gmm", "classes", +1, {"ridge": 0.01}, 11),
    ("gmm", "full", +1, {**ALL_ROWS, "covariance": "full"}, 11),
    ("gmm", "tied", +1, {**ALL_ROWS, "covariance": "tied"}, 11),
    ("lof", "k5", +1, {"k": 5}, 11),
    ("lof", "k20", +1, {}, 11),
    ("isolation_forest", "default", +1, {}, 11),
    ("isolation_forest", "few", +1, {"trees": 10, "samples": 8, "seed": 1}, 11),
    ("hvcm_blocks", "one", +1, {"ridge": 1e-14}, 10),
    ("hvcm_blocks", "two", +1, {"ridge": 1e-14, "blocks": 2}, 10),
    ("hvcm_blocks", "four", +1, {"ridge": 1e-14, "blocks": 4}, 10),
]


def density_case(method: str, key: str, sign: int, parameters: dict[str, Any], digits: int) -> Case:
    peer = fixture(method)
    given = peer["inputs"]
    x = features(given["features"])
    if "logits" in given:
        x = Outputs(features=x.features, logits=floats(given["logits"]))
    train = features(given["train_features"], given["train_labels"])
    score = sign * floats(peer["outputs"][key])
    return Case(method, f"{method}.{key}", x, score, train, parameters, digits)


DENSITY_CASES: list[Case] = [density_case(*answer) for answer in ANSWERS]
