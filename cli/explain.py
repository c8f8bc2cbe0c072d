"""`ood-toolkit explain`: why rows are accepted or rejected, by their nearest training rows."""

from __future__ import annotations

from typing import Any

import rich_click as click

from .console import print_facts, print_json, print_table
from .kinds import count
from .options import FileOptions, reading_options, talking

__all__ = ["explain"]

FIRST = 5
"""Rows explained where none are named."""

MOST = 100_000
"""Rows in one range."""


@click.command()
@click.argument("file")
@click.option(
    "--detector",
    metavar="DETECTOR",
    required=True,
    help="A fitted detector that explains itself (sdm), as `fit` saves it.",
)
@click.option(
    "--rows",
    metavar="N[,N-M...]",
    help=f"Rows to explain, counted from 0; the first {FIRST} by default.",
)
@count(
    "--neighbors",
    least=1,
    default=5,
    help="How many of the nearest support rows to list for each row.",
)
@reading_options
def explain(
    file: str,
    detector: str,
    rows: str | None,
    neighbors: int,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Explain rows of FILE by the support rows nearest to them.

    Says whether each row is accepted and which test decides, and lists the nearest support
    rows (training rows) with labels and distances, then the first that disagrees with the
    prediction.
    """
    chosen = _numbers(rows) if rows is not None else None
    from dataclasses import asdict

    from ood_toolkit.detectors import SDMScorer
    from ood_toolkit.detectors.persistence import read_scorer
    from ood_toolkit.errors import DataError
    from ood_toolkit.evaluation.records import plain

    with talking(quiet, verbose):
        scorer = read_scorer(detector).scorer
        if not isinstance(scorer, SDMScorer):
            raise DataError(detector, "", f"{scorer.name} cannot explain its scores; fit sdm")
        record = files.load(file, labels="lenient")
        asked = chosen if chosen is not None else list(range(min(FIRST, len(record))))
        explanations = scorer.explain(record, asked, neighbors=neighbors)
    if as_json:
        print_json(
            {
                "file": file,
                "detector": detector,
                "method": scorer.name,
                "rows": [plain(asdict(explanation)) for explanation in explanations],
            }
        )
        return
    labels = record.labels.tolist() if record.labels is not None else None
    for explanation in explanations:
        _print(explanation, labels[explanation.row] if labels is not None else -1)


def _print(explanation: Any, label: int) -> None:
    """One row: the sentence, the quantities behind it, and the table of exemplars."""
    known = f", labelled {label}" if label >= 0 else ""
    click.echo(f"row {explanation.row}: predicted {explanation.prediction}{known}")
    click.echo(explanation.reason)
    lower = "accepted" if explanation.accept_lower else "rejected"
    print_facts({"at_the_lower_end_of_the_band": lower, **explanation.facts})
    words = ["agrees", "why not"]
    print_table(
        ["neighbor", "support row", "distance", "label", "predicted", *words],
        [
            [
                str(e.rank),
                str(e.row),
                f"{e.distance:.6g}",
                str(e.label),
                str(e.prediction),
                "yes" if e.agrees else "no",
                e.why,
            ]
            for e in explanation.exemplars
        ],
        left=words,
    )
    click.echo()


def _numbers(text: str) -> list[int]:
    """Read `0,4,10-12`."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isascii() or not first.isdecimal() or (dash and not last.isdecimal()):
            raise click.UsageError(f"--rows {text}: expected numbers such as 0,4,10-12")
        if int(last or first) - int(first) >= MOST:
            raise click.UsageError(f"--rows {text}: more than {MOST} rows at a time")
        numbers += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(numbers))
