"""`ood-toolkit benchmark`: a named benchmark, from data to table."""

from __future__ import annotations

from typing import Any

import rich_click as click

from .console import progress
from .evaluate import finish, measure_options
from .options import (
    json_option,
    method_option,
    parameters_by_method,
    set_option,
    split_methods,
    talk_options,
    talking,
)

__all__ = ["benchmark"]


@click.command()
@click.argument("name")
@click.option(
    "--data-root", metavar="DIR", help="Folder that holds the benchmark's files, if not shipped."
)
@method_option(required=False, default="all")
@set_option("NAME.KEY")
@measure_options
@json_option
@talk_options
def benchmark(
    name: str,
    data_root: str | None,
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **measure: Any,
) -> None:
    """Run every method on the benchmark NAME: `fashion` (the demo) or `digits` (tiny).

    Both ship with the toolkit and run offline; scores and metrics are computed from the
    stored outputs of a trained network.
    """
    from ood_toolkit import api
    from ood_toolkit.datasets import load_benchmark

    names = split_methods(methods)
    with talking(quiet, verbose) as talk:
        everything = names == ["all"]
        listed = [row.name for row in api.methods()] if everything else names
        detectors = [
            api.detector(method, **values)
            for method, values in parameters_by_method(settings, listed).items()
        ]
        data = load_benchmark(name, data_root)
        talk.note(f"{data.title}: {data.description}")
        with progress(len(detectors) * (3 + len(data.ood)), quiet=quiet) as step:
            result = api.evaluate(
                detectors,
                id=data.id,
                ood=data.ood,
                train=data.train,
                id_val=data.id_val,
                groups=data.groups,
                id_name=data.name,
                progress=step,
                skip_unmet=everything,
                **{k: v for k, v in measure.items() if k not in ("json_out", "csv_out")},
            )
    finish(result, measure, as_json=as_json, quiet=quiet)
    for kind in ("json_out", "csv_out"):
        if measure[kind]:
            talk.note(f"Results: {measure[kind]}")
