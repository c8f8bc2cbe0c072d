"""What is written for each row: its prediction, its scores, and what rules make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ood_toolkit.detectors.planner import scores_and_statistics
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer

if TYPE_CHECKING:
    from ood_toolkit.decision.policy import Decisions, Policy
    from ood_toolkit.decision.verdict import Rule

__all__ = ["decision_columns", "row_columns"]


def row_columns(
    x: Outputs,
    scorers: Mapping[str, Scorer],
    rules: Mapping[str, Rule],
    policy: Policy | None = None,
) -> dict[str, Array]:
    """Columns of a scores file for some rows, from one pass over their logits.

    Parameters
    ----------
    x : Outputs
        N rows with what the scorers need.
    scorers : mapping of str to Scorer
        By column.
    rules : mapping of str to Rule
        For those of the scorers that have one; with exactly one its verdict is also the row's.
    policy : Policy, optional
        Then `scorers` are its own, and its decision takes the place of the verdicts.

    Returns
    -------
    dict of str to (N,) array
        `index`; `prediction` where there are logits; `label` where there are labels; a column
        a score; `<name>.p_value` and `<name>.accept` a rule.

    Raises
    ------
    InputError
        If a row cannot be scored, naming the first.

    Examples
    --------
    >>> import ood_toolkit as ood
    >>> x = ood.Outputs(logits=[[2.0, 0.0], [0.0, 1.0]])
    >>> sorted(row_columns(x, {"msp": ood.MSP().fit()}, {}))
    ['index', 'msp', 'prediction']
    """
    table: dict[str, Array] = {"index": np.arange(len(x))}
    wanted = () if x.logits is None else (PREDICTION,)
    scores, rows = scores_and_statistics(x, scorers, wanted)
    if wanted:
        table["prediction"] = rows[PREDICTION]
    if x.labels is not None:
        table["label"] = x.labels
    if policy is not None:
        return table | decision_columns(policy.decide(x, scores))
    table |= scores
    for name, rule in rules.items():
        verdict = rule.verdict(x, scores[name], scorers[name])
        table[f"{name}.p_value"], table[f"{name}.accept"] = verdict.p_value, verdict.accept
    if len(rules) == 1:
        (name,) = rules
        table["p_value"], table["accept"] = table[f"{name}.p_value"], table[f"{name}.accept"]
    return table


def decision_columns(decisions: Decisions) -> dict[str, Array]:
    """The columns that a policy's decisions become, beside index and label."""
    columns: dict[str, Array] = {
        "prediction": decisions.prediction,
        "probability": decisions.probability,
        **decisions.scores,
    }
    for name, verdict in decisions.verdicts.items():
        columns[f"{name}.p_value"] = verdict.p_value
        columns[f"{name}.accept"] = verdict.accept
    if len(decisions.verdicts) == 1:
        columns["p_value"] = decisions.p_value
    columns["accept"] = np.asarray(decisions.action == "accept")
    columns["action"] = decisions.action
    columns["reason"] = np.array(decisions.reason, dtype=str)
    return columns
