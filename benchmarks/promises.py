"""A promise and how often it was seen broken, as a row of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm

HEADER = """\
| promise | setting | event | promised | seen | 99 % band | holds |
| --- | --- | --- | ---: | ---: | ---: | --- |"""


@dataclass(frozen=True)
class Count:
    """How often something happened, and how often it may."""

    promise: str
    setting: str
    event: str
    promised: float
    at_most: bool
    seen: int
    repetitions: int

    @property
    def band(self) -> tuple[float, float]:
        """Shares between which the one seen must lie."""
        law = binom(self.repetitions, self.promised)
        if self.at_most:
            return 0.0, float(law.ppf(0.99)) / self.repetitions
        low, high = law.ppf([0.005, 0.995]) / self.repetitions
        return float(low), float(high)

    @property
    def holds(self) -> bool:
        low, high = self.band
        return low <= self.seen / self.repetitions <= high

    def row(self) -> str:
        low, high = self.band
        cells = [
            self.promise,
            self.setting,
            self.event,
            ("≤ " if self.at_most else "") + f"{self.promised:.4f}",
            f"{self.seen / self.repetitions:.4f}",
            f"{low:.4f} … {high:.4f}",
            "yes" if self.holds else "**no**",
        ]
        return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class Mean:
    """A promise on an average: its band is that of the mean over the repetitions."""

    promise: str
    setting: str
    event: str
    promised: float
    values: np.ndarray

    @property
    def band(self) -> tuple[float, float]:
        error = self.values.std(ddof=1) / math.sqrt(self.values.size)
        return 0.0, float(self.promised + norm.ppf(0.99) * error)

    @property
    def holds(self) -> bool:
        return bool(self.values.mean() <= self.band[1])

    def row(self) -> str:
        cells = [
            self.promise,
            self.setting,
            self.event,
            f"≤ {self.promised:.4f}",
            f"{self.values.mean():.4f}",
            f"0 … {self.band[1]:.4f}",
            "yes" if self.holds else "**no**",
        ]
        return f"| {' | '.join(cells)} |"


Check = Callable[[np.random.Generator, int], Iterator[Count | Mean]]
