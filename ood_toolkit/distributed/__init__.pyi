"""One machine to many with Dask: the same parts, the same bits, on any number of workers."""

from .cluster import connected
from .moments import shared_moments
from .scoring import Outcome, Wanted, score_to_file

__all__ = ["Outcome", "Wanted", "connected", "score_to_file", "shared_moments"]
