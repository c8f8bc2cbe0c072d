"""The compile options of each decorator, seen in what compiled functions return."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ood_toolkit.kernels._jit import exact_kernel, inline_kernel, kernel, step_kernel


@inline_kernel
def _lost_inline(a, b):
    return (a + b) - a - b


@step_kernel
def _lost_step(a, b):
    return (a + b) - a - b


@exact_kernel
def _lost_exact(a, b):
    return (a + b) - a - b


@kernel
def _fast(a, b):
    """Compiles the others first, and may itself reckon that (a + b) - a - b is nothing."""
    return _lost_inline(a, b), _lost_step(a, b), _lost_exact(a, b), (a + b) - a - b


@pytest.mark.parametrize("first", [_fast, _lost_exact])
def test_exact_kernels_stay_exact_in_fast_ones(first) -> None:
    first(1.0, 2.0**-60)
    lost = -(2.0**-60)
    inline, step, exact, licensed = _fast(1.0, 2.0**-60)
    assert inline == step == exact == _lost_exact(1.0, 2.0**-60) == lost
    assert licensed == 0.0, "the licence to reorder sums was not used: this test shows nothing"


@kernel
def _seen(x):
    return x != x, x == np.inf, x + 1.0


def test_fast_kernels_still_know_nan_and_infinity() -> None:
    assert _seen(np.nan)[0]
    assert _seen(np.inf)[1:] == (True, np.inf)
    assert _seen(-np.inf) == (False, False, -np.inf)


COUNT = """
import sys
import numpy as np
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import log_sum_exp
row_statistics(np.zeros((20, 20), np.float32), [log_sum_exp()])
from ood_toolkit.kernels.energy_few import energy_few
hits, misses = energy_few.stats.cache_hits, energy_few.stats.cache_misses
print(sum(hits.values()), sum(misses.values()), "scipy.linalg" in sys.modules)
"""


def test_what_was_compiled_is_loaded_without_numbas_libraries(tmp_path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    told = [
        subprocess.run([sys.executable, "-c", COUNT], env=environment, capture_output=True,
                       text=True, check=True).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert told[0][:2] == ["0", "1"]
    assert told[1] == ["1", "0", "False"]
