"""Groups of out-of-distribution sets: whose means there are, and which of them are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ood_toolkit.errors import BadParameter

__all__ = ["check_groups", "groups_of", "shown_groups"]

SYNTHETIC = "synthetic"
"""Group of sanity sets; they are reported but left out of the means over all sets."""
ALL = "all"
"""What the mean over all sets is called, and so no group of some."""


def groups_of(group_of_set: Mapping[str, str]) -> dict[str, list[str]]:
    """Sets by group as they come, then "all": every set that is not synthetic, if there is one."""
    groups: dict[str, list[str]] = {}
    for key, group in group_of_set.items():
        if group:
            groups.setdefault(group, []).append(key)
    counted = [key for key, group in group_of_set.items() if group != SYNTHETIC]
    groups[ALL] = counted or list(group_of_set)
    return groups


def check_groups(groups: Iterable[str]) -> None:
    """Refuse a group whose mean would be taken for the mean over all sets.

    Raises
    ------
    BadParameter
        If one is called "all".
    """
    if ALL in groups:
        raise BadParameter(f"no group may be called {ALL}, as the mean over all sets is")


def shown_groups(groups: Iterable[str]) -> list[str]:
    """Groups whose means a table shows: near, far, then others as they come; else all sets."""
    found = dict.fromkeys(groups)
    first = [group for group in ("near", "far") if group in found]
    others = [g for g in found if g and g not in (*first, SYNTHETIC, ALL)]
    return [*first, *others] or [ALL]
