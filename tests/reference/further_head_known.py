"""Known answers and fixtures of the twins in further_head.py."""

from __future__ import annotations

import numpy as np

from ood_toolkit.outputs import Head, Outputs
from tests.reference.known import Case, fixture, floats

__all__ = ["HEAD_CASES"]


def openmax_cases() -> list[Case]:
    peer = fixture("openmax")
    given = peer["inputs"]
    x = Outputs(logits=floats(given["logits"]))
    train = Outputs(logits=floats(given["train_logits"]), labels=np.array(given["train_labels"]))
    return [
        Case("openmax", "openmax", x, -floats(score), train, {"distance": distance}, digits=6)
        for distance, score in peer["outputs"].items()
    ]


def relation_cases() -> list[Case]:
    peer = fixture("relation")
    given = peer["inputs"]
    x = Outputs(logits=floats(given["logits"]), features=floats(given["features"]))
    train = Outputs(logits=floats(given["train_logits"]), features=floats(given["train_features"]))
    return [
        Case("relation", "relation", x, score, train, {"power": float(power)}, digits=9)
        for power, score in peer["outputs"].items()
    ]


def nac_cases() -> list[Case]:
    peer = fixture("nac")
    given = peer["inputs"]
    head = Head(floats(given["head_weight"]), floats(given["head_bias"]))
    x = Outputs(features=floats(given["features"]), head=head)
    labels = np.array(given["train_labels"])
    train = Outputs(features=floats(given["train_features"]), labels=labels, head=head)
    parameters = {key: given[key] for key in ("filled", "bins", "steepness")}
    return [Case("nac", "nac", x, peer["outputs"]["score"], train, parameters, digits=6)]


def weiper_cases() -> list[Case]:
    peer = fixture("weiper")
    given = peer["inputs"]
    head = Head(floats(given["head_weight"]), floats(given["head_bias"]))
    x, train = (
        Outputs(features=floats(given[key]), head=head) for key in ("features", "train_features")
    )
    return [
        Case("weiper", "weiper", x, case["score"], train, case["parameters"], digits=9)
        for case in peer["outputs"]
    ]


def cfood_cases() -> list[Case]:
    peer = fixture("cfood")
    given = peer["inputs"]
    x, train = (Outputs(features=floats(given[key])) for key in ("features", "train_features"))
    parameters = {"fraction": 1.0, "share": given["share"]}
    return [Case("cfood", "cfood", x, peer["outputs"]["score"], train, parameters)]


def feature_odin_cases() -> list[Case]:
    peer = fixture("feature_odin")
    given = peer["inputs"]
    head = Head(floats(given["head_weight"]), floats(given["head_bias"]))
    x = Outputs(features=floats(given["features"]), head=head)
    return [
        Case("feature_odin", "feature_odin", x, np.log(case["score"]), None, case["parameters"])
        for case in peer["outputs"]
    ]


HEAD_CASES: list[Case] = [
    *feature_odin_cases(),
    *cfood_cases(),
    *weiper_cases(),
    *nac_cases(),
    *openmax_cases(),
    *relation_cases(),
]
