"""`ood-toolkit policy`: join detectors, a calibrator and thresholds to one rule in one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from .console import print_result
from .kinds import share
from .options import FileOptions, reading_options, talking
from .outputs import check_file

if TYPE_CHECKING:
    from ood_toolkit.decision import Policy

__all__ = ["policy", "policy_facts"]


@click.command()
@click.option(
    "--detector",
    "detectors",
    metavar="DETECTOR",
    multiple=True,
    required=True,
    help="Detector with a threshold; repeat for more: a row that any rejects is rejected.",
)
@click.option("--calibrator", metavar="CALIBRATOR", help="Saved by `calibrate`.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1),
    show_default="0",
    help="Defer predictions whose probability is lower.",
)
@share(
    "--risk",
    one=False,
    help="Find the confidence at which at most this share of accepted predictions is wrong.",
)
@share("--delta", one=False, told="0.05", help="Probability that --risk is exceeded.")
@click.option(
    "--id-val", metavar="FILE", help="Labelled rows for --risk, used for nothing else before."
)
@click.option("-o", "--output", metavar="POLICY", required=True, help="Ends in .safetensors.")
@reading_options
def policy(
    detectors: tuple[str, ...],
    calibrator: str | None,
    confidence: float | None,
    risk: float | None,
    delta: float | None,
    id_val: str | None,
    output: str,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Write the rule that accepts a prediction, defers it to a person, or rejects the input.

    `score --policy` then gives each row's action and the reason for it.
    """
    from ood_toolkit.calibration.persistence import read_calibrator
    from ood_toolkit.decision import Policy
    from ood_toolkit.evaluation.records import plain
    from ood_toolkit.io import file_digest, refuse_same_file

    if (risk is None) != (id_val is None):
        raise click.UsageError("--risk and --id-val go together")
    if risk is not None and confidence is not None:
        raise click.UsageError("give --confidence, or let --risk find it")
    if delta is not None and risk is None:
        raise click.UsageError("--delta belongs to --risk")
    check_file(output, ".safetensors")
    with talking(quiet, verbose) as talk:
        given = [*detectors, *(f for f in (calibrator, id_val, files.head) if f)]
        refuse_same_file(output, given)
        checks = [_check(path) for path in detectors]
        fitted = read_calibrator(calibrator) if calibrator else None
        _refuse_other_classifiers(detectors, checks, calibrator, fitted)
        (scorer, rule, _), *others = checks
        made = Policy(
            scorer,
            rule,
            fitted.calibrator if fitted else None,
            confidence or 0.0,
            tuple((s, r) for s, r, _ in others),
        )
        if id_val is not None and risk is not None:
            used = {digest for _, _, digests in checks for digest in digests}
            used |= {fitted.fitted_on.get("sha256")} if fitted else set()
            if file_digest(id_val) in used:
                talk.note(
                    f"Warning: {id_val}: a detector, threshold or calibrator was fitted on these "
                    "rows; the risk is promised for rows used for nothing else"
                )
            made = made.keeping_risk(files.load(id_val), risk, 0.05 if delta is None else delta)
        made.save(output)
    document = plain({"output": output, **policy_facts(made)})
    print_result(document, as_json=as_json, quiet=quiet)


def _check(path: str) -> tuple[Any, Any, set[str]]:
    """Scorer and rule of a detector file, and the digests of the files behind them."""
    from ood_toolkit.decision import rule_from
    from ood_toolkit.detectors.persistence import read_scorer
    from ood_toolkit.errors import DataError

    saved = read_scorer(path)
    if saved.threshold is None:
        raise DataError(path, "threshold", "there is none; `ood-toolkit threshold` sets one")
    rule = rule_from(saved.threshold, saved.id_scores, saved.id_predictions)
    origins = (saved.fitted_on, saved.threshold.get("set_on", {}))
    return saved.scorer, rule, {o["sha256"] for o in origins if "sha256" in o}


def _refuse_other_classifiers(
    detectors: Sequence[str],
    checks: Sequence[tuple[Any, Any, set[str]]],
    calibrator: str | None,
    fitted: Any,
) -> None:
    """As a policy does itself, which cannot name the files."""
    from ood_toolkit.decision.one_classifier import parts_of_policy, refuse_other_classifiers

    named = [(s.name, s, rule, path) for path, (s, rule, _) in zip(detectors, checks, strict=True)]
    own = fitted.calibrator if fitted else None
    refuse_other_classifiers(parts_of_policy(named, own, calibrator or ""))


def policy_facts(made: Policy) -> dict[str, Any]:
    """What a policy is made of, JSON-ready."""
    return {
        "detectors": {name: rule.facts() for name, rule in made.rules.items()},
        "calibrator": getattr(made.calibrator, "name", None),
        "confidence": made.confidence,
    }
