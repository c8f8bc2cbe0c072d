"""`ood-toolkit monitor`: say when a stream has stopped to look in-distribution."""

from __future__ import annotations

import rich_click as click

from .console import print_facts, print_json
from .kinds import count, share
from .options import FileOptions, reading_options, talking

__all__ = ["monitor"]

ALARM = 1
"""Exit status of a check that failed."""


@click.command()
@click.argument("inputs", metavar="FILE...", nargs=-1, required=True)
@click.option("--detector", metavar="DETECTOR", required=True, help="Detector with a threshold.")
@share(
    "--false-alarm",
    one=False,
    default=0.01,
    help="Probability of any alarm while all rows are in-distribution.",
)
@count("--seed", default=0, shown=False, help="Seed of the random tie-breaking.")
@reading_options
def monitor(
    inputs: tuple[str, ...],
    detector: str,
    false_alarm: float,
    seed: int,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Watch the rows of FILEs in order; exit with status 1 when they no longer look like ID.

    Rows are compared with the held-out rows that set the detector's threshold, and with each
    other.  The alarm is a sequential test: however long the stream, the probability of a false
    alarm is at most --false-alarm.

    Rows must be in the order in which they arrived, or shuffled: a file sorted by class, or by
    anything else that the score depends on, changes from row to row and raises an alarm.
    """
    import numpy as np

    from ood_toolkit.decision import Monitor
    from ood_toolkit.detectors.persistence import read_scorer
    from ood_toolkit.errors import DataError
    from ood_toolkit.evaluation.records import plain

    with talking(quiet, verbose):
        saved = read_scorer(detector)
        if saved.id_scores.size == 0:
            raise DataError(
                detector, "threshold", "there is none; `ood-toolkit threshold` sets one"
            )
        scores = [saved.scorer.score(files.load(name, labels=False)) for name in inputs]
        report = Monitor(saved.id_scores, false_alarm, seed).watch(np.concatenate(scores))
    ends = np.cumsum([len(part) for part in scores])
    document = {
        "method": saved.scorer.name,
        "rows": int(ends[-1]),
        "false_alarm": false_alarm,
        "alarm": report.alarm >= 0,
        "evidence": float(report.evidence.max(initial=1.0)),
        "needed": 1.0 / false_alarm,
    }
    if report.alarm >= 0:
        number = int(np.searchsorted(ends, report.alarm, side="right"))
        document["file"] = inputs[number]
        document["row"] = report.alarm - (int(ends[number - 1]) if number else 0)
    if as_json:
        print_json(plain(document))
    elif not quiet:
        print_facts(plain(document))
    elif report.alarm >= 0:
        click.echo(f"Alarm: {document['file']}: row {document['row']}", err=True)
    if report.alarm >= 0:
        raise click.exceptions.Exit(ALARM)
