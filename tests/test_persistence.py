"""Detector files: what goes in comes out, and what was changed is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from ood_toolkit.decision import Threshold
from ood_toolkit.detectors import make_detector
from ood_toolkit.detectors.persistence import FORMAT, load_scorer, read_scorer
from ood_toolkit.detectors.planner import fit_method
from ood_toolkit.detectors.saving import save_scorer
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import save_outputs
from ood_toolkit.io.fitted import fitted_digest
from tests.cases import CLASSES, DIMS, record

Metadata = dict[str, str]
Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector file with everything in it."""
    train = record(60, seed=1)
    scorer = fit_method(make_detector("mahalanobis"), train)
    threshold = Threshold.at_tpr(scorer.score(record(20, seed=2)))
    path = tmp_path_factory.mktemp("detector") / "good.safetensors"
    save_scorer(
        scorer,
        path,
        fitted_on={"file": "train.npz", "rows": 60, "sha256": "ab"},
        threshold=threshold.facts(),
        id_scores=threshold.id_scores,
    )
    return path


def parts(path: Path) -> tuple[Metadata, Tensors]:
    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def changed(
    good: Path, tmp_path: Path, change: Callable[[Metadata, Tensors], Any], *, signed: bool
) -> Path:
    """A file with something changed; `signed`, with the checksum of a careful forger."""
    metadata, tensors = parts(good)
    change(metadata, tensors)
    if signed:
        metadata["sha256"] = fitted_digest(metadata, tensors)
    path = tmp_path / "changed.safetensors"
    save_file(tensors, path, metadata=metadata)
    return path


def test_the_file_is_plain_safetensors_with_the_promised_metadata(good: Path) -> None:
    metadata, tensors = parts(good)
    assert {
        "format", "toolkit", "method", "parameters", "classes", "dims", "threshold", "fitted_on",
    } <= set(metadata)  # fmt: skip
    assert metadata["method"] == "mahalanobis"
    assert json.loads(metadata["parameters"]) == {"covariance": "pseudo_inverse"}
    assert (metadata["classes"], metadata["dims"]) == (str(CLASSES), str(DIMS))
    assert json.loads(metadata["fitted_on"])["rows"] == 60
    assert json.loads(metadata["threshold"])["tpr"] == 0.95
    assert all(array.dtype == np.float64 for array in tensors.values())


def test_threshold_and_provenance_come_back(good: Path) -> None:
    saved = read_scorer(good)
    assert saved.fitted_on == {"file": "train.npz", "rows": 60, "sha256": "ab"}
    assert saved.threshold is not None
    threshold = Threshold.from_facts(saved.threshold, saved.id_scores)
    expected = Threshold.at_tpr(saved.scorer.score(record(20, seed=2)))
    assert threshold.value == expected.value
    assert np.array_equal(threshold.id_scores, expected.id_scores)


def test_a_scorer_without_threshold_has_none(tmp_path: Path) -> None:
    path = tmp_path / "energy.safetensors"
    make_detector("energy", {"temperature": 2.0}).fit(None).save(path)
    saved = read_scorer(path)
    assert (saved.threshold, dict(saved.fitted_on), saved.id_scores.size) == (None, {}, 0)
    assert saved.scorer.detector == make_detector("energy", {"temperature": 2.0})


def test_infinite_parameters_and_scores_survive(tmp_path: Path) -> None:
    path = tmp_path / "renyi.safetensors"
    scorer = make_detector("renyi", {"order": np.inf}).fit(None)
    scores = np.array([-np.inf, 0.0, np.inf])
    threshold = Threshold.at_tpr(scores, 1.0)
    save_scorer(scorer, path, threshold=threshold.facts(), id_scores=scores)
    saved = read_scorer(path)
    assert saved.scorer.detector == scorer.detector
    assert saved.threshold is not None
    assert saved.threshold["value"] == -np.inf
    assert saved.id_scores.tolist() == [-np.inf, 0.0, np.inf]


def test_every_flipped_byte_is_noticed(good: Path, tmp_path: Path) -> None:
    """A byte of the arrays, or of anything that decides a score, never changes in silence."""
    data = good.read_bytes()
    header = int.from_bytes(data[:8], "little")
    begin = 8 + header
    path = tmp_path / "flipped.safetensors"
    for at in range(begin, len(data), max(1, (len(data) - begin) // 200)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(DataError, match="changed after it was written"):
            load_scorer(path)


def test_every_flipped_byte_of_the_header_is_noticed(good: Path, tmp_path: Path) -> None:
    data = good.read_bytes()
    header = int.from_bytes(data[:8], "little")
    path = tmp_path / "flipped.safetensors"
    for at in range(8 + len(data[8 : 8 + header].rstrip())):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :])
        with pytest.raises(DataError, match=r"flipped\.safetensors: ") as caught:
            read_scorer(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1, -8])
