"""Exact nearest neighbours: one engine for every method that asks for them."""

from __future__ import annotations

from ood_toolkit.neighbors.index import NeighborIndex, Neighbors

__all__ = ["NeighborIndex", "Neighbors"]
