"""Published figures, from the published classifiers' own outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ood_toolkit import metrics
from ood_toolkit.metrics import Ranking

DATA = os.environ.get("OOD_TOOLKIT_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="OOD_TOOLKIT_DATA is not set")


def arrays(case, name):
    with np.load(Path(DATA) / case / f"{name}.npz") as file:
        return {key: file[key] for key in ("logits", "labels")}


def softmax(logits):
    e = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def reference(case):
    return json.loads((Path(DATA) / case / "reference.json").read_text())


def test_error_detection_of_outlier_exposure():
    # Hendrycks, Mazeika & Dietterich, ICLR 2019: FPR95 / AUROC / AUPR with errors positive.
    x = arrays("mnist_oe_baseline", "id_test")
    p = softmax(x["logits"])
    confidence, correct = metrics.top_label(p, x["labels"])
    found = metrics.error_detection(confidence, correct)
    ranking = Ranking.of(confidence[correct], confidence[~correct])
    percent = 100 * np.array(
        [ranking.fpr_at_tpr(rule="nearest_ood"), found.auroc, found.aupr_error]
    )
    np.testing.assert_array_equal(np.round(percent, 2), [6.56, 98.45, 35.47])
    assert round(100 * found.error_rate, 2) == 0.94
    assert round(metrics.nll(x["logits"], x["labels"]), 5) == 0.02780


# Hendrycks, Mazeika & Dietterich, ICLR 2019, FPR95 / AUROC / AUPR with outliers positive, over
# draws of 2,000 images: figure and deviation; without one in print, half of its last digit and
# what 20 draws may move it
PUBLISHED = {
    "ood_fashion": ((2.96, 0.12), (99.31, 0.03), (96.31, 0.15)),
    "ood_cifar10_grey": ((0.86, 0.06), (99.87, 0.01), (99.34, 0.02)),
    "ood_negative_mnist": ((5.20, 0.19), (98.55, 0.04), (91.91, 0.16)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_figures_of_outlier_exposure(name):
    confidence = [
        softmax(arrays("mnist_oe_baseline", part)["logits"]).max(axis=1)
        for part in ("id_test", name)
    ]
    rng = np.random.default_rng(0)
    figures = []
    for _ in range(20):
        ranking = Ranking.of(confidence[0], rng.choice(confidence[1], 2_000, replace=False))
        fpr = ranking.fpr_at_tpr(rule="nearest_ood")
        figures.append((100 * fpr, 100 * ranking.auroc(), 100 * ranking.aupr_out()))
    expected, within = np.array(PUBLISHED[name]).T
    assert (np.abs(np.mean(figures, axis=0) - expected) <= within).all()


@pytest.mark.parametrize(
    ("case", "rows"),
    [
        ("cifar10_resnet20", slice(None)),
        ("clinc150_minilm", slice(None)),
        ("mnist_oe_baseline", slice(5_000)),
        ("mnist_oe_calib_baseline", slice(5_000)),
    ],
)
def test_figures_of_the_classifier_itself(case, rows):
    expected = reference(case)["id"]
    x = {key: value[rows] for key, value in arrays(case, "id_test").items()}
    p = softmax(x["logits"])
    confidence, correct = metrics.top_label(p, x["labels"])
    for found, key in (
        (metrics.accuracy(p.argmax(axis=1), x["labels"]), "acc"),
        (metrics.nll(x["logits"], x["labels"]), "nll"),
        (metrics.brier(p, x["labels"]), "brier"),
        (metrics.expected_calibration_error(p, x["labels"]), "ece15"),
        (metrics.error_detection(confidence, correct).auroc, "err_det_auroc_msp"),
    ):
        if key in expected:
            assert found == pytest.approx(expected[key], abs=1e-6), key


@pytest.mark.parametrize("case", ["cifar10_resnet20", "clinc150_minilm"])
def test_figures_of_max_logit(case):
    expected = reference(case)["ood"]
    id_scores = arrays(case, "id_test")["logits"].max(axis=1)
    checked = 0
    for name, figures in expected.items():
        file = Path(DATA) / case / f"{name if name.startswith('ood_') else 'ood_' + name}.npz"
        if "maxlogit" in figures and file.exists():
            with np.load(file) as outputs:
                ranking = Ranking.of(id_scores, outputs["logits"].max(axis=1))
            for found, key in (
                (ranking.auroc(), "auroc"),
                (ranking.fpr_at_tpr(), "fpr95"),
                (ranking.aupr_in(), "aupr_in"),
            ):
                assert found == pytest.approx(figures["maxlogit"][key], abs=1e-6), (name, key)
                checked += 1
    assert checked


def test_error_rate_of_the_calibrated_network():
    # Hendrycks, Mazeika & Dietterich, ICLR 2019
    x = arrays("mnist_oe_calib_baseline", "id_test")
    wrong = 1 - metrics.accuracy(x["logits"].argmax(axis=1), x["labels"])
    assert round(100 * wrong, 2) == 0.96
