"""`ood-toolkit threshold`: set what a saved detector accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from .console import print_result
from .kinds import choice, share
from .options import FileOptions, bounded_reading_options, talking
from .outputs import check_file

if TYPE_CHECKING:
    from ood_toolkit.decision import Rule
    from ood_toolkit.detectors.base import FittedScorer
    from ood_toolkit.outputs import Array, Outputs

__all__ = ["threshold"]

RULES = ("tpr", "class", "selective-risk", "expected-error", "method")
"""What a threshold can be set by."""


@click.command()
@click.option("--detector", metavar="DETECTOR", required=True, help="A detector saved by `fit`.")
@click.option(
    "--id-val",
    metavar="FILE",
    required=True,
    help="In-distribution outputs that were not used to fit.",
)
@choice(
    "--rule",
    of=RULES,
    help="A share to accept, of all rows or of each predicted class; a bound on how many "
    "accepted predictions are wrong, or on how many of all rows are accepted and wrong; or the "
    "method's own rule (sdm, softmax_centroid).",
)
@share("--tpr", one=True, told="0.95", help="Share of in-distribution rows to accept.")
@click.option(
    "--guarantee",
    is_flag=True,
    help="Accept at least --tpr of new rows too, with confidence 1 - delta.",
)
@share("--delta", one=False, told="0.05", help="Probability that the guarantee fails.")
@share("--risk", one=False, help="The bound of selective-risk and expected-error.")
@click.option(
    "-o", "--output", metavar="FILE", help="Write the detector here instead of replacing it."
)
@bounded_reading_options
def threshold(
    detector: str,
    id_val: str,
    rule: str,
    tpr: float | None,
    guarantee: bool,
    delta: float | None,
    risk: float | None,
    output: str | None,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Set an abstention threshold on in-distribution rows and store it in the detector.

    `score --detector` then also gives each row's p-value and whether it is accepted.  With
    --guarantee the threshold is lowered until, with confidence 1 - delta, it accepts at least
    a share --tpr of all in-distribution rows, not only of those in --id-val.  The rules that
    bound a risk need labels.
    """
    from ood_toolkit.detectors.persistence import read_scorer
    from ood_toolkit.detectors.saving import save_scorer
    from ood_toolkit.errors import BadParameter, DataError, InputError
    from ood_toolkit.evaluation.inspection import doubts_about_logits
    from ood_toolkit.evaluation.records import plain
    from ood_toolkit.io import file_digest, refuse_same_file

    _refuse_what_does_not_fit(rule, tpr, guarantee, delta, risk)
    target = output or detector
    if output is not None:
        check_file(output, ".safetensors")
    with talking(quiet, verbose) as talk:
        refuse_same_file(target, [id_val, *([files.head] if files.head else [])])
        saved = read_scorer(detector)
        record = files.load(id_val)
        for doubt in doubts_about_logits(record):
            talk.note(f"Warning: {id_val}: {doubt}")
        scores = saved.scorer.score(record)
        sure = 0.05 if delta is None else delta
        share = 0.95 if tpr is None else tpr
        try:
            if risk is not None:
                found = _at_risk(rule, record, scores, risk, sure)
            else:
                guaranteed = sure if guarantee else None
                found = _at_rate(rule, saved.scorer, record, scores, share, guaranteed)
        except (BadParameter, DataError):
            raise
        except InputError as reason:
            words = str(reason).removeprefix(f"{id_val}: ")
            raise DataError(id_val, "", words) from None
        digest = file_digest(id_val)
        if saved.fitted_on.get("sha256") == digest:
            talk.note(
                f"Warning: {id_val}: the detector was fitted on these rows, which score higher "
                "than new ones; use others"
            )
        facts = {**found.facts(), "set_on": {"file": id_val, "sha256": digest}}
        if facts.get("coverage") == 0.0:
            talk.note(f"Warning: {detector}: the rule accepts none of these rows, nor any other")
        save_scorer(
            saved.scorer, target, fitted_on=saved.fitted_on, threshold=facts, **found.arrays()
        )
    document = plain({"method": saved.scorer.name, "output": target, "threshold": facts})
    print_result(document, as_json=as_json, quiet=quiet)


def _refuse_what_does_not_fit(
    rule: str, tpr: float | None, guarantee: bool, delta: float | None, risk: float | None
) -> None:
    of_risk = rule in ("selective-risk", "expected-error")
    if of_risk and risk is None:
        raise click.UsageError(f"--rule {rule} needs --risk")
    if risk is not None and not of_risk:
        raise click.UsageError("--risk belongs to --rule selective-risk and expected-error")
    if (tpr is not None or guarantee) and rule not in ("tpr", "class"):
        raise click.UsageError("--tpr and --guarantee belong to --rule tpr and class")
    if delta is not None and not guarantee and rule != "selective-risk":
        raise click.UsageError("--delta belongs to --guarantee and --rule selective-risk")
    if guarantee and tpr is not None and tpr >= 1.0:
        raise click.UsageError("no number of rows guarantees a --tpr of 1")


def _at_rate(
    rule: str,
    scorer: FittedScorer,
    x: Outputs,
    scores: Array,
    tpr: float,
    delta: float | None,
) -> Rule:
    from ood_toolkit.decision import ClassThresholds, MethodRule, Threshold
    from ood_toolkit.decision.verdict import predicted_classes

    if rule == "method":
        return MethodRule.of(scorer, x)
    if rule == "class":
        return ClassThresholds.at_tpr(scores, predicted_classes(x), x.classes, tpr, delta)
    if delta is None:
        return Threshold.at_tpr(scores, tpr)
    return Threshold.guaranteed(scores, tpr, delta)


def _at_risk(rule: str, x: Outputs, scores: Array, risk: float, delta: float) -> Rule:
    from ood_toolkit.decision import RiskRule
    from ood_toolkit.decision.verdict import right_predictions

    correct = right_predictions(x)
    if rule == "selective-risk":
        return RiskRule.selective(scores, correct, risk, delta)
    return RiskRule.expected(scores, correct, risk)
