"""`ood-toolkit benchmark`: a benchmark, from data, outputs or scores to a table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import rich_click as click

from .asked import method_option, set_option
from .console import print_json, print_table, progress
from .extract import model_options
from .kinds import choice
from .measure import FILES, api_options, check_files, finish, measure_options
from .method_names import detectors_of, split_methods
from .options import Talk, print_options, talking
from .score_files import evaluated, write_openood

if TYPE_CHECKING:
    from ood_toolkit.datasets import Benchmark, BenchmarkRecord
    from ood_toolkit.evaluation import Evaluation
    from ood_toolkit.outputs import Outputs

__all__ = ["benchmark"]

MODEL = ("model", "weights", "head", "features", "layers", "batch_size", "device", "size",
         "channels", "mean", "std")  # fmt: skip
SHOWN = ("near", "far", "synthetic", "csid")


@click.command()
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="List the known benchmarks.")
@click.option(
    "--outputs",
    metavar="DIR",
    help="Folder of your classifier's outputs, one file per set, named like the sets; with --model "
    "they are written there.",
)
@click.option(
    "--scores",
    metavar="[METHOD=]DIR",
    multiple=True,
    help="Folder of OpenOOD's score files, one per set; repeat for more methods.",
)
@click.option("--id-name", metavar="NAME", help="The in-distribution file among --scores.")
@click.option("--data-root", metavar="DIR", help="The folder of the benchmark's files.")
@click.option("--download", is_flag=True, help="Download what can be downloaded to --data-root.")
@click.option(
    "--full-spectrum", is_flag=True, help="Count covariate-shifted rows as in-distribution."
)
@click.option(
    "--openood-csv", metavar="FILE", help="Also write one method's table as OpenOOD does."
)
@choice(
    "--tune",
    of=["none", "id", "ood"],
    help="Choose hyper-parameters from in-distribution rows, or on the benchmark's own ood_val.",
)
@model_options(required=False)
@method_option(required=False, default="all")
@set_option("NAME.KEY")
@measure_options
@print_options
def benchmark(
    name: str | None,
    listing: bool,
    outputs: str | None,
    scores: tuple[str, ...],
    id_name: str | None,
    data_root: str | None,
    download: bool,
    full_spectrum: bool,
    openood_csv: str | None,
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Run methods on the benchmark NAME: known, a .toml file, or a folder of outputs.

    `fashion` (the demo) and `digits` (tiny) ship with the toolkit and run offline: scores and
    metrics are computed from the stored outputs of a trained network.  The others need your
    classifier: its outputs (--outputs), or the model and the images (--model, --data-root).
    """
    model = {key: options.pop(key) for key in MODEL}
    for key in ("weights", "head", "features", "device", "size", "channels"):
        if model[key] is not None and model["model"] is None:
            raise click.UsageError(f"--{key} needs --model")
    with talking(quiet, verbose) as talk:
        if listing or name is None:
            if not listing:
                raise click.UsageError("name a benchmark, or see them with --list")
            _print_list(as_json)
            return
        from ood_toolkit.datasets import benchmark_record

        check_files(options, {"--openood-csv": openood_csv})
        if scores:
            if options["tune"] != "none":
                raise click.UsageError("--tune does not go with --scores")
            if settings or split_methods(methods) != ["all"]:
                raise click.UsageError("--method and --set do not go with --scores")
            result = evaluated(name, scores, id_name, full_spectrum, options)
        else:
            if download:
                _download(benchmark_record(name), data_root, talk)
            with nullcontext() if outputs or not model["model"] else _temporary() as made:
                place = outputs or made
                if model["model"]:
                    _extract(benchmark_record(name), data_root, place, model, quiet)
                data = _load(name, place, data_root, talk)
            if full_spectrum and not data.csid:
                from ood_toolkit.errors import InputError

                raise InputError(f"{data.name} has no csid set, which --full-spectrum needs")
            shifted = data.csid if full_spectrum else {}
            result = _measured(data, shifted, split_methods(methods), settings, options, quiet)
    if openood_csv:
        write_openood(result, openood_csv)
    finish(result, options, as_json=as_json, quiet=quiet)
    results = [*(options[kind] for kind in (*FILES, "scores_out")), *options["report"].written()]
    for path in results:
        if path:
            talk.note(f"Results: {path}")


