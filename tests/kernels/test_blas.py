"""The limit on BLAS's threads is lifted again, whatever happens."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest

from ood_toolkit.calibration.likelihood import minimum
from ood_toolkit.kernels import blas
from ood_toolkit.kernels.blas import one_blas_thread

CONTROLS = {of: blas._controls(of) for of in ("numpy", "scipy")}
pytestmark = pytest.mark.skipif(None in CONTROLS.values(), reason="the BLAS cannot be told")


@pytest.fixture(autouse=True, params=list(CONTROLS))
def of(request):
    """Which library is limited; both have three threads before and after."""
    before = {name: controls.count() for name, controls in CONTROLS.items()}
    for controls in CONTROLS.values():
        controls.limit(3)
    yield request.param
    for name, controls in CONTROLS.items():
        assert controls.count() == 3
        controls.limit(before[name])


def test_one_thread_inside_all_of_them_after(of):
    with one_blas_thread(of) as alone:
        assert alone
        assert CONTROLS[of].count() == 1
        with one_blas_thread(of):
            assert CONTROLS[of].count() == 1
        assert CONTROLS[of].count() == 1
    assert CONTROLS[of].count() == 3


def test_one_library_is_limited_and_not_the_other(of):
    (other,) = set(CONTROLS) - {of}
    if CONTROLS[of] is CONTROLS[other]:
        pytest.skip("numpy and scipy share one BLAS here")
    with one_blas_thread(of):
        assert CONTROLS[other].count() == 3
        with one_blas_thread(other):
            assert CONTROLS[of].count() == CONTROLS[other].count() == 1
        assert CONTROLS[other].count() == 3


def test_a_library_that_both_share_is_given_its_threads_back_once(monkeypatch, of):
    monkeypatch.setattr(blas, "_controls", lambda of="numpy": CONTROLS["numpy"])
    one, other = one_blas_thread("numpy"), one_blas_thread("scipy")
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)  # the first to begin is the first to end
    assert CONTROLS["numpy"].count() == 1
    other.__exit__(None, None, None)
    assert CONTROLS["numpy"].count() == 3


def test_an_error_lifts_the_limit(of):
    with pytest.raises(ZeroDivisionError), one_blas_thread(of):
        1 / 0  # noqa: B018
    assert CONTROLS[of].count() == 3


def test_where_blas_cannot_be_told(monkeypatch, of):
    monkeypatch.setattr(blas, "_controls", lambda of="numpy": None)
    with one_blas_thread(of) as alone:
        assert not alone
        assert CONTROLS[of].count() == 3


def _count_in_child(of, queue):
    queue.put((CONTROLS[of].count(), float((np.ones((300, 300)) @ np.ones((300, 300))).sum())))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_its_threads(of):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with one_blas_thread(of):
        child = context.Process(target=_count_in_child, args=(of, queue))
        child.start()
        child.join(30)
    assert child.exitcode == 0
    assert queue.get() == (3, 300.0**3)


def test_a_search_of_scipy_leaves_its_threads_as_they_were(of):
    seen = []

    def objective(x):
        seen.append(CONTROLS["scipy"].count())
        return float(x @ x), 2 * x

    assert np.abs(minimum("a fit", objective, np.ones(3))).max() < 1e-6
    assert set(seen) == {1}
