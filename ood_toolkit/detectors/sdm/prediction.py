"""From matches and logits to answers, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ood_toolkit.chunks import logit_chunks
from ood_toolkit.detectors.sdm.answers import SDMPrediction
from ood_toolkit.detectors.sdm.calibrated import Calibrated
from ood_toolkit.detectors.sdm.distances import (
    band_half_width,
    distance_quantiles,
    effective_sample_sizes,
)
from ood_toolkit.detectors.sdm.matching import Matches
from ood_toolkit.detectors.sdm.ranking import lexicographic_score
from ood_toolkit.detectors.sdm.variants import Evidence, Judged
from ood_toolkit.outputs import Array, Outputs

__all__ = ["judged_prediction", "judged_scores", "predicted_classes"]


def predicted_classes(x: Outputs) -> Array:
    """The first largest logit of each row.  -> (N,) int64."""
    predictions = np.empty(len(x), dtype=np.int64)
    for part, chunk in logit_chunks(x):
        predictions[part] = chunk.argmax(axis=1)
    return predictions


def judged_scores(x: Outputs, matches: Matches, known: Calibrated) -> Array:
    """One number a row; larger = more in-distribution.  -> (N,) float64."""
    scores = np.empty(len(x))
    for part, _, judged in _judged(x, matches, known):
        scores[part] = _rank(judged, matches.nearest[part], known)
    return scores


def judged_prediction(x: Outputs, matches: Matches, known: Calibrated) -> SDMPrediction:
    """Everything that is said about the rows of a record."""
    parts = [
        {**_answers(rows, judged, known), "score": _rank(judged, matches.nearest[part], known)}
        for part, rows, judged in _judged(x, matches, known)
    ]
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    _, lowest = distance_quantiles(matches.nearest, known.distances)
    return SDMPrediction(
        similarity=matches.similarity,
        nearest=matches.nearest,
        breaker=matches.breaker,
        limiting_class=lowest,
        **found,
    )


def _judged(
    x: Outputs, matches: Matches, known: Calibrated
) -> Iterator[tuple[slice, Evidence, Judged]]:
    """Evidence on, and judgement of, the rows of a record."""
    quantile, _ = distance_quantiles(matches.nearest, known.distances)
    nothing = (slice(0, 0), np.empty((0, len(known.distances))))
    for part, chunk in logit_chunks(x) if len(x) else [nothing]:
        rows = Evidence(
            chunk / known.temperature,
            chunk.argmax(axis=1),
            matches.similarity[part],
            quantile[part],
        )
        yield part, rows, known.variant.judge(rows)


def _rank(judged: Judged, nearest: Array, known: Calibrated) -> Array:
    return lexicographic_score(judged.rescaled, judged.rivals, nearest, known.usual_distance)


def _answers(rows: Evidence, judged: Judged, known: Calibrated) -> dict[str, Array]:
    """Decision and band of some rows."""
    region, probability = known.region, judged.of(rows.predictions)
    sizes = effective_sample_sizes(judged.rescaled, known.rescaled_of_class)
    width = band_half_width(sizes, region.alpha)
    low, high = (known.variant.judge(rows, sign * width) for sign in (-1.0, 1.0))
    probability_lower, widest = low.of(rows.predictions), width.max(axis=1)
    psi = np.where(np.isfinite(region.psi), region.psi, np.nan)
    return {
        "prediction": rows.predictions,
        "distance_quantile": rows.quantile,
        "probability": probability,
        "probabilities": judged.probabilities,
        "rescaled_similarity": judged.rescaled,
        "accept": region.accepts(judged.rescaled, rows.predictions, probability),
        "margin": probability - psi[rows.predictions],
        "effective_sample_size": sizes,
        "distance_lower": np.maximum(rows.quantile - widest, 0.0),
        "distance_upper": np.minimum(rows.quantile + widest, 1.0),
        "probability_lower": probability_lower,
        "probability_upper": high.of(rows.predictions),
        "accept_lower": region.accepts(low.rescaled, rows.predictions, probability_lower),
    }
