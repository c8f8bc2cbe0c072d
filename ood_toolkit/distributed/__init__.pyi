"""One machine to many with Dask: the same parts, the same bits, on any number of workers."""

from .cluster import connected
from .driver import Outcome
from .extraction import Extractor, extract
from .moments import shared_moments
from .scoring import Wanted, score_to_file
from .stores import url_inputs

__all__ = [
    "Extractor",
    "Outcome",
    "Wanted",
    "connected",
    "extract",
    "score_to_file",
    "shared_moments",
    "url_inputs",
]
