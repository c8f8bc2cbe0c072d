"""`ood-toolkit compare`: results side by side, and beside published figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import rich_click as click

from .console import print_json, print_table, shown
from .options import print_options, talking
from .paired import print_tests, results_file, tests_of
from .several import pool_files, rank_files

if TYPE_CHECKING:
    from ood_toolkit.datasets.published_tables import PublishedTable
    from ood_toolkit.evaluation.paired_runs import PairedTest
    from ood_toolkit.evaluation.side_by_side import Beside, Results

__all__ = ["compare"]

FAILED = 1


@click.command()
@click.argument("files", metavar="RESULTS.json|DIR...", nargs=-1)
@click.option(
    "--published",
    metavar="NAME",
    help="Also show published figures, e.g. cifar10-resnet18; --list prints the names.",
)
@click.option("--list", "listing", is_flag=True, help="Print the tables of published figures.")
@click.option(
    "--fail-if-worse",
    is_flag=True,
    help="Exit with 1 if an AUROC of a later file lies below the interval of the first file's, or "
    "is missing.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1),
    help="With --fail-if-worse: how much an AUROC may fall, instead of the interval.",
)
@click.option(
    "--pool",
    is_flag=True,
    help="Pool runs of one evaluation with different seeds or models: mean and deviation.",
)
@click.option(
    "--rank",
    type=click.Choice(["nemenyi", "wilcoxon"]),
    help="Rank the methods over all data sets of the files, and test which differ.",
)
@print_options
def compare(
    files: tuple[str, ...],
    pool: bool,
    rank: str | None,
    published: str | None,
    listing: bool,
    fail_if_worse: bool,
    margin: float | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Compare results that `evaluate` or `benchmark` wrote with --json-out or --scores-out.

    Later files are compared with the first.  Folders of --scores-out hold the scores of every
    row, so their AUROCs are tested on the same rows.  With --published, a mark says what
    differs from the published figures: the sets, the convention, the method's settings.
    """
    if listing:
        _print_tables(as_json)
        return
    if not files:
        raise click.UsageError("give one RESULTS.json or more, or --list")
    if fail_if_worse and len(files) < 2:
        raise click.UsageError("--fail-if-worse needs two files or more")
    if margin is not None and not fail_if_worse:
        raise click.UsageError("--margin goes with --fail-if-worse")
    if pool or rank:
        if (pool and rank) or published or fail_if_worse:
            raise click.UsageError("--pool and --rank stand alone")
        with talking(quiet, verbose):
            if pool:
                pool_files(files, as_json=as_json)
            else:
                rank_files(files, rank or "", as_json=as_json)
        return
    with talking(quiet, verbose) as talk:
        from ood_toolkit.datasets.published_tables import published_table
        from ood_toolkit.evaluation.falls import missing_pairs, other_sets, worse_pairs
        from ood_toolkit.evaluation.side_by_side import beside_published, read_results

        table = published_table(published) if published else None
        read = [read_results(results_file(path)) for path in files]
        runs = _distinct(read, files)
        beside = {run.name: beside_published(run, table) for run in runs} if table else {}
        worse = missing = []
        if fail_if_worse:
            _refuse_nothing(runs[0], files[0])
            _refuse_other_rows(runs)
            worse, missing = worse_pairs(runs, margin), missing_pairs(runs)
        differ = other_sets(runs)
        for line in differ:
            talk.note(f"Warning: {line}")
        tests, untested = tests_of(files, runs)
        if as_json:
            document = _document(runs, table, beside, tests, untested)
            document["worse"] = [asdict(pair) for pair in worse]
            document["missing"] = [asdict(pair) for pair in missing]
            document["other_sets"] = differ
            print_json(document)
        else:
            _print_runs(runs)
            if tests:
                print_tests(tests)
            if untested:
                talk.note(f"Note: no paired tests: {untested}")
            if table:
                _print_beside(table, beside)
            for pair in worse:
                talk.failure(
                    f"Worse: {pair.file}: {pair.method} on {pair.ood}: AUROC {shown(pair.auroc)}, "
                    f"was {shown(pair.baseline)}"
                )
            for gap in missing:
                talk.failure(f"Missing: {gap.method} on {gap.ood} (no AUROC in {gap.lacks})")
    if worse or missing:
        raise click.exceptions.Exit(FAILED)


def _refuse_nothing(baseline: Results, file: str) -> None:
    """Refuse to call it a pass where there is nothing that could be worse."""
    if not baseline.pairs:
        from ood_toolkit.errors import DataError

        raise DataError(file, "results", "is empty; --fail-if-worse needs results to hold against")


def _refuse_other_rows(runs: list[Results]) -> None:
    """Refuse to hold the rows that are classified right against all rows: the figures differ."""
    from ood_toolkit.errors import InputError
    from ood_toolkit.evaluation.side_by_side import counted_rows

    for run in runs[1:]:
        if counted_rows(run) != counted_rows(runs[0]):
            raise InputError(
                f"{run.name}: counts {counted_rows(run)} in-distribution rows, {runs[0].name} "
                f"{counted_rows(runs[0])}; --fail-if-worse needs runs of one --id-subset"
            )


