"""Files scored part by part: never more rows in memory than fit, and nothing done twice.

A job is cut into parts that depend on its inputs alone; a part is made in blocks whose size
depends on the memory there is.  Blocks begin at canonical chunks, so that no bit of a score
depends on either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ood_toolkit.bounded import blocks_of_rows, is_streamed, large_arrays
from ood_toolkit.errors import InputError
from ood_toolkit.io.manifest import Parts
from ood_toolkit.io.part_folder import already_whole, finish, locked_folder
from ood_toolkit.io.parts import Part, PartStore, Receipt, plan_parts, write_part
from ood_toolkit.io.score_writer import checked_table, write_file
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.outputs import Array, Outputs

__all__ = ["Input", "ScoreJob", "score_to_file"]

PART_BYTES = 256 << 20
"""Bytes of input behind one part: what is done again after a crash is at most that."""

TABLE_BYTES = 32 << 20
"""Bytes of scores in one part."""

SMALL_BYTES = 96 << 20
"""Bytes of scores up to which a job without much to read is not worth parts."""

Columns = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a job, opened when its rows are wanted.

    Parameters
    ----------
    name : str
        What the `file` column says.
    open : callable
        Opens the record.
    rows : int
        How many it has.
    row_bytes : int
        Bytes of its arrays that a row takes.
    has : frozenset of str
        Its parts, as `Outputs.has` names them.
    """

    name: str
    open: Callable[[], Outputs]
    rows: int
    row_bytes: int
    has: frozenset[str]

    @classmethod
    def of(cls, name: str, record: Outputs, open: Callable[[], Outputs]) -> Input:
        """The input that `record`, which was opened once, is of."""
        row = sum(a.nbytes for a in large_arrays(record)) // max(1, len(record))
        return cls(name, open, len(record), row, record.has())


@dataclass
class ScoreJob:
    """Inputs and what is wanted of each row.

    Parameters
    ----------
    inputs : sequence of Input
        In the order of the rows.
    columns : callable
        Some rows of a record -> columns by name: `index`, where there are logits `prediction`,
        where there are labels `label`, and the scores.
    made_of : callable
        JSON-ready: all that the scores depend on; asked for where parts are kept.
    width : int
        About how many columns there will be.
    """

    inputs: Sequence[Input]
    columns: Callable[[Outputs], Columns]
    made_of: Callable[[], Mapping[str, Any]]
    width: int
    _opened: tuple[int, Outputs] | None = field(default=None, init=False, repr=False)

    def plan(self) -> list[Part]:
        """The parts, which depend on nothing but the inputs and the number of columns."""
        most = max(1, TABLE_BYTES // (8 * max(1, self.width)))
        wanted = [min(most, PART_BYTES // max(1, x.row_bytes)) for x in self.inputs]
        return plan_parts([x.rows for x in self.inputs], wanted)

    def small(self, room: int) -> bool:
        """Whether all of it is soon done, and its scores fit into `room` bytes: without parts."""
        rows = sum(x.rows for x in self.inputs)
        read = sum(x.rows * x.row_bytes for x in self.inputs)
        made = rows * 8 * self.width
        return read <= PART_BYTES and made <= SMALL_BYTES and 4 * made <= room

    def table(self, part: Part) -> dict[str, Array]:
        """The columns of one part.

        Raises
        ------
        InputError
            If a row cannot be scored; it is named by its number in the file.
        """
        source = self.inputs[part.source]
        whole = self._record(part.source)
        all_of_it = (part.start, part.stop) == (0, len(whole))
        record = whole if all_of_it else whole.rows(slice(part.start, part.stop))
        own = list(blocks_of_rows(record))
        try:
            blocks = [
                self.columns(record if len(own) == 1 else record.rows(block)) for block in own
            ]
        except InputError:
            if len(own) == 1 and not all_of_it and not is_streamed(whole):
                self.columns(whole)  # rows in memory do not know their number
            raise
        found = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        return self._arranged(source, found, part)

    def _record(self, number: int) -> Outputs:
        """An opened input; the last one stays open."""
        if self._opened is None or self._opened[0] != number:
            self._opened = None
            self._opened = (number, self.inputs[number].open())
        return self._opened[1]

    def _arranged(self, source: Input, found: dict[str, Array], part: Part) -> dict[str, Array]:
        """Columns in one order; what only some inputs have is unknown, -1, in the others."""
        found["index"] = np.arange(part.start, part.stop)
        for name, needed in (("prediction", "logits"), ("label", "labels")):
            if name not in found and any(needed in x.has for x in self.inputs):
                found[name] = np.full(len(part), -1)
        first = [name for name in ("index", "prediction", "label") if name in found]
        table: dict[str, Array] = {}
        if len(self.inputs) > 1:
            table["file"] = np.full(len(part), source.name)
        table |= {name: found[name] for name in (*first, *(n for n in found if n not in first))}
        return checked_table(table)

    def names(self) -> list[str]:
        """The columns there will be."""
        return list(self.table(Part(0, 0, 0, min(CHUNK, self.inputs[0].rows))))

    def tables(self) -> Iterator[dict[str, Array]]:
        """All parts, one after the other, nothing kept."""
        for part in self.plan():
            yield self.table(part)


def score_to_file(
    job: ScoreJob,
    output: str,
    format: str,
    *,
    resume: bool = False,
    force: bool = False,
    done: Callable[[Part], None] = lambda part: None,
) -> list[int]:
    """Score a job into a file, part by part.

    Killed at any moment, a run with `resume` goes on from the parts that are whole, and the
    output is the same to the last bit.

    Parameters
    ----------
    job : ScoreJob
        What to score.
    output, format : str
        Where to, and how, as for `save_scores`.
    resume, force : bool
        What to do with the parts of an unfinished run: go on from them, or remove them.
    done : callable, optional
        Called with each part that is there.

    Returns
    -------
    list of int
        Numbers of the parts that an earlier run had left damaged, and that were made again.

    Raises
    ------
    DataError
        If another process is at work on the output, if an unfinished run is there and neither
        `resume` nor `force` is given, or if the output cannot be written.
    """
    with locked_folder(output) as store:
        plan = job.plan()
        parts = Parts(output, store, job.made_of(), plan)
        parts.begin(resume=resume, force=force)
        if not already_whole(parts, output):
            _make(job, parts, store, done)
        finish(
            parts,
            store,
            output,
            lambda path: write_file(
                lambda: (table for _, table in parts.tables()), path, format, output
            ),
        )
        return parts.remade


def _make(job: ScoreJob, parts: Parts, store: PartStore, done: Callable[[Part], None]) -> None:
    """Make the missing parts; while one is written the next is scored."""
    waiting: Future[Receipt] | None = None
    missing = {part.number for part in parts.missing()}
    hopeless = False
    try:
        with ThreadPoolExecutor(1, "ood_toolkit_parts") as writer:
            for part in parts.plan:
                if part.number in missing:
                    hopeless = True  # where a row cannot be scored, no later run could either
                    table = job.table(part)
                    hopeless = False
                    if waiting is not None:
                        parts.note(waiting.result())
                    waiting = writer.submit(write_part, store, part, table)
                done(part)
            if waiting is not None:
                parts.note(waiting.result())
    except InputError:
        if hopeless:
            parts.clear()
        raise
    finally:
        if parts.done:
            parts.save(at_once=True)
