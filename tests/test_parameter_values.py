"""Numbers that no method can work with are refused when a detector or calibrator is made."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from ood_toolkit import Head, Outputs
from ood_toolkit.calibration import make_calibrator, registered_calibrators
from ood_toolkit.detectors.catalogue import make_detector, registered
from ood_toolkit.errors import BadParameter

INFINITE = {("renyi", "order")}
"""Of which infinity is a value: the min-entropy."""
PARAMETERS = [
    pytest.param(make, row.name, parameter, id=f"{row.name}.{parameter.name}")
    for make, rows in ((make_detector, registered()), (make_calibrator, registered_calibrators()))
    for row in rows
    for parameter in row.parameters
    if float in parameter.types or parameter.name == "seed"
]


@pytest.mark.parametrize(("make", "name", "parameter"), PARAMETERS)
def test_numbers_must_be_finite_and_seeds_not_negative(
    make: Any, name: str, parameter: Any
) -> None:
    bad: tuple[Any, ...] = (-1,)
    if float in parameter.types:
        bad = (math.nan, -math.inf, "nan", "NaN", np.float32("nan"))
        if (name, parameter.name) not in INFINITE:
            bad += (math.inf, "inf", np.float64(np.inf))
    for value in bad:
        with pytest.raises(BadParameter, match=rf"{name}\.{parameter.name} (must|takes) "):
            make(name, {parameter.name: value})
    made = make(name)
    for value in bad:
        if not isinstance(value, str):
            message = rf"{name}\.{parameter.name} must "
            with pytest.raises(BadParameter, match=message):
                type(made)(**{parameter.name: value})
            with pytest.raises(BadParameter, match=message):
                dataclasses.replace(made, **{parameter.name: value})


DRAWN = {"gmm": {"components": 2}, "ssd": {"clusters": 2}, "spc": {"hidden": 2, "epochs": 1}}
"""Settings with which a method draws numbers at all."""


@pytest.mark.parametrize(
    ("make", "name"), [p.values[:2] for p in PARAMETERS if p.values[2].name == "seed"]
)
def test_seeds_may_be_of_any_size(make: Any, name: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = rng.normal(size=(60, 3)) + 2.0 * np.eye(3)[labels]
    x = Outputs(features=features, head=Head(np.eye(3), np.zeros(3)), labels=labels)
    for seed in (2**32 - 1, 2**32, 10**30):
        fitted = make(name, {**DRAWN.get(name, {}), "seed": seed}).fit(x)
        found = fitted.score(x) if hasattr(fitted, "score") else fitted.apply(x).logits
        assert np.isfinite(found).all()


def test_infinity_is_an_order() -> None:
    for name, parameter in INFINITE:
        assert getattr(make_detector(name, {parameter: "inf"}), parameter) == math.inf


def test_the_check_leaves_the_class_as_it_was() -> None:
    """Positional values, the values it requires itself, and equal objects."""
    made: Any = make_detector("corp", {"gamma": 3.0, "seed": 4})
    assert made == type(made)(made.explained, 3.0, *dataclasses.astuple(made)[2:])
    with pytest.raises(BadParameter, match=r"corp\.gamma must be positive, got -1"):
        type(made)(gamma=-1.0)
    with pytest.raises(TypeError, match="nothing"):
        type(made)(nothing=1)


@pytest.mark.parametrize("bandwidth", [1e-101, 1e101, 1e-200])
def test_bandwidths_whose_squares_leave_the_numbers_are_refused(bandwidth: float) -> None:
    with pytest.raises(BadParameter, match=r"kde\.bandwidth must be positive, from 1e-100"):
        make_detector("kde", {"bandwidth": bandwidth})


@pytest.mark.parametrize("bandwidth", [1e-6, 1e-9, 1e-60, 1e-100])
@pytest.mark.parametrize("per_class", [False, True])
def test_densities_of_a_tiny_bandwidth_rank_by_the_nearest_row(
    bandwidth: float, per_class: bool
) -> None:
    """The nearest row's kernel is the whole sum; distances far from the origin are rounded."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 20)) + 5.0
    train = Outputs(features=features, labels=np.arange(300) % 3, logits=np.zeros((300, 3)))
    x = rng.normal(size=(50, 20)) * 1.3 + 5.0
    made: Any = make_detector("kde", {"bandwidth": bandwidth, "per_class": per_class})
    fitted = made.fit(train)
    scores = fitted.score(Outputs(features=x))
    nearest = ((x[:, np.newaxis] - features) ** 2).sum(axis=2).min(axis=1)
    expected = -nearest / bandwidth**2 / 2
    constant = 20 * (math.log(bandwidth) + math.log(2 * math.pi) / 2)
    expected -= constant + math.log(100 if per_class else 300)
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert fitted.report()["n_eff"] == pytest.approx(1.0)


@pytest.mark.parametrize("bins", [5, 21, 2, 3])
def test_odd_numbers_of_bins_are_refused(bins: int) -> None:
    with pytest.raises(BadParameter, match=r"nac\.bins must be even and at least 4"):
        make_detector("nac", {"bins": bins})
