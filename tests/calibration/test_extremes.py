"""Calibrators of logits so large that every row is sure."""

from __future__ import annotations

import numpy as np
import pytest

from ood_toolkit import Outputs
from ood_toolkit.calibration.likelihood import row_nll
from ood_toolkit.calibration.registry import make_calibrator
from tests.cases import mostly_right


@pytest.mark.filterwarnings("ignore:dirichlet. class")
@pytest.mark.parametrize("scale", [3e3, 1e4, 1e30])
def test_dirichlet_of_rows_that_are_all_sure(scale: float) -> None:
    """No row bends the likelihood then, which scipy's search would divide by."""
    x = mostly_right(300, seed=1, classes=3)
    sure = Outputs(logits=scale * x.logits, labels=x.labels)
    fitted = make_calibrator("dirichlet").fit(sure)
    p = fitted.apply(sure).logits
    chance = np.bincount(x.labels, minlength=3) / len(x)
    assert np.isfinite(p).all()
    assert row_nll(np.asarray(p), x.labels).mean() < -(chance * np.log(chance)).sum()
