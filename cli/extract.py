"""`ood-toolkit extract`: run a model over data and write an outputs file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import rich_click as click

from .console import print_facts, print_json, progress
from .jobs import cluster, dask_option, report_failed, resume_options
from .kinds import count
from .options import print_options, talking

if TYPE_CHECKING:
    from ood_toolkit.distributed import Outcome
    from ood_toolkit.io.parts import Part
    from ood_toolkit.models.extraction import Extraction
    from ood_toolkit.outputs import Outputs

__all__ = ["extract", "model_options", "numbers", "row_bar", "runner"]


def model_options(*, required: bool) -> Callable[[Any], Any]:
    """Options that say which model runs, and what is done to images before."""
    options = (
        click.option(
            "--model",
            metavar="SPEC",
            required=required,
            help="package.module:name of a model or a function that builds it, or onnx:FILE.",
        ),
        click.option(
            "--weights", metavar="FILE", help=".safetensors or .pt file of the model's tensors."
        ),
        click.option("--head", metavar="NAME", help="The last linear layer, if it is not found."),
        click.option(
            "--features", metavar="NAME", help="Name of the module that outputs the features."
        ),
        click.option(
            "--layer",
            "layers",
            metavar="NAME",
            multiple=True,
            help="Also keep this layer's output; repeat for more.",
        ),
        count("--batch-size", least=1, default=64, help="Inputs per batch."),
        click.option("--device", metavar="NAME", help="Where the model runs, such as cuda:0."),
        click.option(
            "--size",
            type=click.IntRange(1),
            help="Scale the shorter side to this, crop the centre.",
        ),
        click.option(
            "--channels",
            type=click.Choice(["1", "3"]),
            help="Convert images to grey (1) or RGB (3).",
        ),
        click.option(
            "--mean", metavar="A,B,C", default="0", help="Mean to subtract from values in [0, 1]."
        ),
        click.option(
            "--std", metavar="A,B,C", default="1", help="Standard deviation to divide by."
        ),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command()
@model_options(required=True)
@click.option(
    "--data",
    metavar="SPEC",
    required=True,
    help="imagefolder:, images:, cifar10:, cifar100:, idx: or hf:DIR; imglist:LIST@DIR; "
    "svhn: or npz:FILE.",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    help="An outputs file, or a folder of shards, which an interrupted run continues; with --dask "
    "a folder, 'FOLDER/*.suffix', or the URL of one.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="test",
    help="Part of cifar, idx or hf.",
)
@count("--shard-rows", least=1, default=10_000, help="Rows per shard.")
@click.option(
    "--channels-last",
    is_flag=True,
    help="Use the channels-last memory layout: faster on the CPU; last digits differ.",
)
@resume_options
@dask_option
@print_options
def extract(
    model: str,
    weights: str | None,
    data: str,
    output: str,
    head: str | None,
    features: str | None,
    layers: tuple[str, ...],
    batch_size: int,
    device: str | None,
    size: int | None,
    channels: str | None,
    mean: str,
    std: str,
    split: str,
    shard_rows: int,
    channels_last: bool,
    resume: bool,
    force: bool,
    dask: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run a PyTorch or ONNX classifier over data and write its outputs.

    The model's code is imported and run: use models that you trust.
    """
    from ood_toolkit.io import refuse_same_file
    from ood_toolkit.models.images import Preparation
    from ood_toolkit.models.sources import open_inputs

    if force and dask is None:
        raise click.UsageError("--force goes with --dask: remove the folder instead")
    with talking(quiet, verbose) as talk:
        wanted = Preparation(size, int(channels) if channels else None, *map(numbers, (mean, std)))
        source = open_inputs(data, wanted, batch_size=batch_size, split=split)
        given = [weights or "", data.partition(":")[2]]
        refuse_same_file(output, [path for path in given if os.path.isfile(path)])
        if dask is not None:
            from ood_toolkit.models.extraction import Extraction

            job = Extraction(
                model, data, weights, "", wanted, batch_size, split, device, head, features,
                layers, channels_last,
            )  # fmt: skip
            with row_bar(source.rows, quiet) as told:
                outcome = _on_cluster(dask, job, output, shard_rows, force, told)
            if outcome.remade:
                again = len(outcome.remade)
                talk.note(f"Warning: {output}: {again} shards had changed and were made again")
            if outcome.failed:
                total = -(-source.rows // shard_rows)
                report_failed(outcome, lambda part: data, total, output)
            record = _written(output)
        else:
            run = runner(model, weights, device, head, features, layers, channels_last)
            with row_bar(source.rows, quiet) as told:
                record = run(source, to=output, shard_rows=shard_rows, progress=told)
    document: dict[str, Any] = {"output": output, "rows": source.rows}
    if record is not None:
        document |= _facts(record)
    if source.class_names:
        document["class_names"] = list(source.class_names)
    if as_json:
        print_json(document)
    elif not quiet:
        print_facts(document)


def _on_cluster(
    address: str,
    job: Extraction,
    output: str,
    shard_rows: int,
    force: bool,
    told: Any,
) -> Outcome:
    from ood_toolkit.distributed import extract as extract_by_workers

    made = 0

    def done(part: Part) -> None:
        nonlocal made
        made += len(part)
        told(made, None)

    with cluster(address) as client:
        return extract_by_workers(
            client, job, output, shard_rows=shard_rows, force=force, done=done
        )


def _written(output: str) -> Outputs | None:
    """What workers wrote, opened; None where it lies in a store."""
    from ood_toolkit.io import load
    from ood_toolkit.io.object_store import is_url, plain_path

    return None if is_url(output) else load(plain_path(output))


def _facts(record: Outputs) -> dict[str, Any]:
    """What an outputs file holds, in a few words."""
    document: dict[str, Any] = {"classes": record.classes, "parts": sorted(record.has())}
    if record.features is not None:
        document["features"] = int(record.features.shape[1])
    if record.labels is not None and record.logits is not None:
        document["accuracy"] = float((record.logits.argmax(1) == record.labels).mean())
    return document


def runner(
    model: str,
    weights: str | None,
    device: str | None,
    head: str | None,
    features: str | None,
    layers: tuple[str, ...],
    channels_last: bool = False,
) -> Callable[..., Any]:
    """What runs a source: the `outputs` of a wrapped model or of an ONNX file."""
    kind, colon, path = model.partition(":")
    if kind == "onnx" and colon:
        from ood_toolkit.models.onnx_session import OnnxClassifier

        given: dict[str, Any] = {
            "--weights": weights,
            "--device": device,
            "--head": head,
            "--features": features,
        }
        given |= {"--layer": layers or None, "--channels-last": channels_last or None}
        for option, value in given.items():
            if value is not None:
                raise click.UsageError(f"{option} does not go with an ONNX file")
        return OnnxClassifier(path).outputs
    from ood_toolkit.models import wrap
    from ood_toolkit.models.blame import blaming_model
    from ood_toolkit.models.specs import build_model

    built = build_model(model, weights, device)
    wrapped = wrap(built, head=head, features=features, layers=layers)
    run = partial(wrapped.outputs, channels_last=channels_last)
    return blaming_model(run, model, built)


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"expected numbers with commas between them, got {text}") from None


@contextmanager
def row_bar(rows: int, quiet: bool) -> Iterator[Callable[[int, int | None], None] | bool]:
    """A bar of rows on a terminal."""
    with progress(rows, quiet=quiet) as step:
        before = 0

        def told(done: int, total: int | None) -> None:
            nonlocal before
            for _ in range(done - before):
                step("rows")
            before = done

        yield told
