"""Twin of the scorer of class means that can take a class in, and its known answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_features import (
    FEATURE_TWINS,
    by_class,
    covariance_of,
    float_features,
    squared_distances,
)
from tests.reference.known import Case, features, fixture

__all__ = ["INCREMENTAL_CASES", "INCREMENTAL_TWINS"]


def class_incremental(
    x: Outputs, train: Outputs, base: str = "mahalanobis", weighting: str = "classes"
) -> Array:
    """-min_c d_c² with Σ the mean of the classes' covariances, or of all rows'; or max_c cos."""
    if base == "prototype":
        return FEATURE_TWINS["cosine_prototype"](x, train)
    if weighting == "rows":
        return FEATURE_TWINS["mahalanobis"](x, train)
    groups = by_class(float_features(train), train).values()
    means = [group.mean(axis=0) for group in groups]
    each = [
        covariance_of(group - mean, "pseudo_inverse")
        for group, mean in zip(groups, means, strict=True)
    ]
    sigma = np.mean(each, axis=0)
    distances = [squared_distances(float_features(x), mean, sigma) for mean in means]
    return np.array([-min(row) for row in zip(*distances, strict=True)], np.float64)


INCREMENTAL_TWINS: dict[str, Callable[..., Array]] = {"class_incremental": class_incremental}


def incremental_cases() -> list[Case]:
    known = fixture("known_answers")["mahalanobis"]
    x, train = features(known["Q"]), features(known["F"], known["y"])
    cases = [
        Case(
            "class_incremental",
            "mahalanobis.mds_openood",
            x,
            known["mds_openood"],
            train,
            {"weighting": weighting},
        )
        for weighting in ("classes", "rows")
    ]
    return cases


INCREMENTAL_CASES: list[Case] = incremental_cases()
