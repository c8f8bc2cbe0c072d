"""The linear program behind the page's claim on ties, in small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks import tied_bound
from benchmarks.known_scores import CASES

LEAST = 0.9374


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    for name, value in (("CELLS", 24), ("PLACES", 9), ("ENDS", 7)):
        monkeypatch.setattr(tied_bound, name, value)


def test_narrow_groups_are_covered_too_often_somewhere():
    assert tied_bound.least_coverage(2.5, LEAST) > 0.9626
    assert tied_bound.least_coverage(5.0, LEAST) < 0.9626


def test_what_is_asked_for_decides():
    # who may cover less at the end of a group need not cover more in its middle
    found = [tied_bound.least_coverage(2.5, least) for least in (0.85, 0.9, LEAST)]
    assert found == sorted(found)
    assert found[0] < 0.95
    # nor need one place be covered as often as the worst
    assert tied_bound.least_coverage(2.5, LEAST, 0.6) <= found[-1]


def test_an_interval_that_exists_is_not_below_the_bound():
    """Both neighbours held up to a deviation, 5 % left out at an end, in the program's terms."""
    width, reach, missed = 2.65, 1.95, 0.05
    places = np.linspace(0.0, width, 101)

    def misses(place):
        out = norm.cdf(-reach - place)
        return out + missed * (norm.cdf(width - reach - place) - out)

    covered = 1.0 - misses(places) - misses(width - places)
    assert tied_bound.least_coverage(width, covered.min()) <= covered.max() + 5e-4


def test_places_of_cases():
    half, quarter = (case for case in CASES if case.step)
    width, place = tied_bound.place_of(half)
    assert (width, place) == pytest.approx((4.05, 0.93), abs=0.01)
    assert half.threshold() == 0.0
    assert tied_bound.place_of(quarter) == pytest.approx((2.36, 0.60), abs=0.01)
