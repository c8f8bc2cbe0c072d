"""Scores for hypothesis: heavy ties, both zeros, infinities, subnormals, any float."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

__all__ = ["compiled", "finite_pairs", "scores", "tied_pairs", "wide_pairs"]

compiled = settings(deadline=None)
"""For tests whose first call may have to compile a kernel."""

_TIED = st.sampled_from([-1.0, -0.0, 0.0, 0.25, 0.5, 1.0, 2.0])
_WIDE = st.one_of(
    _TIED,
    st.sampled_from([np.inf, -np.inf, 5e-324, -5e-324, 1e308, -1e308]),
    st.floats(allow_nan=False),
)


def scores(elements, most=25):
    return st.lists(elements, min_size=1, max_size=most)


tied_pairs = st.tuples(scores(_TIED), scores(_TIED))
wide_pairs = st.tuples(scores(_WIDE), scores(_WIDE))
finite_pairs = st.tuples(
    scores(st.floats(-1e6, 1e6).map(lambda x: round(x, 3))),
    scores(st.floats(-1e6, 1e6).map(lambda x: round(x, 3))),
)
