"""`ood-toolkit threshold`: set what a saved detector accepts."""

from __future__ import annotations

import rich_click as click

from .console import print_facts, print_json
from .options import FileOptions, file_options, json_option, talk_options, talking

__all__ = ["threshold"]


@click.command()
@click.option("--detector", metavar="DETECTOR", required=True, help="As `fit` saves it.")
@click.option(
    "--id-val", metavar="FILE", required=True, help="In-distribution outputs not fitted on."
)
@click.option(
    "--tpr",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Share of in-distribution rows to accept.",
)
@click.option(
    "--guarantee",
    is_flag=True,
    help="Accept that share of new rows too, with confidence 1 - delta.",
)
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="How often the guarantee may fail.  [default: 0.05]",
)
@click.option(
    "-o", "--output", metavar="FILE", help="Write the detector there instead of over DETECTOR."
)
@file_options
@json_option
@talk_options
def threshold(
    detector: str,
    id_val: str,
    tpr: float,
    guarantee: bool,
    delta: float | None,
    output: str | None,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Set an abstention threshold on in-distribution rows and store it in the detector.

    `score --detector` then says for each row whether to accept it, and its p-value.  With
    --guarantee the threshold is lowered until the share accepted of all in-distribution
    rows, not only of these, is at least --tpr with confidence 1 - delta.
    """
    from ood_toolkit.decision import Threshold
    from ood_toolkit.detectors.persistence import read_scorer, save_scorer
    from ood_toolkit.errors import BadParameter, DataError, InputError
    from ood_toolkit.evaluation.records import plain
    from ood_toolkit.io import file_digest, refuse_same_file

    if delta is not None and not guarantee:
        raise click.UsageError("--delta belongs to --guarantee")
    if guarantee and tpr >= 1.0:
        raise click.UsageError("no number of rows guarantees a --tpr of 1")
    target = output or detector
    with talking(quiet, verbose) as talk:
        refuse_same_file(target, [id_val, *([files.head] if files.head else [])])
        saved = read_scorer(detector)
        record = files.load(id_val)
        scores = saved.scorer.score(record)
        try:
            if guarantee:
                found = Threshold.guaranteed(scores, tpr, 0.05 if delta is None else delta)
            else:
                found = Threshold.at_tpr(scores, tpr)
        except BadParameter:
            raise
        except InputError as reason:
            raise DataError(id_val, "", str(reason)) from None
        digest = file_digest(id_val)
        if saved.fitted_on.get("sha256") == digest:
            talk.note(
                f"Warning: {id_val}: the detector was fitted on these rows, which score higher "
                "than new ones; use others"
            )
        facts = {**found.facts(), "set_on": {"file": id_val, "sha256": digest}}
        save_scorer(
            saved.scorer,
            target,
            fitted_on=saved.fitted_on,
            threshold=facts,
            id_scores=found.id_scores,
        )
    document = plain({"method": saved.scorer.name, "output": target, "threshold": facts})
    if as_json:
        print_json(document)
    elif not quiet:
        print_facts(document)
