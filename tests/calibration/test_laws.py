"""What holds for every calibrator: its twin, its promises, its file, its refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit
from ood_toolkit.calibration import (
    changed_predictions,
    find_calibrator,
    load_calibrator,
    make_calibrator,
    registered_calibrators,
)
from ood_toolkit.calibration.registry import method_of_calibrator
from ood_toolkit.errors import BadParameter, DataError, InputError, ToolkitWarning, UnknownName
from ood_toolkit.outputs import Outputs
from tests.calibration.cases import NAMES, QUICK, fitted, overconfident, softmax
from tests.calibration.twins import TWINS

each = pytest.mark.parametrize("name", NAMES)
FITS = [name for name in NAMES if find_calibrator(name).validation]


def more_of(x: Outputs, i: int) -> dict[str, list[float]]:
    assert x.features is not None
    return {"features": x.features[i].tolist(), "early": x.layers["early"][i].tolist()}


def test_every_calibrator_has_a_twin() -> None:
    assert set(TWINS) == set(NAMES)


@each
def test_probabilities_equal_the_twin_s(name: str) -> None:
    calibrator, x = fitted(name), overconfident(25, seed=3)
    p = softmax(calibrator.apply(x).logits)
    assert x.logits is not None
    for i, row in enumerate(x.logits.tolist()):
        expected = [float(q) for q in TWINS[name](calibrator, row, more_of(x, i))]
        np.testing.assert_allclose(p[i], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "matrix"])
def test_a_masked_class_stays_masked(name: str) -> None:
    calibrator, x = fitted(name), overconfident(20, seed=4)
    assert x.logits is not None
    logits = x.logits.copy()
    logits[::2, 1] = -np.inf
    x = replace(x, logits=logits)
    new = calibrator.apply(x).logits
    assert (new[::2, 1] == -np.inf).all()
    p = softmax(new)
    assert np.isfinite(p).all()
    for i in (0, 2, 5):
        expected = [float(q) for q in TWINS[name](calibrator, logits[i].tolist(), more_of(x, i))]
        np.testing.assert_allclose(p[i], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FITS)
def test_probabilities_in_place_of_logits_are_warned_of(name: str) -> None:
    x = overconfident(400, seed=6)
    given = replace(x, logits=softmax(x.logits), source="file.npz")
    maker = make_calibrator(name, QUICK.get(name, {}))
    train = (x,) if find_calibrator(name).train else ()
    with pytest.warns(ToolkitWarning, match=r"^file.npz: logits: .* look like probabilities"):
        maker.fit(given, *train)


def test_matrix_refuses_a_masked_class() -> None:
    x = overconfident(2000, seed=4)
    assert x.logits is not None
    x.logits[1500, 1] = -np.inf
    x = replace(x, source="file.npz")
    with pytest.raises(InputError, match=r"^file.npz: logits: row 1500 has a masked class"):
        fitted("matrix").apply(x)
    with pytest.raises(InputError, match="row 1500 has a masked class"):
        make_calibrator("matrix").fit(x)


@each
def test_a_prediction_is_kept_where_that_is_promised(name: str) -> None:
    calibrator = fitted(name)
    x = overconfident(3000, seed=5, factor=8.0)
    assert x.logits is not None
    ties = np.round(x.logits)
    ties[::7] = 0.0
    for logits in (x.logits, ties, 1e17 * ties, 1e-3 * x.logits):
        before = replace(x, logits=logits)
        changed = changed_predictions(before, calibrator.apply(before))
        if find_calibrator(name).keeps_prediction:
            assert changed == 0.0
        else:
            assert 0.0 <= changed < 1.0


def test_calibrators_that_may_change_the_prediction_do() -> None:
    """The word is not given for nothing: on skewed rows each of them changes some."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(z)])
    x = Outputs(logits=z + np.array([1.5, 0.0, -1.5]), labels=labels, features=z)
    for row in registered_calibrators():
        if not row.keeps_prediction and row.name != "auto":
            made: Any = make_calibrator(row.name, QUICK.get(row.name, {}))
            assert changed_predictions(x, made.fit(x).apply(x)) > 0.05, row.name