def _measured(
    data: Benchmark,
    shifted: Mapping[str, Outputs],
    names: list[str],
    settings: tuple[str, ...],
    options: dict[str, Any],
    quiet: bool,
) -> Evaluation:
    from ood_toolkit import api

    everything = names == ["all"]
    detectors = detectors_of(names, settings)
    steps = len(detectors) * (3 + len(data.ood) + len(shifted))
    with progress(steps, quiet=quiet) as step:
        return api.evaluate(
            detectors,
            id=data.id,
            ood=data.ood,
            train=data.train,
            id_val=data.id_val,
            groups=data.groups,
            id_name=data.id_name or data.name,
            progress=step,
            skip_unmet=everything,
            shifted=shifted,
            tune=_outliers(data) if options["tune"] == "ood" else options["tune"],
            **{k: v for k, v in api_options(options).items() if k != "tune"},
        )


def _outliers(data: Benchmark) -> Outputs:
    """The benchmark's own validation outliers."""
    from ood_toolkit.errors import InputError

    if len(data.ood_val) != 1:
        raise InputError(
            f"{data.name} has {len(data.ood_val)} ood_val sets, but --tune ood takes one; "
            "put its outputs beside the others"
        )
    return next(iter(data.ood_val.values()))


def _load(name: str, outputs: str | None, data_root: str | None, talk: Talk) -> Benchmark:
    from ood_toolkit.datasets import load_benchmark

    data = load_benchmark(name, data_root if outputs is None else None, outputs=outputs)
    talk.note(": ".join(filter(None, (data.title, data.description))))
    return data


def _temporary() -> Any:
    import tempfile

    return tempfile.TemporaryDirectory(prefix="ood-toolkit-")


def _extract(
    record: BenchmarkRecord,
    data_root: str | None,
    folder: str,
    model: dict[str, Any],
    quiet: bool,
) -> None:
    """Run the model over the benchmark's images."""
    from ood_toolkit.models.benchmarks import benchmark_images, extract_benchmark
    from ood_toolkit.models.images import Preparation

    from .extract import numbers, runner

    if data_root is None:
        raise click.UsageError("--model needs --data-root, the folder of the images")
    channels = int(model["channels"]) if model["channels"] else None
    wanted = Preparation(model["size"], channels, numbers(model["mean"]), numbers(model["std"]))
    images = benchmark_images(record, data_root)
    run = runner(*(model[key] for key in ("model", "weights", "device", *MODEL[2:5])))
    written = extract_benchmark(images, run, folder, wanted, batch_size=model["batch_size"])
    if not quiet:
        click.echo(f"Outputs of {len(written)} sets: {folder}", err=True)


def _download(record: BenchmarkRecord, data_root: str | None, talk: Talk) -> None:
    from ood_toolkit.datasets.fetch import fetch_benchmark

    if data_root is None:
        raise click.UsageError("--download needs --data-root, the folder to put files into")
    left = fetch_benchmark(record, data_root)
    for name in left:
        known = record.sets[name]
        words = known.get or record.get or (f"see {known.homepage}" if known.homepage else "")
        talk.note(f"Not fetched: {name}{f'; {words}' if words else ''}")


def _print_list(as_json: bool) -> None:
    from ood_toolkit.datasets import known_benchmarks

    records = known_benchmarks().values()
    if as_json:
        print_json({"schema": 1, "benchmarks": [record.summary() for record in records]})
        return
    rows = []
    for record in records:
        cells = [", ".join(record.members(group)) for group in SHOWN]
        rows.append([record.name, "yes" if record.shipped else "", record.id, *cells])
    columns = ["benchmark", "ships", "ID", *SHOWN]
    print_table(columns, rows, left=columns)
