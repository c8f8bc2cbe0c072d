"""Options of commands that measure methods, and what becomes of the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from .console import print_json
from .kinds import choice, count, share
from .outputs import check_outputs
from .report import report_options, results_text
from .tables import print_evaluation

if TYPE_CHECKING:
    from ood_toolkit.evaluation import Evaluation

__all__ = [
    "FILES",
    "PARTIAL",
    "api_options",
    "check_files",
    "command_line",
    "finish",
    "measure_options",
]

FPR_RULES = ["id_positive", "ood_positive", "openood", "odin", "nearest_id", "nearest_ood"]
PARTIAL = 4
FILES = ("json_out", "csv_out", "markdown", "latex")
_OPTIONS = dict(zip(FILES, ("--json-out", "--csv", "--markdown", "--latex"), strict=True))
_SHOWN = ("intervals", "tie")


def measure_options(command: Any) -> Any:
    """Options that say how to measure and where results go."""
    command = report_options(command)
    for option in (
        click.option("--latex", metavar="FILE", help="Also write the table for LaTeX."),
        click.option("--markdown", metavar="FILE", help="Also write the table as Markdown."),
        click.option("--csv", "csv_out", metavar="FILE", help="Also write one line per result."),
        click.option("--json-out", metavar="FILE", help="Also write all results as JSON."),
        click.option(
            "--scores-out",
            metavar="DIR",
            help="Also write the scores of every row, one file per set, for paired tests by "
            "`ood-toolkit compare`.",
        ),
        click.option(
            "--tie",
            is_flag=True,
            help="Mark methods whose AUROC cannot be told apart from the best (paired DeLong "
            "tests, Holm's correction, 5 %).",
        ),
        click.option("--intervals", is_flag=True, help="Show 95 % intervals in the table."),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            show_default="one per processor, if work and memory allow",
            help="Maximum number of methods to fit and score in parallel, each in its own "
            "process; results do not depend on it.",
        ),
        click.option(
            "--cache",
            metavar="DIR",
            envvar="OOD_TOOLKIT_CACHE",
            show_envvar=True,
            help="Keep scores and fitted detectors in DIR: a later run computes only what "
            "changed, and a killed one continues where it stopped.",
        ),
        count("--seed", default=0, help="Seed of the bootstrap."),
        count(
            "--bootstrap",
            default=1000,
            help="Resamples for the bias of AUPR's intervals; 0 for no intervals of AUPR.  Those "
            "of AUROC and FPR need none.",
        ),
        choice(
            "--id-subset",
            of=["all", "correct"],
            help="Use all in-distribution rows, or only those classified right.",
        ),
        choice(
            "--aupr",
            of=["step", "trapezoid"],
            help="Estimator of the area under precision-recall.",
        ),
        share("--tpr", one=True, default=0.95, help="True-positive rate at which FPR is read."),
        choice("--fpr-rule", of=FPR_RULES, help="Which published definition of FPR@TPR."),
    ):
        command = option(command)
    return command


def api_options(options: dict[str, Any]) -> dict[str, Any]:
    """Of the options of `measure_options` those that `api.evaluate` takes."""
    drawn = options["report"] or options["json_out"]
    left = (*FILES, *_SHOWN, "report", "scores_out")
    taken = {k: v for k, v in options.items() if k not in left}
    return taken | {"pictures": bool(drawn), "keep_scores": options["scores_out"] is not None}


def check_files(options: dict[str, Any], more: Mapping[str, str | None] | None = None) -> None:
    """Refuse, before any work, files that cannot all be written; `more` of them by option."""
    import os

    report, folder = options["report"], options["scores_out"]
    check_outputs({
        **{_OPTIONS[kind]: options[kind] for kind in FILES},
        **report.options(),
        "--scores-out": folder,
        "results.json of --scores-out": folder and os.path.join(folder, "results.json"),
        **(more or {}),
    })  # fmt: skip
    report.check()


def command_line() -> list[str]:
    """The command line, without the place of the executable."""
    import sys

    return ["ood-toolkit", *sys.argv[1:]]


def finish(result: Evaluation, options: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    """Write what was asked for, print the table, and leave with the status it deserves."""
    from dataclasses import replace

    from ood_toolkit.evaluation import leaderboard, run_record
    from ood_toolkit.io import atomic_write

    if not result.run.get("command"):
        own = run_record([], command_line())
        result = replace(result, run={**own, **result.run, "command": own["command"]})
    document = result.to_json()
    ties = options["tie"] and result.comparison is not None
    if options["tie"] and not ties and not quiet:
        click.echo("Note: the results hold no tests of methods, so no ties are marked", err=True)
    shown = {"intervals": options["intervals"], "ties": ties}
    texts: dict[str, Callable[[], str]] = {
        "json_out": lambda: results_text(document),
        "csv_out": result.to_csv,
        "markdown": lambda: leaderboard(document, **shown).to_markdown(),
        "latex": lambda: leaderboard(document, **shown).to_latex(),
    }
    for kind in FILES:
        if options[kind] and (result.results or kind in FILES[:2]):
            with atomic_write(options[kind]) as file:
                file.write(texts[kind]().encode())
    if result.results:
        options["report"].write(document)
        if options["scores_out"]:
            from ood_toolkit.evaluation.score_folder import save_scores

            save_scores(result, options["scores_out"])
    if as_json:
        print_json(document)
    elif result.results:
        print_evaluation(document, quiet=quiet, **shown)
    if not result.results:
        from ood_toolkit.errors import InputError

        notes = [*result.failed, *result.skipped]
        raise InputError(f"no method could run: {notes[0].method}: {notes[0].reason}")
    if result.failed:
        raise click.exceptions.Exit(PARTIAL)