@each
def test_rows_do_not_depend_on_their_neighbours(name: str) -> None:
    calibrator, x = fitted(name), overconfident(1100, seed=6)
    whole = calibrator.apply(x).logits
    order = np.random.default_rng(0).permutation(len(x))[:50]
    np.testing.assert_allclose(calibrator.apply(x.rows(order)).logits, whole[order], rtol=1e-12)


@each
def test_narrow_read_only_and_strided_logits(name: str) -> None:
    calibrator, x = fitted(name), overconfident(40, seed=7)
    assert x.logits is not None
    narrow = x.logits.astype(np.float32)
    narrow.setflags(write=False)
    expected = calibrator.apply(replace(x, logits=narrow.astype(np.float64))).logits
    for logits in (narrow, np.asfortranarray(narrow)):
        out = calibrator.apply(replace(x, logits=logits))
        assert out.logits.dtype == np.float64
        assert np.array_equal(out.logits, expected)
    assert out.head is None
    assert np.array_equal(out.labels, x.labels)


@each
def test_no_rows_in_no_rows_out(name: str) -> None:
    assert fitted(name).apply(overconfident(20, seed=8).rows(slice(0))).logits.shape == (0, 4)


@each
def test_a_saved_calibrator_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    calibrator, x = fitted(name), overconfident(30, seed=9)
    calibrator.save(path)
    loaded = load_calibrator(path)
    assert loaded.calibrator == calibrator.calibrator
    assert loaded.report() == calibrator.report()
    assert np.array_equal(loaded.apply(x).logits, calibrator.apply(x).logits)
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


@each
def test_a_calibrator_is_described(name: str) -> None:
    row = find_calibrator(name)
    assert row.summary.endswith(".")
    assert getattr(ood_toolkit, row.calibrator.__name__) is row.calibrator
    doc = row.calibrator.__doc__ or ""
    assert "References" in doc
    assert ">>> " in doc
    for parameter in row.parameters:
        assert f"\n    {parameter.name} : " in doc
    assert method_of_calibrator(make_calibrator(name)) == row


@each
def test_rows_that_cannot_be_used_are_named(name: str) -> None:
    x = overconfident(1200, seed=10)
    assert x.logits is not None
    calibrator = fitted(name)
    for value, what in ((np.nan, "holds NaN"), (np.inf, r"holds \+inf")):
        logits = x.logits.copy()
        logits[1100, 2] = value
        with pytest.raises(InputError, match=f"^f.npz: logits: row 1100 {what}"):
            calibrator.apply(replace(x, logits=logits, source="f.npz"))
    logits = x.logits.copy()
    logits[3] = -np.inf
    with pytest.raises(InputError, match="row 3 is -inf in every class"):
        calibrator.apply(replace(x, logits=logits))
    with pytest.raises(InputError, match=f"{name} needs logits"):
        calibrator.apply(Outputs(features=x.features))


@pytest.mark.parametrize("name", FITS)
def test_validation_rows_that_cannot_be_used_are_named(name: str) -> None:
    made: Any = make_calibrator(name, QUICK.get(name, {}))
    x = replace(overconfident(60, seed=11), source="val.npz")
    assert x.logits is not None
    assert x.labels is not None
    unknown, masked, nan = x.labels.copy(), x.logits.copy(), x.logits.copy()
    unknown[7] = -1
    masked[9, x.labels[9]] = -np.inf
    nan[4, 0] = np.nan
    for changed, words in (
        (replace(x, labels=None), f"^val.npz: {name} needs labels"),
        (replace(x, labels=unknown), r"^val.npz: labels: row 7 is -1 \(unknown\)"),
        (replace(x, logits=masked), r"^val.npz: labels: row 9 is class \d, whose logit there"),
        (replace(x, logits=nan), "val.npz: logits: row 4 holds NaN|no candidate"),
        (x.rows(slice(0)), f"^val.npz: {name} cannot be fitted on zero rows"),
        (Outputs(features=x.features), f"^{name} needs logits to be fitted"),
    ):
        if name == "auto" and changed.logits is not None and np.isnan(changed.logits).any():
            continue  # each candidate says so, as a warning
        with pytest.raises(InputError, match=words):
            made.fit(changed, x)