def test_a_cut_file_is_refused(good: Path, tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(good.read_bytes()[:length])
    with pytest.raises(DataError, match=r"cut\.safetensors: "):
        load_scorer(path)


def set_key(key: str, value: str) -> Callable[[Metadata, Tensors], Any]:
    return lambda metadata, tensors: metadata.update({key: value})


def replaced(key: str, old: str, new: str) -> Callable[[Metadata, Tensors], Any]:
    def change(metadata: Metadata, tensors: Tensors) -> None:
        assert old in metadata[key]
        metadata[key] = metadata[key].replace(old, new)

    return change


def array(key: str, change: Callable[[np.ndarray], Any]) -> Callable[[Metadata, Tensors], Any]:
    def apply(metadata: Metadata, tensors: Tensors) -> None:
        tensors[key] = change(tensors[key])

    return apply


CHANGES = {
    "a newer format": (set_key("format", str(FORMAT + 1)), r"format: is version 2.*upgrade"),
    "a format that is no number": (set_key("format", "one"), "damaged"),
    "another method": (set_key("method", "knn"), "says knn but the arrays are of mahalanobis"),
    "no method": (lambda m, t: m.pop("method"), "holds no detector"),
    "no tree": (lambda m, t: m.pop("scorer"), "damaged"),
    "an unknown method": (replaced("scorer", "mahalanobis", "mahalanobiz"), "unknown method"),
    "an unknown type": (replaced("scorer", "GaussianScorer", "os.system"), "damaged"),
    "a transform": (
        set_key("scorer", '{"type": "ClippedFeatures", "fields": {"limit": 1.0}}'),
        "is not a scorer|damaged",
    ),
    "a number": (set_key("scorer", "1"), "is not a scorer"),
    "an unknown parameter": (
        replaced("scorer", '"covariance":"pseudo_inverse"', '"shrinkage":1'),
        "no parameter 'shrinkage'",
    ),
    "a bad parameter": (replaced("scorer", "pseudo_inverse", "none"), "covariance takes"),
    "no JSON": (set_key("scorer", "{"), "damaged"),
    "other dims": (replaced("scorer", f'"dims":{DIMS}', '"dims":9'), r"origin must be \(D\)"),
    "a missing array": (lambda m, t: t.pop("scorer.origin"), "damaged"),
    "a NaN": (array("scorer.origin", lambda a: a * np.nan), "origin holds NaN or infinity"),
    "infinity": (array("scorer.origin", lambda a: a + np.inf), "origin holds NaN or infinity"),
    "a shorter array": (
        array("scorer.origin", lambda a: a[:-1]),
        r"origin must be \(D\), got shape \(7,\)",
    ),
    "an axis less": (
        array("scorer.class_whitening", lambda a: a[:, 0].copy()),
        r"class_whitening must be \(D r\), got shape \(8,\)",
    ),
    "a threshold without its scores": (
        lambda m, t: t.pop("id_scores"),
        "id_scores: are not the scores the threshold was set on",
    ),
}


def test_what_is_changed_without_the_checksum_is_noticed(good: Path, tmp_path: Path) -> None:
    for change, _ in CHANGES.values():
        path = changed(good, tmp_path, change, signed=False)
        with pytest.raises(DataError):
            load_scorer(path)
    path = changed(good, tmp_path, lambda m, t: m.pop("sha256"), signed=False)
    with pytest.raises(DataError, match="damaged"):
        load_scorer(path)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused_in_one_line(name: str, good: Path, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    path = changed(good, tmp_path, change, signed=True)
    with pytest.raises(DataError, match=words) as caught:
        load_scorer(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 3


def test_an_outputs_file_is_no_detector(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_outputs(record(5, seed=1), path)
    with pytest.raises(DataError, match="holds no detector; `ood-toolkit fit"):
        load_scorer(path)


@pytest.mark.parametrize("name", ["nowhere.safetensors", "folder", "text.safetensors"])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.safetensors").write_text("not a detector, " * 10)
    with pytest.raises(DataError, match=name):
        load_scorer(tmp_path / name)


def test_only_safetensors_names_are_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.safetensors"):
        make_detector("energy").fit(None).save(tmp_path / "d.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    path.write_bytes(good.read_bytes())
    unsavable = make_detector("energy").fit(None)
    object.__setattr__(unsavable, "classes", object())
    with pytest.raises(TypeError):
        unsavable.save(path)
    assert path.read_bytes() == good.read_bytes()
    assert os.listdir(tmp_path) == ["d.safetensors"]


def test_the_same_fit_gives_the_same_bytes(good: Path, tmp_path: Path) -> None:
    saved = read_scorer(good)
    again = tmp_path / "again.safetensors"
    save_scorer(
        saved.scorer,
        again,
        fitted_on=saved.fitted_on,
        threshold=saved.threshold,
        id_scores=saved.id_scores,
    )
    assert again.read_bytes() == good.read_bytes()


def test_a_loaded_scorer_refuses_other_dimensions(good: Path) -> None:
    scorer = load_scorer(good)
    with pytest.raises(
        InputError, match="features have 9 columns, but mahalanobis was fitted on 8"
    ):
        scorer.score(record(3, seed=1, dims=9))
    with pytest.raises(InputError, match="7 classes, but mahalanobis was fitted on 5 classes"):
        scorer.score(record(3, seed=1, classes=7))
