"""Score files of OpenOOD on the command line: measured, and printed as OpenOOD prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from ood_toolkit.evaluation import Evaluation

__all__ = ["evaluated", "write_openood"]


def evaluated(
    name: str,
    scores: tuple[str, ...],
    id_name: str | None,
    full_spectrum: bool,
    options: dict[str, Any],
) -> Evaluation:
    """Metrics of the score files in [METHOD=]DIR; the record says which sets are near and far."""
    from pathlib import Path

    import numpy as np

    from ood_toolkit.datasets import benchmark_record, read_openood_scores
    from ood_toolkit.evaluation import Convention
    from ood_toolkit.evaluation.stored_scores import StoredScores, evaluate_scores

    record = benchmark_record(name)
    found = {}
    shifted: tuple[str, ...] = ()
    for given in scores:
        method, equals, folder = given.rpartition("=")
        read = read_openood_scores(folder, record, id_name or "")
        shifted = tuple(read.csid)
        inside = [read.id, *(read.csid.values() if full_spectrum else ())]
        found[method if equals else Path(folder).resolve().name] = StoredScores(
            np.concatenate([part.score for part in inside]),
            {key: part.score for key, part in read.ood.items()},
            np.concatenate([part.prediction == part.label for part in inside]),
        )
    if len(found) < len(scores):
        raise click.UsageError("two of --scores have one name; give METHOD=DIR")
    convention = Convention(
        options["tpr"], options["fpr_rule"], options["aupr"], options["id_subset"]
    )
    return evaluate_scores(
        found,
        record.groups,
        convention=convention,
        bootstrap=options["bootstrap"],
        seed=options["seed"],
        id_name="+".join([record.id, *(shifted if full_spectrum else ())]),
    )


def write_openood(result: Evaluation, path: str) -> None:
    """Write OpenOOD's `ood.csv` of the one method there is."""
    from ood_toolkit.evaluation.stored_scores import openood_csv
    from ood_toolkit.io import atomic_write

    methods = result.methods()
    if len(methods) != 1:
        raise click.UsageError(f"--openood-csv takes one method, not {len(methods)}")
    table = openood_csv(result, methods[0])
    with atomic_write(path) as file:
        file.write(table.encode())
