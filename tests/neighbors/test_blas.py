"""The limit on BLAS's threads is lifted again, whatever happens."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest

from ood_toolkit.kernels import blas
from ood_toolkit.kernels.blas import one_blas_thread

CONTROLS = blas._controls()
pytestmark = pytest.mark.skipif(CONTROLS is None, reason="numpy's BLAS cannot be told")


@pytest.fixture(autouse=True)
def three_threads():
    count, limit = CONTROLS
    before = count()
    limit(3)
    yield
    assert count() == 3
    limit(before)


def test_one_thread_inside_all_of_them_after():
    with one_blas_thread() as alone:
        assert alone
        assert CONTROLS[0]() == 1
        with one_blas_thread():
            assert CONTROLS[0]() == 1
        assert CONTROLS[0]() == 1
    assert CONTROLS[0]() == 3


def test_an_error_lifts_the_limit():
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        1 / 0  # noqa: B018
    assert CONTROLS[0]() == 3


def test_where_blas_cannot_be_told(monkeypatch):
    monkeypatch.setattr(blas, "_controls", lambda: None)
    with one_blas_thread() as alone:
        assert not alone
        assert CONTROLS[0]() == 3


def _count_in_child(queue):
    queue.put((CONTROLS[0](), float((np.ones((300, 300)) @ np.ones((300, 300))).sum())))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_its_threads():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with one_blas_thread():
        child = context.Process(target=_count_in_child, args=(queue,))
        child.start()
        child.join(30)
    assert child.exitcode == 0
    assert queue.get() == (3, 300.0**3)
