"""Arguments that are no records: one line that says what was given and what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.calibration import registered_calibrators
from ood_toolkit.errors import InputError, ToolkitError
from tests.cases import mostly_right

X = mostly_right(60, seed=1)
Z: Any = X.logits
POLICY = ood.Policy(ood.Energy().fit(), ood.Threshold.at_tpr(np.arange(20.0)))


@pytest.mark.parametrize("name", [method.name for method in ood.methods()])
def test_no_method_is_fitted_on_an_array(name: str) -> None:
    words = r"expected Outputs, got ndarray of shape \(60, 5\); wrap it: ood\.Outputs\(logits="
    with pytest.raises(InputError, match=words):
        ood.detector(name).fit(Z)
    with pytest.raises(InputError, match=r"got 'train\.npz'; read the file: ood\.load\('train"):
        ood.detector(name).fit("train.npz")  # type: ignore[arg-type]


@pytest.mark.parametrize("row", registered_calibrators(), ids=lambda row: row.name)
def test_no_calibrator_is_fitted_on_an_array(row: Any) -> None:
    with pytest.raises(InputError, match="expected Outputs, got ndarray"):
        row.calibrator().fit(Z)
    with pytest.raises(InputError, match=r"expected Outputs, got 'v\.npz'"):
        row.calibrator().fit(Path("v.npz"))


MISTAKEN: dict[str, tuple[Callable[[], object], str]] = {
    "score": (lambda: ood.Energy().fit().score(Z), "expected Outputs, got ndarray"),
    "score fitted": (lambda: ood.KNN().fit(X).score(X.features), "expected Outputs, got ndarray"),
    "apply": (lambda: ood.Temperature().fit(X).apply(Z), "expected Outputs, got ndarray"),
    "decide": (lambda: POLICY.decide(Z), "expected Outputs, got ndarray"),
    "composed": (lambda: ood.detector("react+gen").fit(Z), "expected Outputs, got ndarray"),
    "file": (lambda: ood.score("x.npz", "msp"), r"got 'x.npz'; read the file: ood.load\('x.npz'\)"),
    "arrays by name": (lambda: ood.score({"logits": Z}, "msp"), "got dict; unpack it: ood.Out"),
    "nothing": (lambda: ood.score(None, "msp"), "or an array of logits, got None"),
    "train": (lambda: ood.score(X, "knn", train=Z), "train: expected Outputs, got ndarray"),
    "id": (lambda: ood.evaluate("msp", id=Z, ood={"a": X}), "id: expected Outputs, got ndarray"),
    "id file": (lambda: ood.evaluate("msp", id="f.npz", ood={"a": X}), "id: expected Outputs, got"),
    "ood": (
        lambda: ood.evaluate("msp", id=X, ood=X),
        "ood: expected a mapping of names to Outputs",
    ),
    "one ood": (lambda: ood.evaluate("msp", id=X, ood={"a": Z}), r"ood\['a'\]: expected Outputs"),
    "tune": (lambda: ood.evaluate("knn", id=X, ood={"a": X}, tune=Z), "tune: expected Outputs"),
    "shifted": (
        lambda: ood.evaluate("msp", id=X, ood={"a": X}, shifted=X),
        "shifted: expected a m",
    ),
    "errors": (lambda: ood.evaluate_errors("msp", Z), "x: expected Outputs, got ndarray"),
    "tuned": (lambda: ood.tune("knn", Z), "train: expected Outputs, got ndarray"),
}  # type: ignore[dict-item]


@pytest.mark.parametrize("case", MISTAKEN)
def test_what_is_no_record_is_named(case: str) -> None:
    call, words = MISTAKEN[case]
    with pytest.raises(InputError, match=words):
        call()


def test_one_detector_need_not_stand_in_a_list() -> None:
    other = ood.Outputs(logits=np.asarray(X.logits) / 2)
    found = ood.evaluate(ood.MSP(), id=X, ood={"a": other}, bootstrap=0)
    assert [row.method for row in found.results] == ["msp"]


def test_a_warning_of_a_fit_names_the_caller_s_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ood.KNN(k=500).fit(X)
    assert [warning.filename for warning in caught] == [__file__]


# Tensors


def test_tensors_with_a_gradient_and_of_half_the_width_are_scored() -> None:
    torch = pytest.importorskip("torch")
    rows = torch.tensor(Z, dtype=torch.float32)
    expected = ood.score(rows.numpy(), ["msp", "energy"])
    found = ood.score(rows.clone().requires_grad_(), ["msp", "energy"])
    for name, scores in expected.items():
        np.testing.assert_array_equal(found[name], scores)
    for dtype in (torch.bfloat16, torch.float16):
        narrow = rows.to(dtype).requires_grad_()
        wide = ood.score(narrow.detach().float().numpy(), "energy")["energy"]
        np.testing.assert_allclose(ood.score(narrow, "energy")["energy"], wide, rtol=1e-6)
    assert len(ood.Outputs(logits=rows.requires_grad_(), labels=torch.arange(60) % 5)) == 60


def test_tensors_that_are_no_dense_floats_are_refused() -> None:
    torch = pytest.importorskip("torch")
    rows = torch.tensor(Z, dtype=torch.float32)
    for odd in (rows.to_sparse(), rows.to(torch.float8_e4m3fn), rows.long()):
        with pytest.raises(ToolkitError, match="logits: "):
            ood.score(odd, "msp")


@pytest.mark.cuda
def test_tensors_on_a_device_are_scored() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    rows = torch.tensor(Z, dtype=torch.float32)
    found = ood.score(rows.cuda().requires_grad_(), "energy")["energy"]
    np.testing.assert_array_equal(found, ood.score(rows.numpy(), "energy")["energy"])