def _distinct(runs: list[Results], files: tuple[str, ...]) -> list[Results]:
    """The runs by names of their own: a folder's is its own name, of two alike the whole path."""
    from dataclasses import replace
    from pathlib import Path

    names = [Path(f).resolve().name if Path(f).is_dir() else run.name
             for f, run in zip(files, runs, strict=True)]  # fmt: skip
    names = [n if names.count(n) == 1 else file for n, file in zip(names, files, strict=True)]
    for place, name in enumerate(names):
        if earlier := names[:place].count(name):
            names[place] = f"{name} ({earlier + 1})"
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _groups(runs: list[Results]) -> list[str]:
    from ood_toolkit.evaluation.groups import shown_groups

    own = [{group for _, group in run.means} for run in runs]
    shared = shown_groups(group for run in runs for _, group in run.means)
    # where a run lacks one of the groups, every run still has the mean over all
    lacking = not all(groups.issuperset(shared) for groups in own)
    return list(dict.fromkeys([*shared, *(["all"] if lacking else [])]))


def _print_runs(runs: list[Results]) -> None:
    """A row a method, a pair of columns a group and file."""
    groups = _groups(runs)
    methods = list(dict.fromkeys(method for run in runs for method in run.methods()))
    columns = ["method", *(f"{run.name}\nmean {group}" for group in groups for run in runs)]
    rows = []
    for method in methods:
        rows.append([method, *(_cell(run, method, group) for group in groups for run in runs)])
    rules = {(r.convention.get("fpr_rule"), r.convention.get("fpr_at_tpr")) for r in runs}
    tests = (
        "; =: the file's paired tests cannot tell its AUROC from the best"
        if any(run.tied for run in runs)
        else ""
    )
    click.echo(f"Each cell: AUROC / FPR in percent{tests}.")
    if len(rules) > 1:
        click.echo("The files were measured by different FPR rules: do not compare their FPR.")
    print_table(columns, rows, left=["method"])


def _cell(run: Results, method: str, group: str) -> str:
    mean = run.means.get((method, group))
    if mean is None:
        return ""
    tied = run.tied.get(group, ())
    mark = " =" if method in tied and len(tied) > 1 else "  " if run.tied else ""
    return f"{shown(mean.get('auroc'))} / {shown(mean.get('fpr'))}{mark}"


def _print_beside(table: PublishedTable, beside: dict[str, list[Beside]]) -> None:
    """Run, published figure and difference; numbers refer to the notes below."""
    notes: dict[str, int] = {}
    for name, found in beside.items():
        rows = []
        for line in found:
            marks = [notes.setdefault(why, len(notes) + 1) for why in line.why]
            std = "" if line.std is None else f" ± {shown(line.std)}"
            rows.append([
                line.method, f"{line.row}, {line.group} {line.metric.upper()}", shown(line.run),
                f"{shown(line.published)}{std}", f"{100 * (line.run - line.published):+.2f}",
                "yes" if line.comparable else f"no: {' '.join(f'[{n}]' for n in marks)}",
            ])  # fmt: skip
        click.echo(f"\n{name} beside {table.title}.  Published with: {table.model}.")
        if not rows:
            click.echo("No method and group that both have.")
            continue
        columns = ["method", "published row", "run", "published", "difference", "comparable"]
        print_table(columns, rows, left=["method", "published row", "comparable"])
    for why, number in notes.items():
        click.echo(f"[{number}] {why}")
    click.echo("A file of results does not say which model it is of: compare like with like.")
    if table.note:
        click.echo(f"Note: {table.note}.")
    for metric, source in table.sources.items():
        click.echo(f"Source of {metric.upper()}: {source}")


def _document(
    runs: list[Results],
    table: PublishedTable | None,
    beside: dict[str, list[Beside]],
    tests: list[PairedTest],
    untested: str,
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": 1,
        "files": [
            {
                "name": run.name,
                "id": run.id_name,
                "convention": dict(run.convention),
                "means": [dict(mean) for mean in run.means.values()],
                "tied_with_best": {group: list(names) for group, names in run.tied.items()},
            }
            for run in runs
        ],
        "tests": [test.to_json() for test in tests],
        **({"untested": untested} if untested else {}),
    }
    if table:
        document["published"] = {
            **{key: getattr(table, key) for key in ("name", "title", "benchmark", "model", "note")},
            "full_spectrum": table.full_spectrum,
            "sources": dict(table.sources),
            "rows": [{"file": n, **line.to_json()} for n, rows in beside.items() for line in rows],
        }
    return document


def _print_tables(as_json: bool) -> None:
    from ood_toolkit.datasets.published_tables import published_tables

    tables = published_tables().values()
    if as_json:
        keys = ("name", "title", "benchmark", "model", "full_spectrum", "note")
        listed = [{key: getattr(t, key) for key in keys} for t in tables]
        print_json({"schema": 1, "published": listed})
        return
    rows = [[t.name, t.benchmark, t.model, ", ".join(t.figures)] for t in tables]
    columns = ["published", "benchmark", "model", "figures"]
    print_table(columns, rows, left=columns)
