"""What was chosen for a tuned method, as arrays of the cache and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from ood_toolkit.detectors.catalogue import make_detector
from ood_toolkit.evaluation.tuning import Candidate, Tuned
from ood_toolkit.outputs import Array

__all__ = ["choice_from_arrays", "choice_to_arrays"]


def choice_to_arrays(choice: Tuned) -> dict[str, Array]:
    """One text, which holds what `Tuned.to_json` says.

    Examples
    --------
    >>> choice = Tuned(make_detector("knn", {"k": 3}), "pseudo-outliers", {"k": 3})
    >>> choice_from_arrays(choice_to_arrays(choice)).detector
    KNN(k=3, normalize=True)
    """
    return {"choice": np.asarray(json.dumps(choice.to_json()))}


def choice_from_arrays(arrays: Mapping[str, Array]) -> Tuned:
    """The choice that `choice_to_arrays` was given."""
    document = json.loads(str(arrays["choice"]))
    return Tuned(
        make_detector(document["method"], document["parameters"]),
        document["rule"],
        document["tuned"],
        tuple(Candidate(**candidate) for candidate in document["candidates"]),
        document["rows"],
        document["held_out_from"] or "",
    )
