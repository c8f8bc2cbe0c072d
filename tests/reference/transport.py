"""The cheapest way to turn one distribution into another, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

__all__ = ["transport_cost"]

Plan = dict[tuple[int, int], int]
Path = tuple[int, list[int]]


def transport_cost(
    supply: Sequence[Fraction], demand: Sequence[Fraction], cost: Sequence[Sequence[float]]
) -> Fraction:
    """min Σ x_ij cost_ij over plans x ≥ 0 with row sums `supply` and column sums `demand`.

    As much as fits goes along the cheapest path that is left, until nothing is left: a plan
    made so is the cheapest for what it has moved, at every step.  Amounts and costs are
    counted in their largest common parts, as whole numbers.
    """
    part = lcm(*(v.denominator for v in (*supply, *demand)))
    fee = lcm(*(Fraction(c).denominator for row in cost for c in row))
    left, wanted = [int(v * part) for v in supply], [int(v * part) for v in demand]
    costs = [[int(Fraction(c) * fee) for c in row] for row in cost]
    plan, total = Plan(), 0
    while any(left):
        price, path = cheapest_path(left, wanted, plan, costs)
        forward = list(zip(path[::2], path[1::2], strict=True))
        backward = list(zip(path[2::2], path[1::2], strict=False))
        amount = min(left[path[0]], wanted[path[-1]], *(plan[step] for step in backward))
        for step in forward:
            plan[step] = plan.get(step, 0) + amount
        for step in backward:
            plan[step] -= amount
        left[path[0]] -= amount
        wanted[path[-1]] -= amount
        total += amount * price
    return Fraction(total, part * fee)


def cheapest_path(left: list[int], wanted: list[int], plan: Plan, cost: list[list[int]]) -> Path:
    """Price and path source, target, source, target … from a source with something left.

    A step source → target sends more; a step target → source sends back what the plan
    has there, at minus its cost.
    """
    reach: dict[int, Path] = {i: (0, [i]) for i, amount in enumerate(left) if amount > 0}
    returns = [step for step, amount in plan.items() if amount > 0]
    cheaper = True
    while cheaper:
        cheaper = False
        for back, j in returns:
            for i, (price, path) in list(reach.items()):
                offer = price + cost[i][j] - cost[back][j]
                if back not in reach or offer < reach[back][0]:
                    reach[back], cheaper = (offer, [*path, j, back]), True
    targets = [j for j, amount in enumerate(wanted) if amount > 0]
    return min(
        (price + cost[i][j], [*path, j]) for i, (price, path) in reach.items() for j in targets
    )
