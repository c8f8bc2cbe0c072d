"""Known answers and fixtures, as cases that a twin or a detector must reproduce."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.outputs import Array, Head, Outputs

__all__ = ["CASES", "Case", "assert_digits", "blobs", "fixture", "floats", "tiny_head"]

FIXTURES = Path(__file__).parents[1] / "fixtures"


@dataclass(frozen=True)
class Case:
    """`method` with `parameters`, fitted on `train`, gives `score` on `x` to so many digits."""

    method: str
    source: str
    x: Outputs
    score: Any
    train: Outputs | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    digits: int = 12
    validation: Outputs | None = None

    def __str__(self) -> str:
        listed = ",".join(f"{k}={v}" for k, v in self.parameters.items() if k != "ground")
        return f"{self.method}({listed})-{self.source}"


@cache
def fixture(name: str) -> Any:
    """The JSON file tests/fixtures/<name>.json."""
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def assert_digits(values: Any, known: Any, digits: int = 12) -> None:
    """Every value rounds to the known one, which is given to so many significant digits."""
    got, expected = np.ravel(values), floats(known).ravel()
    assert got.shape == expected.shape
    size = np.floor(np.log10(np.abs(expected), where=expected != 0, out=np.zeros_like(expected)))
    unit = 10.0 ** (size - digits + 1)
    np.testing.assert_array_less(np.abs(got - expected), 0.501 * unit)


def floats(values: Any) -> Array:
    return np.array(values, np.float64)


def features(rows: Any, labels: Any = None) -> Outputs:
    return Outputs(features=floats(rows), labels=labels)


def log_probabilities(p: Any, labels: Any = None) -> Outputs:
    return Outputs(logits=np.log(floats(p)), labels=labels)


def tiny_head() -> tuple[Outputs, Outputs]:
    """Test and training record of the cases with a 2 × 3 head."""
    known = fixture("known_answers")["vim_D1"]
    head = Head(floats(known["W"]), floats(known["b"]))
    labels = np.array([0, 0, 0, 1, 1, 1])
    train = Outputs(features=floats(known["train"]), labels=labels, head=head)
    return Outputs(features=floats(known["test"]), head=head), train


def blobs() -> tuple[Outputs, Outputs]:
    """Three rows near three classes in eight dimensions and three rows away; the training set."""
    rng = np.random.default_rng(7)
    centres = np.zeros((3, 8))
    centres[:, :3] = 6 * np.eye(3)
    labels = np.repeat([0, 1, 2], 60)
    head = Head(np.eye(3, 8), floats([0.1, 0.0, -0.1]))
    fitted = np.abs(centres[labels] + rng.normal(size=(180, 8)))
    near = np.abs(centres + rng.normal(size=(3, 8)) / 2)
    away = np.abs(floats([1.5, 1.5, 1.5, 9, 9, 9, 9, 9]) + rng.normal(size=(3, 8)) / 2)
    train = Outputs(features=fitted, labels=labels, head=head)
    return Outputs(features=np.vstack([near, away]), head=head), train


# A key of logit_A and logit_B → the method, its parameters, the sign of the number there.
ONE_ROW: dict[str, tuple[str, dict[str, Any], int]] = {
    "msp": ("msp", {}, +1),
    "kl_unif": ("msp_kl", {}, +1),
    "entropy": ("entropy", {}, -1),
    "renyi2": ("renyi", {"order": 2.0}, -1),
    "renyi_half": ("renyi", {"order": 0.5}, -1),
    "renyi_inf": ("renyi", {"order": float("inf")}, -1),
    "energy_T1": ("energy", {}, -1),
    "energy_T2": ("energy", {"temperature": 2.0}, -1),
    "maxlogit": ("max_logit", {}, +1),
    "margin": ("margin", {}, +1),
    "logit_gap": ("logit_margin", {}, +1),
    "gen_g0p1_full": ("gen", {}, +1),
    "gen_g0p1_M2": ("gen", {"top": 2}, +1),
    "doctor_alpha": ("gini", {}, -1),
    "doctor_beta": ("gini", {"variant": "beta"}, -1),
    "l1_unif": ("label_non_uniformity", {"normalise": "l1"}, +1),
    "w1_01": ("label_non_uniformity", {}, +1),
}


def one_row_cases() -> list[Case]:
    cases = []
    for name in ("logit_A", "logit_B"):
        known = fixture("known_answers")[name]
        x = Outputs(logits=floats([known["z"]]))
        for key, (method, parameters, sign) in ONE_ROW.items():
            score = floats([sign * known[key]])
            cases.append(Case(method, f"{name}.{key}", x, score, parameters=parameters))
        # The file holds p, of which the score is the logarithm; p has 12 digits, ln p one less.
        odin = floats([np.log(known["odin_T1000"])])
        cases.append(Case("odin_temperature", f"{name}.odin_T1000", x, odin, digits=11))
    known = fixture("known_answers")["nonuniformity_p"]
    x = log_probabilities([known["p"]])
    for normalise in ("l1", "w1"):
        parameters = {"normalise": normalise}
        score = floats([known[normalise]])
        cases.append(Case("label_non_uniformity", "nonuniformity_p", x, score, None, parameters))
    return cases


def ground_cases() -> list[Case]:
    name = "label_non_uniformity"
    path, cost = fixture(f"{name}_path"), fixture(f"{name}_cost")
    x = Outputs(logits=floats(path["inputs"]["logits"]))
    parameters: dict[str, Any] = {"ground": "path"}
    cases = [Case(name, f"{name}_path", x, path["outputs"]["w1"], None, parameters)]
    for kind in ("metric", "skew"):
        parameters = {"ground": tuple(map(tuple, cost["inputs"][kind]))}
        cases.append(Case(name, f"{name}_cost.{kind}", x, cost["outputs"][kind], None, parameters))
    return cases


def feature_cases() -> list[Case]:
    known = fixture("known_answers")["mahalanobis"]
    x, train = features(known["Q"]), features(known["F"], known["y"])
    cases = [
        Case("mahalanobis", "mahalanobis.mds_openood", x, known["mds_openood"], train),
        Case("relative_mahalanobis", "mahalanobis.rmds", x, known["rmds"], train),
        Case("marginal_mahalanobis", "mahalanobis.marginal", x, known["marginal"], train),
    ]
    labels, known = known["y"], fixture("known_answers")["mahalanobis_pp"]
    x, train = features(known["Q"]), features(known["F"], labels)
    cases.append(Case("mahalanobis_pp", "mahalanobis_pp.mds_pp", x, known["mds_pp"], train))

    for covariance, name in (
        ("pseudo_inverse", "mahalanobis_singular"),
        ("ledoit_wolf", "mahalanobis_ledoit_wolf"),
        ("oas", "mahalanobis_oas"),
    ):
        peer = fixture(name)
        x = features(peer["inputs"]["features"])
        train = features(peer["inputs"]["train_features"], peer["inputs"]["train_labels"])
        for method in ("mahalanobis", "marginal_mahalanobis", "relative_mahalanobis"):
            score = peer["outputs"][method]
            parameters = {"covariance": covariance}
            cases.append(Case(method, name, x, score, train, parameters, digits=10))

    peer = fixture("cosine_prototype")
    x = features(peer["inputs"]["features"])
    train = features(peer["inputs"]["train_features"], peer["inputs"]["train_labels"])
    cases.append(Case("cosine_prototype", "cosine_prototype", x, peer["outputs"]["score"], train))
    return cases


def head_cases() -> list[Case]:
    known, (x, train) = fixture("known_answers"), tiny_head()
    cases = [
        Case("vim", "vim_D1", x, known["vim_D1"]["score"], train, {"dim": 1}),
        Case("vim", "vim_D1", x, known["vim_D1"]["score"], train),
        Case("energy", "vim_D1.energy", x, known["vim_D1"]["energy"]),
        Case("react", "react_p90", x, known["react_p90"]["score"], train),
        Case("knn", "knn_k2", x, known["knn_k2"]["neg_dist"], train, {"k": 2}),
        Case("kl_matching", "klm", x, known["klm"]["score"], train),
    ]
    score = known["standardised_maxlogit"]["score"]
    cases.append(Case("standardized_max_logit", "standardised_maxlogit", x, score, train))
    known = known["softmax_centroid"]
    train = log_probabilities(known["S"], known["y"])
    x = log_probabilities(known["S"])
    score = -floats(known["dist"])
    cases.append(Case("softmax_centroid", "softmax_centroid", x, score, train))
    return cases


CASES: list[Case] = [*one_row_cases(), *ground_cases(), *feature_cases(), *head_cases()]
