"""Tasks handed out and their receipts noted: what every job on a cluster does the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ood_toolkit.distributed.cluster import dask_library
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io.manifest import Parts
from ood_toolkit.io.parts import Part, PartStore, Receipt

__all__ = ["AHEAD", "Outcome", "make_parts"]

AHEAD = 4
"""Tasks a worker is given before it has finished any: it never waits, and little is kept."""


@dataclass(frozen=True)
class Outcome:
    """How a job on a cluster ended.

    Attributes
    ----------
    remade : list of int
        Parts that an earlier run had left damaged, and that were made again.
    failed : dict of Part to str
        Parts whose task killed its workers, and what is known of it.  The output is then not
        finished; all other parts are kept for a run with `resume`.
    """

    remade: list[int]
    failed: dict[Part, str]

    @classmethod
    def of(cls, parts: Parts) -> Outcome:
        """What became of a job's parts."""
        return cls(parts.remade, {parts.plan[n]: parts.failed[n] for n in sorted(parts.failed)})


def make_parts(
    client: Any,
    submit: Callable[[Part, PartStore], Any],
    parts: Parts,
    done: Callable[[Part], None],
    hopeless: Callable[[], None],
) -> None:
    """Have the missing parts made; a part whose task kills workers when alone is noted as failed.

    Parameters
    ----------
    client : distributed.Client
        As `connected` gives it.
    submit : callable
        A part and where it goes -> the future of its `Receipt`, or of the `DataError` that
        says why it could not be written; whatever the task raises ends the job.
    parts : Parts
        Begun.
    done : callable
        Called with each part that is there.
    hopeless : callable
        Called where rows cannot be used: no later run could use them either.
    """
    distributed = dask_library()
    parts.failed.clear()
    missing = {part.number: part for part in parts.missing()}
    for part in parts.plan:
        if part.number not in missing:
            done(part)
    waiting = iter(missing.values())
    at_work = distributed.as_completed()
    given: dict[str, tuple[Any, Part]] = {}

    def hand_out(some: Iterable[Part]) -> None:
        for part in some:
            future = submit(part, parts.store)
            given[future.key] = future, part
            at_work.add(future)

    def killed_by() -> Iterator[Part]:
        """The parts that are not made as their workers were killed."""
        for future in at_work:
            _, part = given.pop(future.key)
            reason = future.exception()
            if reason is None:
                found: Receipt | DataError = future.result()
                if isinstance(found, DataError):
                    unwritten.append(found)
                    return
                parts.note(found)
                done(part)
            elif isinstance(reason, distributed.KilledWorker):
                yield part
            else:
                raise reason
            hand_out(islice(waiting, 1))

    unwritten: list[DataError] = []
    try:
        hand_out(islice(waiting, AHEAD * max(1, len(client.scheduler_info()["workers"]))))
        for suspect in list(killed_by()):
            if unwritten:
                break
            # a worker takes all that it was given with it: alone, a part shows whose fault it was
            hand_out([suspect])
            for part in killed_by():
                parts.note_failure(part, "its task killed every worker that it was given to")
    except InputError:
        hopeless()
        raise
    finally:
        client.cancel([future for future, _ in given.values()])
        if parts.done:
            parts.save(at_once=True)
    if unwritten:
        raise unwritten[0]
