"""`ood-toolkit convert`: files of OpenOOD and FD-Shifts to ours, and back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import rich_click as click

from .console import print_facts, print_json
from .options import print_options, talking

if TYPE_CHECKING:
    from ood_toolkit.datasets import ScoreFile
    from ood_toolkit.outputs import Array

__all__ = ["convert"]


@click.command()
@click.argument("inputs", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--from",
    "source",
    type=click.Choice(["fd-shifts"]),
    help="raw_logits.npz (with encoded_output.npz and last_layer.npz beside it) to outputs.",
)
@click.option(
    "--to",
    "target",
    type=click.Choice(["fd-shifts", "openood"]),
    help="Outputs to raw_logits.npz; or a table of scores to OpenOOD's files, one a set.",
)
@click.option(
    "--name",
    "names",
    metavar="NUMBER=NAME",
    multiple=True,
    help="With --from fd-shifts: what the outputs of a data set are called, 0=id_test say.",
)
@click.option("-m", "--method", help="With --to openood: the column of scores.")
@click.option(
    "--id", "id_name", metavar="NAME", help="With --to openood: the set of known classes."
)
@click.option("-o", "--output", metavar="DIR", required=True, help="The folder to write into.")
@print_options
def convert(
    inputs: tuple[str, ...],
    source: str | None,
    target: str | None,
    names: tuple[str, ...],
    method: str | None,
    id_name: str | None,
    output: str,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Convert to and from files of OpenOOD and FD-Shifts.

    OpenOOD's features (`feat_list`, `label_list`) need no conversion: every command reads
    them, and `benchmark --scores` reads its score files.
    """
    if (source is None) == (target is None):
        raise click.UsageError("give --from or --to, one of them")
    if target != "openood" and (method or id_name):
        raise click.UsageError("--method and --id go with --to openood")
    if source is None and names:
        raise click.UsageError("--name goes with --from")
    with talking(quiet, verbose):
        if source:
            written = _from_fd_shifts(inputs, names, output)
        elif target == "fd-shifts":
            written = _to_fd_shifts(inputs, output)
        else:
            written = _to_openood(inputs, method, id_name, output)
    document = {"schema": 1, "written": written}
    if as_json:
        print_json(document)
    elif not quiet:
        print_facts({"written": written})


def _from_fd_shifts(inputs: tuple[str, ...], names: tuple[str, ...], output: str) -> list[str]:
    from ood_toolkit.datasets import read_fd_shifts
    from ood_toolkit.io import save_outputs

    if len(inputs) != 1:
        raise click.UsageError("--from fd-shifts takes one raw_logits.npz or its folder")
    named = {}
    for given in names:
        number, equals, name = given.partition("=")
        if not equals or not number.isdecimal() or not name or os.path.basename(name) != name:
            raise click.UsageError(f"--name {given}: expected NUMBER=NAME")
        named[int(number)] = name
    sets = read_fd_shifts(inputs[0])
    for number in named:
        if number not in sets:
            held = ", ".join(map(str, sets))
            raise click.UsageError(f"--name {number}: the file has data sets {held}")
    os.makedirs(output, exist_ok=True)
    written = []
    for number, x in sets.items():
        path = os.path.join(output, f"{named.get(number, f'set_{number}')}.npz")
        save_outputs(x, path)
        written.append(path)
    return written


def _to_fd_shifts(inputs: tuple[str, ...], output: str) -> list[str]:
    from ood_toolkit.datasets import write_fd_shifts
    from ood_toolkit.io import load

    first, *others = (load(path, labels="lenient") for path in inputs)
    return write_fd_shifts(output, [first, *others])


def _to_openood(
    inputs: tuple[str, ...], method: str | None, id_name: str | None, output: str
) -> list[str]:
    """The tables' rows by set: the `file` column says which, or the table's own name."""
    from pathlib import PurePath

    from ood_toolkit.datasets import write_openood_scores
    from ood_toolkit.errors import DataError
    from ood_toolkit.io import load_scores

    if not method or not id_name:
        raise click.UsageError("--to openood needs --method, the column, and --id, the ID set")
    files: dict[str, ScoreFile] = {}
    for path in inputs:
        table = load_scores(path)
        for key in (method, "prediction"):
            if key not in table:
                raise DataError(path, key, f"no such column; there are {', '.join(table)}")
        origin = table.get("file")
        stems = {PurePath(path).stem: slice(None)} if origin is None else _by_file(origin)
        for stem, rows in stems.items():
            if stem in files:
                raise DataError(path, "", f"the set {stem} comes twice")
            files[stem] = _score_file(path, table, method, rows, stem == id_name)
    if id_name not in files:
        raise click.UsageError(f"--id {id_name}: the sets are {', '.join(files)}")
    return write_openood_scores(output, files)


def _by_file(origin: Array) -> dict[str, Any]:
    from pathlib import PurePath

    import numpy as np

    return {PurePath(name).stem: origin == name for name in np.unique(origin).tolist()}


def _score_file(
    path: str, table: dict[str, Array], method: str, rows: Any, inside: bool
) -> ScoreFile:
    import numpy as np

    from ood_toolkit.datasets import ScoreFile
    from ood_toolkit.errors import DataError

    score, prediction = table[method][rows], table["prediction"][rows]
    if not inside:
        return ScoreFile(prediction, score, np.full(len(score), -1))
    if "label" not in table or (table["label"][rows] < 0).any():
        raise DataError(path, "label", "OpenOOD's file of ID rows needs the label of each")
    return ScoreFile(prediction, score, table["label"][rows])
