"""A Dask client: of workers started here, or of a cluster that is there already."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from ood_toolkit.errors import BadParameter, InputError, MissingDependency

__all__ = ["connected", "dask_library", "use_one_thread", "worker_folder"]

_THREADS = ("OOD_TOOLKIT", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM")
_ONE_THREAD = dict.fromkeys((f"{name}_THREADS" for name in _THREADS), "1")
"""What a worker of one thread is started with, before any library reads it."""


def dask_library() -> Any:
    """`dask.distributed`, or how to install it."""
    try:
        return importlib.import_module("distributed")
    except ImportError as reason:
        raise MissingDependency("dask", "distributed", "scoring on several workers") from reason


@contextmanager
def connected(address: str, *, timeout: float = 30.0) -> Iterator[Any]:
    """A client of a Dask cluster, closed when the block is left.

    Parameters
    ----------
    address : str
        ``"local:4"`` starts four worker processes of one thread each on this machine and ends
        them with the block; ``"tcp://host:port"`` (or ``tls://``) is a scheduler that runs.
    timeout : float
        Seconds to wait for a scheduler and its first worker.

    Returns
    -------
    context manager of distributed.Client
        What the functions of `ood_toolkit.distributed` take.

    Raises
    ------
    BadParameter
        If the address is neither.
    InputError
        If no scheduler answers, it has no worker, or a worker has another version of the toolkit.
    MissingDependency
        If Dask is not installed.

    Examples
    --------
    >>> with connected("local:two"):
    ...     pass
    Traceback (most recent call last):
        ...
    ood_toolkit.errors.BadParameter: --dask local:two: give tcp://HOST:PORT, or local:N
    """
    local = re.fullmatch(r"local:([1-9]\d{0,3})", address)
    if not local and not re.fullmatch(r"(tcp|tls)://\S+", address):
        raise BadParameter(f"--dask {address}: give tcp://HOST:PORT, or local:N")
    distributed = dask_library()
    import dask

    quiet = {"distributed.logging": {"distributed": "error", "tornado": "critical"}}
    with dask.config.set({**quiet, "distributed.nanny.pre-spawn-environ": _ONE_THREAD}):
        if local:
            with (
                distributed.LocalCluster(
                    n_workers=int(local[1]),
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    silence_logs=50,  # what goes wrong is said once, by the toolkit
                ) as cluster,
                distributed.Client(cluster) as client,
            ):
                yield client
            return
        try:
            client = distributed.Client(address, timeout=timeout)
        except (OSError, TimeoutError) as reason:
            raise InputError(
                f"--dask {address}: no scheduler answers in {timeout:.0f} s; start one with "
                "`dask scheduler`"
            ) from reason
        with client:
            _check_workers(client, address, timeout)
            yield client


def _check_workers(client: Any, address: str, timeout: float) -> None:
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as reason:
        raise InputError(
            f"--dask {address}: the scheduler has no worker; start some with "
            f"`dask worker {address}`"
        ) from reason
    mine = version("ood_toolkit")
    for worker, theirs in client.run(_toolkit).items():
        if theirs != mine:
            raise InputError(
                f"--dask {address}: worker {worker} has ood_toolkit {theirs}, this is {mine}; "
                "install the same version on all"
            )


def _toolkit() -> str:
    """The version on a worker, whose threads are settled at the same time."""
    use_one_thread()
    try:
        return version("ood_toolkit")
    except ImportError:
        return "not installed"


def use_one_thread() -> None:
    """Keep a task to the one thread that Dask counts it for."""
    os.environ.setdefault("OOD_TOOLKIT_THREADS", "1")


def worker_folder() -> str | None:
    """Where a worker keeps what ends with it; None where no worker runs."""
    try:
        folder: str = dask_library().get_worker().local_directory
    except ValueError:
        return None
    return folder
