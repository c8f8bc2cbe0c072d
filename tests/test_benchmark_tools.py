"""What is measured beside the suite: limits, peaks, loops, the steps of kernels, the threshold."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.ablation import energy_steps, fused_steps
from benchmarks.assembly import loops
from benchmarks.limits import _read_and_write, read_and_write
from benchmarks.memory import PEAKS_KNOWN, peak_of_command
from benchmarks.threshold import ASKED, CLASSES, HEAD, table
from ood_toolkit.kernels._results import SCRATCH
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import (
    ENTROPY,
    IMPURITY,
    LARGEST,
    LEAD,
    SECOND,
    TAIL,
    log_sum_exp,
)
from ood_toolkit.kernels.vectors import available, scale

ASSEMBLY = """\
outer:
\tmovq\t%rax, %rbx
.LBB0_1:
\tvmovups\t(%rsi), %zmm0
.LBB0_2:
\tvfmadd213ps\t%zmm1, %zmm2, %zmm0
\tvaddps\t%ymm1, %ymm2, %ymm0
\taddq\t$64, %rsi
\tjne\t.LBB0_2
\tvmovups\t%zmm0, (%rdi)
\tjb\t.LBB0_1
\tretq
"""


def test_loops_are_the_innermost() -> None:
    (loop,) = loops(ASSEMBLY)
    assert len(loop.instructions) == 4
    assert loop.widths() == {512: 1, 256: 1, 0: 2}
    assert loop.named("vfmadd") == 1
    assert loop.named("vmov", "vadd") == 1


@pytest.mark.skipif(not available(), reason="explicit vectors cannot be compiled here")
@pytest.mark.parametrize("classes", [10, 33])
def test_all_steps_are_the_kernel(classes: int) -> None:
    z = 3 * np.random.default_rng(0).standard_normal((48, classes), np.float32)
    floats, scratch = np.empty((8, 48)), np.empty(SCRATCH + 32 * classes)
    arguments = (z.ctypes.data, np.float32(0), 48, classes, scale(False, 1.0), floats, scratch)
    wanted = (TAIL, LARGEST, log_sum_exp(), ENTROPY, SECOND, IMPURITY, LEAD)
    rows = row_statistics(z, wanted)
    energy_steps(4)(*arguments)
    np.testing.assert_array_equal(floats[0], rows[log_sum_exp()])
    fused_steps(6)(*arguments)
    for found, statistic in zip(floats, wanted, strict=False):
        np.testing.assert_array_equal(found, rows[statistic], statistic.name)


def test_the_limit_with_writes_reads_all_and_writes_all() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (37, 5)).astype(np.uint32)
    scores = np.zeros((3, 37))
    _read_and_write(words, scores)
    for first in (0, 16, 32):
        found = scores[:, first : first + 16]
        assert (found == np.bitwise_xor.reduce(words[first : first + 16], axis=None)).all()
    assert read_and_write(words.view(np.float32), 2)() is None


@pytest.mark.skipif(not PEAKS_KNOWN, reason="peaks are those of Linux")
def test_the_peak_is_the_commands_own() -> None:
    large = np.ones(300 << 17)  # 315 MB here do not count there
    peak = peak_of_command([sys.executable, "-c", "b = b'x' * (60 << 20)"])
    assert 63 < peak < 150 < large.nbytes / 1e6
    with pytest.raises(RuntimeError, match="failed"):
        peak_of_command([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_threshold_is_measured_for_every_case() -> None:
    lines = table((4_096,), rounds=1, least=0.0)
    assert len(lines) == len(CLASSES) * len(ASKED)
    assert {len(line) for line in lines} == {len(HEAD)}