NEED_EVERY_CLASS = ["bbq", "beta", "dirichlet", "histogram", "isotonic", "matrix", "vector"]


@pytest.mark.parametrize("name", NEED_EVERY_CLASS)
def test_a_class_without_rows_is_refused(name: str) -> None:
    x = overconfident(60, seed=12)
    assert x.labels is not None
    x = x.rows(x.labels != 2)
    with pytest.raises(InputError, match=f"class 2 has no row, and {name} needs every class"):
        make_calibrator(name, QUICK.get(name, {})).fit(x)


@pytest.mark.parametrize("name", sorted(set(FITS) - set(NEED_EVERY_CLASS) - {"auto"}))
def test_a_class_without_rows_is_no_hindrance_to_the_others(name: str) -> None:
    x = overconfident(60, seed=12)
    assert x.labels is not None
    made: Any = make_calibrator(name, QUICK.get(name, {}))
    calibrated = made.fit(x.rows(x.labels != 2), x).apply(x).logits
    assert np.isfinite(calibrated).all()


@pytest.mark.parametrize("name", sorted(set(FITS) - {"tempered_per_sample"}))
def test_another_number_of_classes_is_refused(name: str) -> None:
    x = overconfident(10, seed=13, classes=5)
    with pytest.raises(InputError, match=f"5 classes, but {name} was fitted on 4 classes"):
        fitted(name).apply(x)


def test_other_feature_columns_are_refused() -> None:
    x = overconfident(10, seed=13, dims=7)
    for name in ("dac", "spc"):
        with pytest.raises(InputError, match=f"7 columns, but {name} was fitted on 6"):
            fitted(name).apply(x)


def test_unknown_names_and_parameters() -> None:
    with pytest.raises(UnknownName, match="did you mean temperature"):
        make_calibrator("temprature")
    with pytest.raises(UnknownName, match="histogram has no parameter 'bin'; did you mean bins"):
        make_calibrator("histogram", {"bin": 3})
    for name, key, value in (
        ("histogram", "bins", 0),
        ("beta", "variant", "x"),
        ("matrix", "off_diagonal", -1.0),
        ("spline", "knots", 2),
        ("dac", "k", 0),
        ("sparse_softmax", "k", 0),
        ("spc", "epochs", 0),
        ("tempered_per_sample", "divergence", 0.0),
        ("auto", "folds", 1),
        ("auto", "candidates", ("dac",)),
    ):
        with pytest.raises(BadParameter):
            make_calibrator(name, {key: value})
    assert make_calibrator("histogram", {"bins": "7"}) == make_calibrator("histogram", {"bins": 7})


def test_a_detector_file_is_no_calibrator_and_the_other_way_round(tmp_path: Path) -> None:
    ood_toolkit.Energy().fit().save(tmp_path / "d.safetensors")
    with pytest.raises(DataError, match="holds no calibrator, or is damaged"):
        load_calibrator(tmp_path / "d.safetensors")
    fitted("vector").save(tmp_path / "c.safetensors")
    with pytest.raises(DataError, match="holds no detector, or is damaged"):
        ood_toolkit.load_scorer(tmp_path / "c.safetensors")
    data = bytearray((tmp_path / "c.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "c.safetensors").write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        load_calibrator(tmp_path / "c.safetensors")
