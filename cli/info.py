"""`ood-toolkit info`: what a file of outputs, or of something fitted, holds."""

from __future__ import annotations

from typing import Any

import rich_click as click

from .console import print_facts, print_json, print_table
from .options import FileOptions, reading_options, talking
from .policy import policy_facts

__all__ = ["info"]


@click.command()
@click.argument("file")
@reading_options
def info(file: str, files: FileOptions, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Say what FILE holds: outputs, as a file, folder or glob, a detector, calibrator or policy.

    `-` is standard input, read as CSV or JSON lines; the URL of a store is fetched.
    """
    with talking(quiet, verbose) as talk:
        facts = _fitted_facts(file, files.max_bytes) or _outputs_facts(file, files)
    if as_json:
        print_json(facts)
        return
    arrays = facts.pop("arrays", [])
    warnings = facts.pop("warnings", [])
    print_facts(facts)
    if arrays:
        columns = ["key", "read as", "shape", "dtype"]
        rows = [
            [a["key"], a["read_as"], " x ".join(map(str, a["shape"])), a["dtype"]] for a in arrays
        ]
        print_table(columns, rows, left=columns)
    for warning in warnings:
        talk.note(f"Warning: {warning}")


def _fitted_facts(name: str, max_bytes: int | None) -> dict[str, Any] | None:
    """Facts of a detector, calibrator or policy; None where it is something else."""
    if not name.partition("::")[0].endswith(".safetensors"):  # of a chained URL the file
        return None
    from ood_toolkit.io.object_files import files_of, saying_whose
    from ood_toolkit.io.object_store import plain_path

    places = files_of(plain_path(name), max_bytes)
    if len(places) > 1:
        return None  # shards of outputs
    with saying_whose(places):
        facts = _facts_of_file(*places.values())
    return facts and {**facts, "file": name}


def _facts_of_file(file: str) -> dict[str, Any] | None:
    from ood_toolkit.io import safetensors_metadata

    metadata = safetensors_metadata(file)
    if "method" not in metadata:
        return None
    if "calibrator" in metadata:
        return _calibrator_facts(file)
    if "policy" in metadata:
        return _policy_facts(file)
    from ood_toolkit.detectors.catalogue import parameter_values
    from ood_toolkit.detectors.persistence import read_scorer

    saved = read_scorer(file)
    threshold = dict(saved.threshold) if saved.threshold else None
    parameters = parameter_values(saved.scorer.detector)
    return _facts_of(file, "detector", saved, saved.scorer, parameters, threshold=threshold)


def _calibrator_facts(file: str) -> dict[str, Any]:
    from ood_toolkit.calibration.persistence import read_calibrator
    from ood_toolkit.calibration.registry import values_of

    saved = read_calibrator(file)
    parameters = values_of(saved.calibrator.calibrator)
    return _facts_of(file, "calibrator", saved, saved.calibrator, parameters)


def _facts_of(
    file: str, kind: str, saved: Any, fitted: Any, parameters: Any, **more: Any
) -> dict[str, Any]:
    """What a file of something fitted says of it, JSON-ready, without what is empty."""
    from ood_toolkit.evaluation.records import plain

    facts = {
        "file": file,
        "kind": kind,
        "method": fitted.name,
        "parameters": parameters,
        "classes": fitted.classes or None,
        "dims": fitted.dims or None,
        "fitted_on": dict(saved.fitted_on),
        **more,
        "report": dict(fitted.report()),
        "toolkit": saved.toolkit,
    }
    converted: dict[str, Any] = plain({k: v for k, v in facts.items() if v is not None and v != {}})
    return converted


def _policy_facts(file: str) -> dict[str, Any]:
    from ood_toolkit.decision import load_policy
    from ood_toolkit.evaluation.records import plain

    converted: dict[str, Any] = plain(
        {"file": file, "kind": "policy", **policy_facts(load_policy(file))}
    )
    return converted


def _outputs_facts(file: str, files: FileOptions) -> dict[str, Any]:
    from ood_toolkit.evaluation.inspection import inspect_outputs
    from ood_toolkit.evaluation.records import plain

    record, described = files.reading().load_described(file, labels="lenient")
    found = inspect_outputs(record)
    facts = {
        "file": file,
        "kind": "outputs",
        "format": described.format,
        "rows": found.rows,
        "classes": found.classes or None,
        "accuracy": found.accuracy,
        **{f"range_{name}": list(bounds) for name, bounds in found.ranges.items()},
        **found.facts,
        "arrays": [
            {
                "key": key,
                "read_as": name or "(ignored)",
                "shape": list(shape),
                "dtype": dtype,
            }
            for key, name, shape, dtype in described.arrays
        ],
        "warnings": list(found.warnings),
    }
    converted: dict[str, Any] = plain({k: v for k, v in facts.items() if v is not None})
    return converted
