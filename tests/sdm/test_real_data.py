"""On CLINC150: what is admitted by domain, and the refusal with all intents."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

import ood_toolkit as ood
from benchmarks.sdm_tables import clinc

DATA = os.environ.get("OOD_TOOLKIT_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="OOD_TOOLKIT_DATA is not set")


def test_ten_domains() -> None:
    case = clinc(Path(str(DATA)), by_domain=True)
    for alpha, admitted in ((0.9, 0.44), (0.95, 0.31), (0.99, 0.0)):
        sdm = ood.SDM(alpha=alpha).fit(case.train, case.held_out)
        found = sdm.predict(case.test)
        assert found.accept.mean() == pytest.approx(admitted, abs=0.01)
        assert sdm.region.exists == (admitted > 0)
        if admitted:
            right = (found.prediction == case.test.labels)[found.accept]
            assert right.mean() >= alpha
            assert sdm.predict(case.strange["out of scope"]).accept.mean() < 0.005


def test_all_intents_are_refused_by_name() -> None:
    case = clinc(Path(str(DATA)), by_domain=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sdm = ood.SDM(alpha=0.9).fit(case.train, case.held_out)
    assert not sdm.region.exists
    assert 0 < len(sdm.region.missed) < 150
    assert not sdm.predict(case.test).accept.any()
    assert "classes 0, 9, 11" in sdm.explain(case.test, [0])[0].reason
