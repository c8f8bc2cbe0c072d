"""`ood-toolkit methods`: the catalogue."""

from __future__ import annotations

import rich_click as click

from .console import print_json, print_table
from .options import print_options

__all__ = ["methods"]


@click.command()
@print_options
def methods(as_json: bool, quiet: bool, verbose: bool) -> None:
    """List every method: what it needs, what it is fitted on, its parameters."""
    import ood_toolkit as ood
    from ood_toolkit.evaluation.records import plain

    rows = ood.methods()
    if as_json:
        print_json(
            [
                {
                    "name": row.name,
                    "family": row.family,
                    "needs": list(row.needs),
                    "fits": row.fits,
                    "train": list(row.train),
                    "validation": list(row.validation),
                    "parameters": [
                        {"name": p.name, "type": p.kind, "default": p.default}
                        for p in row.parameters
                    ],
                    "auto": row.auto,
                    "grid": plain({key: list(values) for key, values in row.grid.items()}),
                    "summary": row.summary,
                    "reference": row.reference,
                }
                for row in rows
            ]
        )
        return
    words = ["method", "needs", "fitted on", "parameters", "reference"]
    print_table(
        words,
        [
            [
                row.name,
                ", ".join(row.needs),
                ", ".join(row.train),
                ", ".join(f"{p.name}={p.default}" for p in row.parameters),
                row.reference,
            ]
            for row in rows
        ],
        left=words,
    )
