"""Which registers the compiled row kernels use: `python -m benchmarks.assembly`.

A kernel is compiled as it is called for float32 logits; what is counted are the instructions
of its loops, the stretches of code that a jump goes back over and that hold no smaller such
stretch.  Loops are told apart by what they do most of.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.fused import NINE, TEN
from benchmarks.tables import aligned
from ood_toolkit.api import detector
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import log_sum_exp
from ood_toolkit.kernels.vector_rows import energy_few, energy_rows, fused_few, fused_rows

__all__ = ["Loop", "compiled", "loops", "main"]

HEAD = (
    "kernel",
    "loop",
    "instructions",
    "512 bits",
    "256 bits",
    "128 bits",
    "fma",
    "moves",
    "what",
)
LEAST = 20
"""Instructions of 512 bits that make a loop worth a line."""

KERNELS: dict[str, tuple[Any, int, tuple[str, ...]]] = {
    "energy_few": (energy_few, 32, ("energy",)),
    "energy_rows": (energy_rows, 1_000, ("energy",)),
    "fused_few": (fused_few, 32, NINE),
    "fused_rows": (fused_rows, 1_000, TEN),
}
"""Name -> the kernel, a number of classes and the scores that make it run."""

_LABEL = re.compile(r"^(\.?L?[\w.$]+):")
_JUMP = re.compile(r"^\s+j\w+\s+(\.L\w+)")
_INSTRUCTION = re.compile(r"^\s+([a-z]\w*)\s*(.*)")
_WIDTHS = {"zmm": 512, "ymm": 256, "xmm": 128}


@dataclass(frozen=True)
class Loop:
    """An innermost loop of a kernel.

    Attributes
    ----------
    instructions : tuple of (str, str)
        Name and operands of each.
    """

    instructions: tuple[tuple[str, str], ...]

    def widths(self) -> Counter[int]:
        """Instructions by the widest register they name; 0 for those of whole numbers."""
        return Counter(
            max((bits for name, bits in _WIDTHS.items() if name in operands), default=0)
            for _, operands in self.instructions
        )

    def named(self, *beginnings: str) -> int:
        """How many instructions have a name that begins like one of these."""
        return sum(name.startswith(beginnings) for name, _ in self.instructions)


def compiled(kernel: Any, classes: int, methods: tuple[str, ...]) -> str:
    """The assembly of a kernel as it is called for float32 logits."""
    wanted = {s for name in methods for s in detector(name).fit().statistics()}
    row_statistics(np.zeros((64, classes), np.float32), wanted or {log_sum_exp()})
    texts = [text for kinds, text in kernel.inspect_asm().items() if "float32" in str(kinds[1])]
    if not texts:  # taken from the cache, which keeps no assembly
        raise SystemExit("set NUMBA_CACHE_DIR to an empty folder, so that kernels are compiled")
    return str(texts[0])


def loops(assembly: str) -> Iterator[Loop]:
    """The innermost loops, in the order of the code."""
    places: dict[str, int] = {}
    code: list[tuple[str, str]] = []
    spans: list[tuple[int, int]] = []
    for line in assembly.splitlines():
        if label := _LABEL.match(line):
            places[label[1]] = len(code)
        elif found := _INSTRUCTION.match(line):
            code.append((found[1], found[2]))
            if (jump := _JUMP.match(line)) and jump[1] in places:
                spans.append((places[jump[1]], len(code)))
    for start, stop in spans:
        inner = (a for a, b in spans if start <= a and b <= stop and (a, b) != (start, stop))
        if next(inner, None) is None:
            yield Loop(tuple(code[start:stop]))


def main() -> None:
    """Print a line a loop."""
    rows = []
    for name, (kernel, classes, methods) in KERNELS.items():
        number = 0
        for loop in loops(compiled(kernel, classes, methods)):
            widths = loop.widths()
            if widths[512] < LEAST:
                continue
            number += 1
            counts = (len(loop.instructions), *(widths[bits] for bits in _WIDTHS.values()))
            kinds = (loop.named("vfmadd", "vfnmadd", "vfmsub"), loop.named("vmov", "vbroadcast"))
            most = Counter(n for n, _ in loop.instructions).most_common(4)
            told = ", ".join(f"{count} {n}" for n, count in most)
            rows.append((name, str(number), *map(str, (*counts, *kinds)), told))
    print(aligned(HEAD, rows))


if __name__ == "__main__":
    main()
