"""The public functions: what they return, in which order, and what they refuse."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors.catalogue import registered
from tests.cases import mostly_right

TRAIN = mostly_right(200, seed=1)
TEST = mostly_right(90, seed=2)
PARTS = {field.name for field in dataclasses.fields(ood.Outputs)} - {"source"}
LOGITS_ONLY = ood.Outputs(logits=TEST.logits)


@pytest.mark.parametrize(
    "methods",
    [["knn", ood.KNN(k=5)], [ood.KNN(k=1), "msp", ood.KNN(k=50)], [ood.KNN(), ood.KNN()]],
)
def test_two_settings_of_a_method_are_not_taken_for_one(methods: Any) -> None:
    words = "knn is there twice"
    with pytest.raises(ood.InputError, match=words):
        ood.evaluate(methods, id=TEST, ood={"a": LOGITS_ONLY}, train=TRAIN, bootstrap=0)
    with pytest.raises(ood.InputError, match=words):
        ood.score(TEST, methods, train=TRAIN)
    with pytest.raises(ood.InputError, match=words):
        ood.evaluate_errors(methods, TEST, train=TRAIN)


def test_a_scorer_and_a_name_of_one_method_are_not_taken_for_one() -> None:
    with pytest.raises(ood.InputError, match=r"energy is there twice.*one setting"):
        ood.score(LOGITS_ONLY, ["energy", ood.Energy(temperature=2.0).fit()])
    for rows in (3, 90):  # a few rows go another way
        with pytest.raises(ood.InputError, match="msp is there twice"):
            ood.score(LOGITS_ONLY.rows(slice(0, rows)), ["msp", "energy", "msp"])


def test_every_public_name_is_there_and_listed_once() -> None:
    for name in ood.__all__:
        assert getattr(ood, name) is not None
    assert len(set(ood.__all__)) == len(ood.__all__)
    assert set(ood.__all__) <= set(dir(ood))


def test_the_stub_imports_what_it_lists_and_nothing_else() -> None:
    stub = ast.parse(Path(ood.__file__).with_name("__init__.pyi").read_text(encoding="utf-8"))
    found = [
        alias.asname or alias.name
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    (listed,) = (
        ast.literal_eval(node.value)
        for node in stub.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert set(found) | {"__version__"} == set(listed)


def test_every_detector_of_the_catalogue_is_public() -> None:
    for row in registered():
        assert getattr(ood, row.detector.__name__) is row.detector


def test_the_names_outside_scripts_rely_on() -> None:
    for name in (
        "load", "methods", "score", "Mahalanobis", "detector", "load_scorer", "evaluate",
        "Outputs", "Head", "metrics",
    ):  # fmt: skip
        assert hasattr(ood, name)
    assert ood.__version__.count(".") >= 1


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="Mahalanobiz"):
        _ = ood.Mahalanobiz


def test_importing_the_package_loads_no_array_library() -> None:
    text = "import sys, ood_toolkit; print([m for m in ('numpy', 'numba') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_methods_are_the_catalogue() -> None:
    rows = ood.methods()
    assert [row.name for row in rows] == [row.name for row in registered()]
    for row in rows:
        assert row.needs
        assert set(row.needs) <= PARTS
        assert set(row.train) <= PARTS
        assert row.summary.endswith(".")
        assert row.fits == bool(row.train or row.validation)


def test_a_detector_by_name_takes_its_parameters() -> None:
    assert ood.detector("energy", temperature=2) == ood.Energy(temperature=2.0)
    assert ood.detector("mahalanobis") == ood.Mahalanobis()


REFUSED: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("energie", {}, ood.UnknownName, r"unknown method 'energie'; did you mean energy"),
    ("xyzzy", {}, ood.UnknownName, "`ood-toolkit methods` lists them"),
    ("energy", {"temprature": 1}, ood.UnknownName, "did you mean temperature"),
    ("msp", {"k": 1}, ood.UnknownName, "msp has no parameter 'k'; it takes: none"),
    ("energy", {"temperature": "warm"}, ood.BadParameter, "temperature takes float, got 'warm'"),
    ("energy", {"temperature": True}, ood.BadParameter, "temperature takes float, got True"),
    ("energy", {"temperature": None}, ood.BadParameter, "temperature takes float, got None"),
    ("energy", {"temperature": 0}, ood.BadParameter, "temperature"),
    ("energy", {"temperature": -1.0}, ood.BadParameter, "temperature"),
    ("energy", {"temperature": float("nan")}, ood.BadParameter, "temperature"),
    ("energy", {"temperature": float("inf")}, ood.BadParameter, "temperature"),
    ("knn", {"k": 0}, ood.BadParameter, "k"),
    ("knn", {"k": 1.5}, ood.BadParameter, r"knn\.k takes int, got 1\.5"),
    ("vim", {"dim": "all"}, ood.BadParameter, r'vim\.dim takes int or "auto", got \'all\''),
    ("mahalanobis", {"covariance": "none"}, ood.BadParameter, "covariance takes"),
]


@pytest.mark.parametrize(("name", "parameters", "kind", "words"), REFUSED)
def test_a_wrong_name_or_value_is_refused_in_one_line(
    name: str, parameters: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        ood.detector(name, **parameters)
    assert "\n" not in str(caught.value)
    assert getattr(caught.value, "exit_status", None) == 2


def test_scores_come_in_the_order_asked_for() -> None:
    scores = ood.score(TEST, ["knn", "energy", "msp"], train=TRAIN)
    assert list(scores) == ["knn", "energy", "msp"]
    assert all(s.shape == (len(TEST),) and s.dtype == np.float64 for s in scores.values())


def test_an_array_is_taken_as_logits() -> None:
    assert np.array_equal(
        ood.score(TEST.logits, "energy")["energy"], ood.score(TEST, "energy")["energy"]
    )


def test_names_detectors_and_scorers_may_be_mixed() -> None:
    scorer = ood.Mahalanobis().fit(TRAIN)
    scores = ood.score(TEST, ["msp", ood.Energy(temperature=2.0), scorer])
    assert list(scores) == ["msp", "energy", "mahalanobis"]
    assert np.array_equal(scores["mahalanobis"], scorer.score(TEST))
    assert np.array_equal(
        scores["energy"], ood.detector("energy", temperature=2.0).fit(None).score(TEST)
    )


def test_one_method_need_not_be_a_list() -> None:
    for one in ("energy", ood.Energy(), ood.Energy().fit(None)):
        assert list(ood.score(TEST, one)) == ["energy"]


def test_scoring_what_is_not_there_names_the_need() -> None:
    with pytest.raises(ood.InputError, match=r"vim needs training outputs with .*train"):
        ood.score(TEST, "vim")
    with pytest.raises(ood.InputError, match="knn needs features"):
        ood.score(LOGITS_ONLY, "knn", train=TRAIN)
    with pytest.raises(ood.InputError, match="mahalanobis needs labels to be fitted"):
        ood.score(TEST, "mahalanobis", train=ood.Outputs(features=TRAIN.features))
    with pytest.raises(ood.UnknownName, match="did you mean"):
        ood.score(TEST, ["msp", "enrgy"])
    with pytest.raises(ood.InputError, match="no name"):
        ood.score(TEST, [type("Nameless", (), {"score": lambda self, x: x})()])


def test_a_bad_row_is_named() -> None:
    logits = TEST.logits.copy()
    logits[17, 1] = np.nan
    with pytest.raises(ood.InputError, match="logits: row 17 holds NaN"):
        ood.score(logits, ["msp", "energy"])
