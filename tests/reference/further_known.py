"""Known answers and fixtures of the twins in further.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.outputs import Head, Outputs
from tests.reference.further_density_known import DENSITY_CASES
from tests.reference.further_ensemble import ENSEMBLE_CASES
from tests.reference.further_head_known import HEAD_CASES
from tests.reference.further_incremental import INCREMENTAL_CASES
from tests.reference.further_sdm import SDM_CASES
from tests.reference.further_sequences import SEQUENCE_CASES
from tests.reference.known import Case, features, fixture, floats, tiny_head

__all__ = ["FURTHER_CASES"]


def logit_cases() -> list[Case]:
    cases = []
    for name in ("logit_A", "logit_B"):
        known = fixture("known_answers")[name]
        x, score = Outputs(logits=floats([known["z"]])), [max(known["zloss_std"])]
        cases.append(Case("standardized_logit", f"{name}.zloss_std", x, score))

    known = fixture("known_answers")["tsim"]
    members = np.log(floats(known["heads"]))[:, np.newaxis]
    cases.append(Case("t_similarity", "tsim", Outputs(members=members), [known["value"]]))

    # two members, (.9, .1) and (.1, .9): ln 2, ln 2 - .3250829733916, and .41 - .25
    opposite = Outputs(members=np.log(floats([[[0.9, 0.1]], [[0.1, 0.9]]])))
    for name, score in (
        ("predictive_entropy", -0.693147180560),
        ("mutual_information", -0.368064207168),
        ("class_variance", -0.16),
    ):
        cases.append(Case(name, "by-hand", opposite, [score]))

    known = fixture("known_answers")["logit_image"]
    z, head = floats(known["logits"]), Head(floats(known["W"]))
    raised = z + floats([0, 0, 0, 1])
    ratio = -known["resid_perturbed"] / np.linalg.norm(raised)
    x = Outputs(logits=np.array([z, raised]), head=head)
    cases.append(Case("logit_signature", "logit_image", x, [0, ratio], digits=11))
    logs = floats([known["logprob"]])
    ratio = -known["resid_logprob_without_ones"] / np.linalg.norm(logs)
    for ones, score in ((False, [ratio]), (True, [0.0])):
        x, parameters = Outputs(logits=logs, head=head), {"ones": ones}
        cases.append(Case("logit_signature", "logit_image", x, score, None, parameters, 11))

    for name, key, sign in (
        ("evidential", "uncertainty", -1),
        ("information_gain", "score", +1),
        ("inhibited_softmax", "score", +1),
        ("vote_entropy", "vote_entropy", -1),
    ):
        peer = fixture(name)
        given = peer["inputs"]
        arrays = {key: floats(value) for key, value in given.items() if key != "a"}
        x = Outputs(logits=arrays.get("logits"), members=arrays.get("members"))
        train = Outputs(logits=arrays.get("train_logits"))
        parameters = {k: given[k] for k in ("a",) if k in given}
        cases.append(Case(name, name, x, sign * floats(peer["outputs"][key]), train, parameters))
    return cases


def feature_cases() -> list[Case]:
    labels = fixture("known_answers")["mahalanobis"]["y"]
    known = fixture("known_answers")["mahalanobis_pp"]
    x, train = features(known["Q"]), features(known["F"], labels)
    score = known["rmds_pp"]
    cases = [Case("relative_mahalanobis_pp", "mahalanobis_pp.rmds_pp", x, score, train)]

    peer = fixture("feature_norm")
    x, score = features(peer["inputs"]["features"]), peer["outputs"]["score"]
    cases.append(Case("feature_norm", "feature_norm", x, score))
    x = features([[3, -9, 4]])
    cases.append(Case("feature_norm", "by-hand", x, [5.0], parameters={"order": 2}))
    return cases


def head_cases() -> list[Case]:
    known, (x, train) = fixture("known_answers"), tiny_head()
    rows: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("gradnorm", "gradnorm", known["gradnorm"]["sum_target_ones"], {}),
        (
            "gradnorm",
            "gradnorm",
            known["gradnorm"]["mean_target_uniform"],
            {"target": "uniform"},
        ),
        ("fdbd", "fdbd", known["fdbd"]["score"], {}),
        ("nci", "nci_alpha1e-4", known["nci_alpha1e-4"], {}),
        ("ora", "ora_max", known["ora_max"], {}),
        ("she", "she", known["she"]["score"], {}),
        (
            "nnguide",
            "nnguide_full_bank_k2",
            known["nnguide_full_bank_k2"],
            {"k": 2, "fraction": 1.0},
        ),
        ("dice", "dice_p50", known["dice_p50"]["score"], {"percentile": 50}),
        ("neco", "neco_d2", known["neco_d2"]["score"], {"dim": 2}),
        ("neco", "neco_d2", known["neco_d2"]["ratio"], {"dim": 2, "max_logit": False}),
        ("residual", "vim_D1", -floats(known["vim_D1"]["residual"]), {"dim": 1}),
    ]
    cases = [
        Case(name, source, x, score, train, parameters) for name, source, score, parameters in rows
    ]
    # One weight of 1 a class reads the shaped row out: energy is lse of the shaped features.
    for name, key in (("ash_p", "P"), ("ash_b", "B"), ("ash_s", "S"), ("scale", "SCALE")):
        shaping = known[f"act_shape_{key}_p70"]
        x = Outputs(features=floats([shaping["f"]]), head=Head(np.eye(10)))
        score = [np.log(np.sum(np.exp(floats(shaping["out"]))))]
        cases.append(Case(name, f"act_shape_{key}", x, score, None, {"percentile": 70.0}, 10))
    peer = fixture("vra")
    given = peer["inputs"]
    head = Head(floats(given["head_weight"]), floats(given["head_bias"]))
    x, train = (
        Outputs(features=floats(given[key]), head=head) for key in ("features", "train_features")
    )
    cases.append(Case("vra", "vra", x, peer["outputs"]["score"], train))
    return cases


FURTHER_CASES: list[Case] = [
    *logit_cases(),
    *feature_cases(),
    *head_cases(),
    *SDM_CASES,
    *HEAD_CASES,
    *SEQUENCE_CASES,
    *INCREMENTAL_CASES,
    *ENSEMBLE_CASES,
    *DENSITY_CASES,
]
