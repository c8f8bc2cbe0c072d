"""`ood-toolkit warmup`: compile ahead of time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import rich_click as click

from .console import print_json, print_table
from .options import print_options, talking

__all__ = ["warmup"]

USUAL = ("float32", "float64")
HALVES = ("float16", "bfloat16")
Step = tuple[str, Callable[[], Any]]


@click.command()
@click.option("--half", is_flag=True, help="Also for float16 and bfloat16 logits.")
@print_options
def warmup(half: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Compile the numerical code of score, fit and evaluate ahead of time.

    Otherwise the first command that needs a kernel takes some seconds longer.
    """
    from ood_toolkit.kernels.vector_rows import cache_folder

    took = []
    with talking(quiet, verbose) as talk:
        for name, rehearse in _steps((*USUAL, *HALVES) if half else USUAL):
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is rehearsed on is no real data
                rehearse()
            took.append((name, time.perf_counter() - start))
        folder = cache_folder()
        if folder is None:
            talk.note("Warning: compiled kernels cannot be kept; set NUMBA_CACHE_DIR to a folder")
    if as_json:
        steps = [{"step": name, "seconds": seconds} for name, seconds in took]
        print_json({"steps": steps, "seconds": sum(s for _, s in took), "kept_in": folder})
        return
    rows = [[name, f"{seconds:.2f}"] for name, seconds in took]
    rows.append(["all", f"{sum(s for _, s in took):.2f}"])
    print_table(["step", "seconds"], rows, left=["step"])
    if folder is not None and not quiet:
        click.echo(f"kept in {folder}")


def _steps(dtypes: tuple[str, ...]) -> Iterator[Step]:
    """What to rehearse, by name: kernels differ by type, and by few or many classes."""
    import ml_dtypes
    import numpy as np

    import ood_toolkit as ood

    rng = np.random.default_rng(0)

    rehearse: Callable[[], Any]

    def logits(classes: int, dtype: str) -> Any:
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
        return rng.standard_normal((32, classes)).astype(kind)

    for dtype in dtypes:
        for classes, size in ((20, "few"), (200, "many")):
            for method, what in (("energy", "energy"), ("msp", "all logit scores")):
                rehearse = partial(ood.score, logits(classes, dtype), method)
                yield f"{what}, {size} classes, {dtype}", rehearse
    extreme = np.array([[1e30, 0.0, -1e30]])
    yield "rows of extreme logits", partial(ood.score, extreme, "msp")
    for dtype in USUAL:
        train, held_out, test, far = (_record(rng, dtype) for _ in range(4))
        sets: dict[str, Any] = {"id": test, "ood": {"far": far}, "train": train}
        sets["id_val"] = held_out
        rehearse = partial(ood.evaluate, "all", bootstrap=2, **sets)
        yield f"fit, score and evaluate, {dtype}", rehearse


def _record(rng: Any, dtype: str) -> Any:
    """Outputs of a made-up classifier of four classes that is right on most rows."""
    import numpy as np

    import ood_toolkit as ood

    labels = np.arange(120) % 4
    weight = np.repeat(np.eye(4), 2, axis=1)
    features = np.abs(rng.normal(size=(120, 8)) + 3 * weight[labels]).astype(dtype)
    head = ood.Head(weight.astype(dtype), np.zeros(4, dtype))
    return ood.Outputs(features=features, head=head, labels=labels)
