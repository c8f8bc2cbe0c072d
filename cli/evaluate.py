"""`ood-toolkit evaluate`: detectors against out-of-distribution sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from .asked import Asked, asked_options
from .console import progress
from .measure import FILES, api_options, check_files, command_line, finish, measure_options
from .method_names import detectors_of
from .options import FileOptions, bounded_reading_options, talking

if TYPE_CHECKING:
    from ood_toolkit.evaluation import Evaluation
    from ood_toolkit.outputs import Outputs

__all__ = ["evaluate"]


@click.command()
@click.option("--id", "id_file", metavar="FILE", required=True, help="In-distribution test rows.")
@click.option(
    "--id-name",
    metavar="NAME",
    show_default="the file's, less its suffix",
    help="Name of the --id rows in tables and results.",
)
@click.option(
    "--ood",
    "ood_files",
    metavar="[GROUP/]NAME=FILE",
    multiple=True,
    required=True,
    help="An out-of-distribution set; repeat for more.",
)
@click.option(
    "--csid",
    "shifted_files",
    metavar="NAME=FILE",
    multiple=True,
    help="Covariate-shifted rows of the known classes, counted as in-distribution (full "
    "spectrum); repeat for more.",
)
@asked_options(default="all")
@click.option(
    "--tune",
    metavar="id|ood=FILE|none",
    default="none",
    show_default=True,
    help="Choose hyper-parameters: from in-distribution rows alone, or on validation outliers "
    "that are not among the --ood sets.",
)
@measure_options
@bounded_reading_options
def evaluate(
    id_file: str,
    id_name: str | None,
    ood_files: tuple[str, ...],
    shifted_files: tuple[str, ...],
    asked: Asked,
    tune: str,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **measure: Any,
) -> None:
    """Measure how well methods separate in-distribution from out-of-distribution rows.

    `-m all`, the default, runs every method for which the files hold what it needs.  Labels
    of --ood files are ignored.  Rows used to fit or tune methods may not be among those
    reported on.
    """
    sets, shifted = _sets("--ood", ood_files), _sets("--csid", shifted_files)
    stacks = asked.stacks("id", "tune", *sets, *shifted, main=None)
    outliers = _validation_outliers(tune)
    names = asked.names()
    from ood_toolkit import api
    from ood_toolkit.io import refuse_same_file

    with talking(quiet, verbose):
        everything = names == ["all"]
        detectors = detectors_of(names, asked.settings)
        named: list[tuple[str, str, str | None]] = [
            ("id", "", id_file),
            *(("shifted", key, path) for key, path in shifted.items()),
        ]
        named += [("ood", key, path) for key, path in sets.items()]
        named += [("train", "", asked.train), ("id_val", "", asked.id_val), ("tune", "", outliers)]
        named += [("head", "", files.head)]
        given = [(role, key, path) for role, key, path in named if path]
        given += [("member", key, path) for key, paths in stacks.items() for path in paths]
        for out in (*(measure[kind] for kind in FILES), *measure["report"].named()):
            if out:
                refuse_same_file(out, [path for _, _, path in given])
        check_files(measure)
        fit_on = asked.fit_on(files, stacks)
        head = fit_on.head if fit_on else None
        id_test = files.load(id_file, head=head, members=stacks["id"])
        head = head or id_test.head

        def load(path: str, name: str, *, labels: bool = False) -> Outputs:
            return files.load(path, labels=labels, head=head, members=stacks[name])

        held_out = asked.held_out(files, stacks, head)
        inside = {key: load(path, key, labels=True) for key, path in shifted.items()}
        ood = {key: load(path, key) for key, path in sets.items()}
        # fit, rank, and one scoring of each set, per method
        steps = len(detectors) * (3 + len(ood) + len(inside))
        with progress(steps, quiet=quiet) as step:
            result = api.evaluate(
                "all" if everything and not asked.settings else detectors,
                id=id_test,
                ood=ood,
                train=fit_on,
                id_val=held_out,
                id_name=id_name or _stem(id_file),
                progress=step,
                skip_unmet=everything,
                tune=load(outliers, "tune") if outliers else tune,
                shifted=inside,
                memory=_room(files),
                **api_options(measure),
            )
        result = _recorded(result, given)
    finish(result, measure, as_json=as_json, quiet=quiet)


def _room(files: FileOptions) -> int | None:
    """Bytes left of --memory; None where it was not given, for the toolkit's own rule."""
    from click.core import ParameterSource

    from ood_toolkit.streamed import resident_bytes

    source = click.get_current_context().get_parameter_source("memory")
    if files.memory is None or source is ParameterSource.DEFAULT:
        return None
    return max(0, files.memory - resident_bytes())


def _recorded(result: Evaluation, given: list[tuple[str, str, str]]) -> Evaluation:
    """The result with its run: command line, and what was in the files."""
    from dataclasses import replace

    from ood_toolkit.evaluation import Input, run_record
    from ood_toolkit.io import file_digest

    rows = {(entry["role"], entry["name"]): entry["rows"] for entry in result.run["inputs"]}
    inputs = [
        Input(role, key, rows.get((role, key.rpartition("/")[2] if role == "ood" else key)),
              path, file_digest(path))
        for role, key, path in given
    ]  # fmt: skip
    choices = {key: result.run[key] for key in ("bootstrap", "seed")}
    return replace(result, run=run_record(inputs, command_line(), choices))


def _validation_outliers(tune: str) -> str | None:
    """The file of --tune ood=FILE; None where nothing or in-distribution rows are tuned on."""
    if tune in ("id", "none"):
        return None
    if not tune.startswith("ood=") or tune == "ood=":
        raise click.UsageError(f"--tune {tune}: expected id, none or ood=FILE")
    return tune.removeprefix("ood=")


def _sets(option: str, values: tuple[str, ...]) -> dict[str, str]:
    """Files by `[GROUP/]NAME`."""
    sets: dict[str, str] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            form = "[GROUP/]NAME=FILE" if option == "--ood" else "NAME=FILE"
            hint = "" if equals else f", say {_stem(value)}={value}"
            raise click.UsageError(f"{option} {value}: expected {form}{hint}")
        if name in sets:
            raise click.UsageError(f"{option} {name} is given twice")
        sets[name] = path
    return sets


def _stem(path: str) -> str:
    from pathlib import PurePath

    return PurePath(path.partition("::")[0]).stem  # a chained URL begins with the file
