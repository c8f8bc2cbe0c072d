"""Rules of acceptance in a guard: those of the shell, stored or given, on disk and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import ood_toolkit as ood
from ood_toolkit.decision import ClassThresholds, MethodRule, RiskRule, Threshold
from ood_toolkit.detectors.persistence import read_scorer
from ood_toolkit.errors import InputError
from ood_toolkit.models import load_guard, wrap
from tests.cli.running import tool
from tests.models.networks import DATA, fashion_cnn, fashion_images

ROWS = torch.cat([fashion_images("id_test")[2000:2100], fashion_images("photographs")[:100]])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of held-out rows and of those to be judged, and two fitted detectors."""
    folder = tmp_path_factory.mktemp("rules")
    labels = np.load(DATA / "fashion" / "id_test.npz")["labels"][:1500].astype(np.int64)
    clf = wrap(fashion_cnn())
    held = clf.outputs([(fashion_images("id_test")[:1500], torch.from_numpy(labels))])
    ood.save_outputs(held, folder / "val.npz")
    ood.save_outputs(clf.outputs(ROWS), folder / "rows.npz")
    ood.Energy().fit().save(folder / "energy.safetensors")
    train = ood.load_benchmark("fashion").train
    ood.SoftmaxCentroid().fit(train).save(folder / "softmax_centroid.safetensors")
    return folder


KINDS = {
    "tpr": ("energy", ("--tpr", "0.9"), Threshold),
    "guarantee": ("energy", ("--guarantee",), Threshold),
    "class": ("energy", ("--rule", "class", "--tpr", "0.9"), ClassThresholds),
    "selective-risk": ("energy", ("--rule", "selective-risk", "--risk", "0.1"), RiskRule),
    "expected-error": ("energy", ("--rule", "expected-error", "--risk", "0.05"), RiskRule),
    "method": ("softmax_centroid", ("--rule", "method"), MethodRule),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_accepts_what_the_shell_accepts(kind: str, files: Path, tmp_path: Path) -> None:
    method, options, rule = KINDS[kind]
    detector, scores = tmp_path / "detector.safetensors", tmp_path / "scores.csv"
    run = tool("threshold", "--detector", files / f"{method}.safetensors",
               "--id-val", files / "val.npz", *options, "-o", detector)  # fmt: skip
    assert run.status == 0, run.err
    run = tool("score", files / "rows.npz", "--detector", detector, "-o", scores)
    assert run.status == 0, run.err
    with scores.open() as table:
        said = list(csv.DictReader(table))
    expected = np.array([row["accept"] == "true" for row in said])
    assert 0 < expected.sum() < len(expected)

    clf = wrap(fashion_cnn())
    guard = clf.guard(detector)
    assert isinstance(guard.threshold, rule)
    verdict, explained = guard(ROWS), guard.explain(ROWS)
    np.testing.assert_array_equal(verdict.accept, expected)
    np.testing.assert_array_equal(verdict.score, [float(row[method]) for row in said])
    np.testing.assert_array_equal(explained.accept, expected)
    np.testing.assert_array_equal(explained.p_value, [float(row["p_value"]) for row in said])
    for accepted, reason in zip(expected, explained.reason, strict=True):
        assert reason.startswith(f"accepted: {method}" if accepted else f"rejected: {method}: ")
        assert "nan" not in reason
    given = clf.guard(read_scorer(str(detector)).scorer, rule=guard.threshold)
    np.testing.assert_array_equal(given(ROWS).accept, expected)

    guard.save(tmp_path / "guard.safetensors")
    again = load_guard(tmp_path / "guard.safetensors", fashion_cnn())
    assert isinstance(again.threshold, rule)
    assert again.explain(ROWS).reason == explained.reason
    if rule is MethodRule:
        with pytest.raises(InputError, match="cannot be exported"):
            guard.module()
        return
    score, accept = guard.module()(ROWS)[2:]
    limits = guard.threshold.verdict(guard.outputs(ROWS), verdict.score.numpy(), guard.scorer).limit
    clear = np.abs(score.numpy() - limits) > 1e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(accept.numpy()[clear], expected[clear])


def test_held_out_rows_come_before_a_stored_rule(files: Path, tmp_path: Path) -> None:
    detector = tmp_path / "detector.safetensors"
    run = tool("threshold", "--detector", files / "energy.safetensors",
               "--id-val", files / "val.npz", "--tpr", "0.5", "-o", detector)  # fmt: skip
    assert run.status == 0, run.err
    clf, held = wrap(fashion_cnn()), ood.load(files / "val.npz")
    assert clf.guard(str(detector)).threshold.facts()["tpr"] == 0.5
    guard = clf.guard(str(detector), id_val=held, tpr=0.9)
    assert guard.threshold.facts()["tpr"] == 0.9
    assert guard.threshold.facts() == clf.guard("energy", id_val=held, tpr=0.9).threshold.facts()


def test_something_says_what_to_accept(files: Path) -> None:
    clf = wrap(fashion_cnn())
    for method in ("energy", files / "energy.safetensors"):
        with pytest.raises(InputError, match="a guard needs id_val"):
            clf.guard(method)
    rule = Threshold.at_tpr(np.arange(100.0))
    with pytest.raises(InputError, match="Temperature is fitted on id_val"):
        clf.guard("energy", rule=rule, calibrator="temperature")
    assert clf.guard("energy", rule=rule)(ROWS[:2]).accept.shape == (2,)
