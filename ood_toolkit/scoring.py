"""Files scored part by part: never more rows in memory than fit, and nothing done twice.

A job is cut into parts that depend on its inputs alone; a part is made in blocks whose size
depends on the memory there is.  Blocks begin at canonical chunks, so that no bit of a score
depends on either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ood_toolkit.bounded import is_streamed, large_arrays
from ood_toolkit.errors import InputError
from ood_toolkit.io.destination import Destination
from ood_toolkit.io.manifest import Parts
from ood_toolkit.io.object_files import url_files
from ood_toolkit.io.parts import Part, PartStore, Receipt, plan_parts, write_part
from ood_toolkit.io.reading import Reading, load_url
from ood_toolkit.io.score_writer import checked_table, write_file
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.outputs import Array, Head, Outputs

__all__ = ["Input", "ScoreJob", "score_to_file", "url_inputs"]

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
    first : int
        Number of its first row, where several inputs are one file in pieces.
    place : str
        The URL of an input that lies in a store.
    """

    name: str
    open: Callable[[], Outputs]
    rows: int
    row_bytes: int
    has: frozenset[str]
    first: int = 0
    place: str = ""

    @classmethod
    def of(cls, name: str, record: Outputs, open: Callable[[], Outputs]) -> Input:
        """The input that `record`, which was opened once, is of."""
        row = sum(a.nbytes for a in large_arrays(record)) // max(1, len(record))
        return cls(name, open, len(record), row, record.has())


def url_inputs(
    url: str,
    reading: Reading,
    head: Head | None = None,
    look: Callable[[str, Outputs], None] = lambda name, record: None,
) -> list[Input]:
    """The objects that a URL or a pattern stands for, one input each.

    Together they are one input: rows count on from one object to the next.  Each is fetched
    to be counted, and again when its rows are wanted.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/parts/*.npy``.
    reading : Reading
        How they are read.
    head : Head, optional
        The last layer of objects without one.
    look : callable, optional
        Called with each object and its record.
    """
    found: list[Input] = []
    first = 0
    for name in url_files(url):
        again = partial(load_url, name, reading, labels="lenient", otherwise=head)
        record = again()
        look(name, record)
        one = Input.of(url, record, again)
        found.append(replace(one, first=first, place=name))
        first += one.rows
    return found


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
        try:
            found = dict(self.columns(record))
        except InputError:
            if not all_of_it and not is_streamed(whole):
                self.columns(whole)  # rows in memory do not know their number
            raise
        return self._arranged(source, found, part)

    def _record(self, number: int) -> Outputs:
        """An opened input; the last one stays open."""
        opened = self._opened  # another thread of a worker may open another input meanwhile
        if opened is None or opened[0] != number:
            self._opened = opened = None
            self._opened = opened = (number, self.inputs[number].open())
        return opened[1]

    def _arranged(self, source: Input, found: dict[str, Array], part: Part) -> dict[str, Array]:
        """Columns in one order; what only some inputs have is unknown, -1, in the others."""
        found["index"] = np.arange(source.first + part.start, source.first + part.stop)
        for name, needed in (("prediction", "logits"), ("label", "labels")):
            if name not in found and any(needed in x.has for x in self.inputs):
                found[name] = np.full(len(part), -1)
        first = [name for name in ("index", "prediction", "label") if name in found]
        table: dict[str, Array] = {}
        if len({x.name for x in self.inputs}) > 1:
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
    format: str | None = None,
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
        Where to, and how, as for `save_scores`; also `FOLDER/*.suffix`, a folder of parts and
        their manifest, and URLs of stores that fsspec knows.
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
    destination = Destination.of(output, format)
    with destination.locked() as store:
        parts = destination.parts(store, job.made_of(), job.plan())
        parts.begin(resume=resume, force=force)
        if not destination.is_whole(parts):
            _make(job, parts, store, done)
        destination.finish(
            parts,
            store,
            lambda path: write_file(
                lambda: (table for _, table in parts.tables()), path, destination.format, output
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
                    waiting = writer.submit(write_part, store, part, table, parts.format)
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
