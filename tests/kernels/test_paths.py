"""Every way to the same statistics: vectors, plain loops, and plain loops uncompiled."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import generalized_entropy, log_sum_exp
from ood_toolkit.kernels.vectors import available
from tests.kernels.row_cases import DTYPES, all_statistics, assert_rows_exact, hard_rows

UNCOMPILED = """
import json, sys
import numpy as np
from numba.core import config
from ood_toolkit.kernels.rows import row_statistics
from tests.kernels.row_cases import DTYPES, all_statistics, assert_rows_exact, hard_rows
assert config.DISABLE_JIT
for classes in (2, 7, 40):
    for dtype in DTYPES.values():
        logits = hard_rows(classes, dtype)
        found = row_statistics(logits, all_statistics(classes))
        assert found.first_bad == -1
        assert_rows_exact(logits.astype(np.float64), found)
    logits[5, 1] = np.nan
    assert row_statistics(logits, all_statistics(classes)).first_bad == 5
print(json.dumps("done"))
"""


def test_without_the_compiler() -> None:
    run = subprocess.run(
        [sys.executable, "-c", UNCOMPILED], env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == "done"


BITS = """
from ood_toolkit.kernels.rows import row_statistics
from tests.kernels.row_cases import all_statistics, hard_rows
found = row_statistics(hard_rows(10, "f4"), all_statistics(10))
print(b"".join(values.tobytes() for values in found.values()).hex())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a processor of x86")
def test_an_older_processor_finds_the_same_bits(tmp_path) -> None:
    """One without AVX, fused multiply-add, or conversion of float16."""
    found = {
        subprocess.run(
            [sys.executable, "-c", BITS], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)} | cpu,
            capture_output=True, text=True, check=True,
        ).stdout
        for cpu in ({}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""})
    }  # fmt: skip
    assert len(found) == 1


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the variable that is read once, and has it read again, now and afterwards."""

    def chosen(kernels: str) -> None:
        monkeypatch.setenv("OOD_TOOLKIT_KERNELS", kernels)
        available.cache_clear()

    yield chosen
    available.cache_clear()


@pytest.mark.parametrize("name", DTYPES)
def test_without_vectors(name: str, choose: Callable[[str], None]) -> None:
    """Plain loops reckon in float64, and keep its promises whatever the logits are."""
    choose("readable")
    assert not available()
    for classes in (2, 7, 40):
        logits = hard_rows(classes, DTYPES[name])
        found = row_statistics(logits, all_statistics(classes))
        assert_rows_exact(logits.astype(np.float64), found)


def test_another_choice_is_refused(choose: Callable[[str], None]) -> None:
    choose("fast")
    with pytest.raises(InputError, match="OOD_TOOLKIT_KERNELS is 'fast'; set it to vectors or"):
        row_statistics(np.zeros((2, 2)), [log_sum_exp()])


def test_what_vectors_cannot_hold_is_done_without() -> None:
    """Temperatures beyond float32, and more of them than there is room for."""
    logits = hard_rows(10, np.float32)[:4]
    for wanted in (
        [log_sum_exp(1e-30), log_sum_exp(1e30)],
        [log_sum_exp(1.0 + k) for k in range(70)],
        [generalized_entropy(0.1 + 0.01 * k, 3) for k in range(70)],
    ):
        assert_rows_exact(logits.astype(np.float64), row_statistics(logits, wanted))
