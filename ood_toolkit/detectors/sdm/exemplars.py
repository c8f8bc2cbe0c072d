"""SDMExplanation by example: which support rows speak for a prediction, and which one objects."""

from __future__ import annotations

import numpy as np

from ood_toolkit.detectors.sdm.answers import Exemplar, SDMExplanation, SDMPrediction
from ood_toolkit.detectors.sdm.matching import KNOWN_OOD, UNLABELLED, Support
from ood_toolkit.detectors.sdm.region import Region
from ood_toolkit.outputs import Array
from ood_toolkit.parameters import require

__all__ = ["explanations", "named"]


def explanations(
    rows: Array,
    found: SDMPrediction,
    support: Support,
    region: Region,
    queries: Array,
    neighbors: int,
) -> tuple[SDMExplanation, ...]:
    """One explanation for each row that was judged.

    Parameters
    ----------
    rows : (N,) array of int
        Their numbers in the record they come from.
    found : SDMPrediction
        What was said about the rows.
    support : Support
        Where they were looked up.
    region : Region
        What they were held to.
    queries : (N, E) array of float
        The rows in the support's coordinates.
    neighbors : int
        Nearest support rows to list.

    Returns
    -------
    tuple of SDMExplanation
        In the order of the rows.
    """
    require(neighbors >= 1, f"neighbors must be at least 1, got {neighbors}")
    near = support.index.search(queries, neighbors)
    listed = []
    for i, prediction in enumerate(found.prediction.tolist()):
        shown = list(zip(near.indices[i].tolist(), near.distances[i].tolist(), strict=True))
        ranked = [(row, rank, away) for rank, (row, away) in enumerate(shown, start=1)]
        breaker = int(found.breaker[i])
        if breaker >= 0 and breaker not in near.indices[i]:
            away = _distance(queries[i], support.features[breaker])
            ranked.append((breaker, int(found.similarity[i]) + 1, away))
        listed.append(
            SDMExplanation(
                int(rows[i]),
                prediction,
                bool(found.accept[i]),
                bool(found.accept_lower[i]),
                _reason(found, region, i),
                _facts(found, region, i),
                tuple(_exemplar(support, *entry, prediction) for entry in ranked),
            )
        )
    return tuple(listed)


def _distance(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))


def _exemplar(support: Support, row: int, rank: int, distance: float, prediction: int) -> Exemplar:
    label, said = int(support.labels[row]), int(support.predictions[row])
    if label == KNOWN_OOD:
        why = "known to belong to no class"
    elif label == UNLABELLED:
        why = "unlabelled"
    elif label != said:
        why = f"of class {label}, and was predicted wrongly as {said}"
    elif label != prediction:
        why = f"of class {label}"
    else:
        why = ""
    return Exemplar(row, rank, distance, label, said, not why, why)


def _facts(found: SDMPrediction, region: Region, i: int) -> dict[str, float | int]:
    prediction = int(found.prediction[i])
    return {
        "similarity": int(found.similarity[i]),
        "nearest": float(found.nearest[i]),
        "breaker": int(found.breaker[i]),
        "distance_quantile": float(found.distance_quantile[i]),
        "limiting_class": int(found.limiting_class[i]),
        "probability": float(found.probability[i]),
        "rescaled_similarity": float(found.rescaled_similarity[i]),
        "effective_sample_size": int(found.effective_sample_size[i].min()),
        "probability_lower": float(found.probability_lower[i]),
        "probability_upper": float(found.probability_upper[i]),
        "alpha": region.alpha,
        "q_min": region.q_min,
        "psi": float(region.psi[prediction]),
        "score": float(found.score[i]),
    }


def _reason(found: SDMPrediction, region: Region, i: int) -> str:
    """The first test that fails, or that none does."""
    q, prediction = int(found.similarity[i]), int(found.prediction[i])
    p, rescaled = float(found.probability[i]), float(found.rescaled_similarity[i])
    if not region.exists:
        return (
            f"rejected: nothing can be accepted at {region.alpha:g}, which the held-out rows of "
            f"{named(region.missed)} do not reach"
        )
    if q == 0:
        return (
            f"rejected: the nearest support row does not speak for class {prediction}: it was "
            "predicted as another class, predicted wrongly, or has no class"
        )
    if rescaled < region.q_min:
        return (
            f"rejected: rescaled similarity {rescaled:.4g} is below {region.q_min:.4g}; {q} "
            f"nearest support rows agree, distance quantile {found.distance_quantile[i]:.4g}"
        )
    if not found.accept[i]:
        return (
            f"rejected: probability {p:.6g} is below {region.psi[prediction]:.6g}, the threshold "
            f"of class {prediction}"
        )
    return (
        f"accepted: {q} nearest support rows agree, and probability {p:.6g} reaches the "
        f"threshold of class {prediction}"
    )


def named(classes: tuple[int, ...], most: int = 8) -> str:
    """A list of classes in words, the first few by number."""
    shown = ", ".join(map(str, classes[:most]))
    more = f" and {len(classes) - most} more" if len(classes) > most else ""
    return f"class{'es' if len(classes) > 1 else ''} {shown}{more}"
