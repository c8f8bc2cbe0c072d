"""What a finite sample of in-distribution rows can promise about new ones."""

from __future__ import annotations

import math

from ood_toolkit.errors import BadParameter, InputError

__all__ = ["acceptance_bounds", "check_delta", "guaranteed_rank", "rows_needed"]


def check_delta(delta: float) -> None:
    """Raise `BadParameter` unless `delta` is a probability between 0 and 1."""
    if not 0.0 < delta < 1.0:
        raise BadParameter(f"delta must lie in (0, 1), got {delta}")


def rows_needed(tpr: float, delta: float = 0.05) -> int:
    """Fewest in-distribution rows with which an acceptance rate can be guaranteed.

    Parameters
    ----------
    tpr : float
        In (0, 1): the share of in-distribution rows to be accepted.
    delta : float
        In (0, 1): how often the guarantee may fail.

    Returns
    -------
    int
        The least N with tpr^N <= delta: even the smallest of N scores is too large a
        threshold with probability tpr^N.

    Raises
    ------
    BadParameter
        If a share is out of range; no number of rows guarantees a share of 1.

    Examples
    --------
    >>> rows_needed(0.95, 0.05), rows_needed(0.99, 0.01)
    (59, 459)
    """
    _check_tpr(tpr)
    check_delta(delta)
    rows = max(1, math.ceil(math.log(delta) / math.log(tpr)))
    while rows > 1 and tpr ** (rows - 1) <= delta:
        rows -= 1
    while tpr**rows > delta:
        rows += 1
    return rows


def guaranteed_rank(rows: int, tpr: float, delta: float = 0.05) -> int:
    """Which of the sorted scores may be the threshold, so that the promise holds.

    Of N exchangeable scores in ascending order the r-th is too large a threshold, one that
    accepts less than `tpr` of new rows, with probability at most
    P(Binomial(N, 1 - tpr) <= r - 1).

    Parameters
    ----------
    rows : int
        N.
    tpr, delta : float
        As of `rows_needed`.

    Returns
    -------
    int
        The largest r, counted from 1, at which that is no more than `delta`.

    Raises
    ------
    BadParameter
        If a share is out of range.
    InputError
        If there are fewer rows than `rows_needed`.

    References
    ----------
    Clopper & Pearson, Biometrika 1934; Wilks, Annals of Mathematical Statistics 1941.

    Examples
    --------
    >>> guaranteed_rank(59, 0.95), guaranteed_rank(1000, 0.95)
    (1, 39)
    """
    from scipy.stats import binom

    least = rows_needed(tpr, delta)
    if rows < least:
        raise InputError(
            f"{rows} in-distribution rows cannot guarantee a rate of {tpr:g} with confidence "
            f"{1 - delta:g}; it takes {least}"
        )
    rank = int(binom.ppf(delta, rows, 1.0 - tpr)) + 1
    while binom.cdf(rank - 1, rows, 1.0 - tpr) > delta:
        rank -= 1
    return max(rank, 1)


def acceptance_bounds(accepted: int, rows: int, delta: float = 0.05) -> tuple[float, float]:
    """Exact bounds on a rate of which `accepted` successes in `rows` trials were seen.

    Parameters
    ----------
    accepted, rows : int
        0 <= accepted <= rows, at least one row.
    delta : float
        In (0, 1): how often the two bounds together may fail to hold the rate.

    Returns
    -------
    low, high : float
        In [0, 1].

    Raises
    ------
    BadParameter
        If `delta` is out of range.
    InputError
        If the counts make no sense.

    References
    ----------
    Clopper & Pearson, Biometrika 1934.

    Examples
    --------
    >>> [round(bound, 4) for bound in acceptance_bounds(95, 100)]
    [0.8872, 0.9836]
    """
    from scipy.stats import beta

    check_delta(delta)
    if not 0 <= accepted <= rows or rows < 1:
        raise InputError(f"{accepted} of {rows} rows is no count of successes")
    low = 0.0 if accepted == 0 else float(beta.ppf(delta / 2, accepted, rows - accepted + 1))
    high = 1.0
    if accepted < rows:
        high = float(beta.ppf(1 - delta / 2, accepted + 1, rows - accepted))
    return low, high


def _check_tpr(tpr: float) -> None:
    if not 0.0 < tpr < 1.0:
        raise BadParameter(f"tpr must lie in (0, 1) to be guaranteed, got {tpr}")
