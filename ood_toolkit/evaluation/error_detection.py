"""Fitting and scoring methods to see how well they find the classifier's errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ood_toolkit.detectors.catalogue import make_detector, method_of
from ood_toolkit.detectors.planner import fit_method, score_together, unmet_needs
from ood_toolkit.errors import BadParameter
from ood_toolkit.evaluation.failing import why_it_failed
from ood_toolkit.evaluation.misclassification import ErrorReport, error_report
from ood_toolkit.evaluation.records import MethodNote
from ood_toolkit.given import each_once, expect_outputs, expect_records, expect_sets
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector

__all__ = ["evaluate_errors"]


def evaluate_errors(
    methods: str | Sequence[str | Detector],
    x: Outputs,
    *,
    train: Outputs | None = None,
    id_val: Outputs | None = None,
    ood: Mapping[str, Outputs] | None = None,
    ood_cost: float = 1.0,
    bootstrap: int = 0,
    seed: int = 0,
    skip_unmet: bool = False,
    progress: Callable[[str], None] = lambda label: None,
) -> ErrorReport:
    """Measure how well scores separate the classifier's right predictions from its wrong ones.

    Parameters
    ----------
    methods : str or sequence of str or detectors
        What to score with.
    x : Outputs
        With logits and the label of every row.
    train, id_val : Outputs, optional
        What methods are fitted on.
    ood : mapping of str to Outputs, optional
        Out-of-distribution rows by name, to be rejected as well as the wrong predictions.
    ood_cost : float
        Cost of accepting such a row, where a wrong prediction costs 1; at least 0.
    bootstrap, seed : int
        Resamples behind the intervals of risk at coverage and coverage at risk, 0 for none;
        and their seed.
    skip_unmet : bool
        Whether a method that lacks something it needs is skipped instead of failing.
    progress : callable, optional
        Called with a label after each method.

    Returns
    -------
    ErrorReport
        Accuracy, NLL, Brier and ECE of the classifier; AUROC, AUPR, AURC, E-AURC, AUGRC, risk
        at coverage and coverage at risk of each method; with `ood` the same trade-off with
        outliers.

    Raises
    ------
    BadParameter
        If `bootstrap` or `ood_cost` is negative.
    InputError
        If a method is there twice, labels are missing or unknown, or a row holds NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> x = ood.Outputs(logits=np.array([[3.0, 0.0], [0.0, 2.0], [0.5, 0.0]]), labels=[0, 1, 1])
    >>> evaluate_errors("msp", x).results[0].auroc
    1.0
    """
    if bootstrap < 0:
        raise BadParameter(f"bootstrap must be at least 0, got {bootstrap}")
    if not 0.0 <= ood_cost < float("inf"):
        raise BadParameter(f"ood_cost must be at least 0 and finite, got {ood_cost}")
    expect_outputs(x, "x")
    expect_records(train=train, id_val=id_val)
    expect_sets(ood=ood or {})
    listed = [methods] if isinstance(methods, str) else methods
    detectors = [make_detector(item) if isinstance(item, str) else item for item in listed]
    named = each_once((method_of(made).name, made) for made in detectors)
    scores: dict[str, Array] = {}
    ood_scores: dict[str, dict[str, Array]] = {}
    skipped: list[MethodNote] = []
    failed: list[MethodNote] = []
    for made in named.values():
        row = method_of(made)
        reason = unmet_needs(row, x, train)
        if reason:
            (skipped if skip_unmet else failed).append(MethodNote(row.name, reason))
        else:
            try:
                scorers = {row.name: fit_method(made, train, id_val)}
                strange = {
                    name: score_together(rows, scorers)[row.name]
                    for name, rows in (ood or {}).items()
                }
                scores |= score_together(x, scorers)
                ood_scores[row.name] = strange
            except Exception as error:  # noqa: BLE001, any library may raise any kind
                failed.append(MethodNote(row.name, why_it_failed(row.name, error)))
        progress(row.name)
    return error_report(
        x,
        scores,
        tuple(skipped),
        tuple(failed),
        ood_scores=ood_scores,
        ood_cost=ood_cost,
        bootstrap=bootstrap,
        seed=seed,
    )
