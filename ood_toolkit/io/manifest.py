"""The manifest of a job's parts: what job they belong to, and the checksum of each.

A run that was killed is taken up again from there: parts whose bytes are those of their
receipt are kept, all others are made again.  One process writes the manifest; the parts may be
made by many, which share nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import refusing
from ood_toolkit.io.part_formats import content_digest
from ood_toolkit.io.parts import Part, PartStore, Receipt, decoded, taken
from ood_toolkit.outputs import Array

__all__ = ["FORMAT", "MANIFEST", "Parts"]

FORMAT = 1
"""Version of the manifest; one of a later version is refused."""

MANIFEST = "manifest.json"
"""Name of the file that says what the parts of a folder are."""

_SECONDS = 0.25  # between two manifests, at least; what is lost in between is made again


@dataclass
class Parts:
    """The parts of one job, and which of them are done.

    Parameters
    ----------
    name : str
        What is being made, as the user named it, for messages.
    store : PartStore
        Where the parts lie.
    job : mapping
        JSON-ready: all that the parts depend on (inputs, methods, parameters).  The toolkit's
        version is added.
    plan : sequence of Part
        As `plan_parts` makes it.
    format : str
        What the parts are written as.
    shown : bool
        Whether the parts are the output themselves, and not what it is made of.
    """

    name: str
    store: PartStore
    job: Mapping[str, Any]
    plan: Sequence[Part]
    format: str = "npz"
    shown: bool = False
    done: dict[int, Receipt] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    remade: list[int] = field(default_factory=list)
    finished: dict[str, Any] | None = None
    _saved: float = field(default=-1e9, init=False, repr=False)

    def begin(self, *, resume: bool = False, force: bool = False) -> None:
        """Look at what an earlier run left, and keep what this one can go on from.

        Raises
        ------
        DataError
            If there are parts and neither `resume` nor `force` is asked for, or the parts are
            those of another job, or the manifest is damaged.
        """
        there = [name for name in self.store.names() if name == MANIFEST]
        if there and not force:
            found = self._manifest()
            receipts = [Receipt(**receipt) for receipt in found["parts"]]
            self.finished = found.get("finished")
            state = "a finished" if self.finished else "an unfinished"
            self._refuse_other_job(found["job"], state)
            if not resume:
                raise DataError(
                    self.name,
                    "",
                    f"{state} run of it is there, {len(receipts)} of {len(self.plan)} parts; "
                    "go on with --resume, or begin anew with --force",
                )
            self.done = {receipt.number: receipt for receipt in self._sound(receipts)}
            if self.shown and self.missing():
                self.finished = None
        else:
            if self.shown and not force:
                self._refuse_parts_of_nobody()
            self.clear()
        self.save(at_once=True)

    def _refuse_parts_of_nobody(self) -> None:
        found = [name for name in self.store.names() if self._is_part(name)]
        if found:
            raise DataError(
                self.name,
                found[0],
                "is there without a manifest; write elsewhere, or replace it with --force",
            )

    def _manifest(self) -> dict[str, Any]:
        advice = "begin anew with --force"
        with refusing(self.name):
            try:
                found: dict[str, Any] = json.loads(self.store.read(MANIFEST))
                later = found["format"] > FORMAT
                {"job": found["job"], "parts": [Receipt(**r) for r in found["parts"]]}
            except (ValueError, KeyError, TypeError, UnicodeDecodeError) as reason:
                raise DataError(self.name, MANIFEST, f"is damaged ({reason}); {advice}") from None
        if later:
            raise DataError(self.name, MANIFEST, f"is of a later toolkit; upgrade, or {advice}")
        return found

    def _refuse_other_job(self, before: Mapping[str, Any], state: str) -> None:
        now = json.loads(json.dumps(self._job()))
        other = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))
        if other:
            raise DataError(
                self.name,
                "",
                f"{state} run is there that differs in {' and '.join(other)}; "
                f"{'' if self.finished else 'repeat that one, '}write elsewhere, or begin anew "
                "with --force",
            )

    def _job(self) -> dict[str, Any]:
        facts = {"toolkit": version("ood_toolkit"), **self.job, "plan": len(self.plan)}
        return {**facts, "format": self.format} if self.shown else facts

    def _sound(self, receipts: Sequence[Receipt]) -> Iterator[Receipt]:
        """The receipts of parts whose bytes are still those that were written."""
        for receipt in receipts:
            if 0 <= receipt.number < len(self.plan) and self._is_sound(receipt):
                yield receipt
            else:
                self.remade.append(receipt.number)

    def _is_sound(self, receipt: Receipt) -> bool:
        try:
            content = taken(self.store, self.plan[receipt.number], self.format)
        except FileNotFoundError:
            return False
        return content_digest(content) == receipt.sha256

    def missing(self) -> list[Part]:
        """The parts that are still to be made, in the order of the rows."""
        return [part for part in self.plan if part.number not in self.done]

    def refuse_missing(self) -> None:
        """Raise `DataError` that names the first part that is still to be made."""
        if missing := self.missing():
            name = missing[0].file(self.format)
            raise DataError(self.name, name, "is missing; make it with --resume")

    def note(self, receipt: Receipt) -> None:
        """Remember that a part is done; the manifest is written now or a little later."""
        self.done[receipt.number] = receipt
        self.failed.pop(receipt.number, None)
        self.save()

    def note_failure(self, part: Part, reason: str) -> None:
        """Remember why a part could not be made."""
        self.failed[part.number] = reason
        self.save()

    def save(self, *, at_once: bool = False) -> None:
        """Write the manifest, at most a few times a second unless it is wanted at once."""
        start = time.monotonic()
        if not at_once and start < self._saved:
            return
        document = {
            "format": FORMAT,
            "job": self._job(),
            "parts": [asdict(self.done[number]) for number in sorted(self.done)],
            "failed": [{"part": n, "reason": self.failed[n]} for n in sorted(self.failed)],
            "finished": self.finished,
        }
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        self.store.write(MANIFEST, text.encode())
        # a long manifest is written less often, so that it never takes much of the time
        stop = time.monotonic()
        self._saved = stop + max(_SECONDS, 10.0 * (stop - start))

    def tables(self) -> Iterator[tuple[Part, dict[str, Array]]]:
        """Each part and its arrays, in the order of the rows; bytes are verified again.

        Raises
        ------
        DataError
            If a part is not there or has changed.
        """
        for part in self.plan:
            yield part, self.table(part)

    def table(self, part: Part) -> dict[str, Array]:
        """The arrays of one part that is an `.npz` file.

        Raises
        ------
        DataError
            If it is not there or has changed.
        """
        receipt = self.done.get(part.number)
        try:
            data = self.store.read(part.name)
        except FileNotFoundError:
            data = b""
        if receipt is None or content_digest({"": data}) != receipt.sha256:
            raise DataError(
                self.name, part.name, "is missing or was changed; make it again with --resume"
            )
        return decoded(self.name, data)

    def clear(self) -> None:
        """Remove every part and, last, the manifest; files of others are refused first."""
        names = [name for name in self.store.names() if not name.startswith(".")]
        strange = [name for name in names if name != MANIFEST and not self._is_part(name)]
        if strange:
            raise DataError(
                self.name, strange[0], "lies among its parts and is none; remove it yourself"
            )
        for name in sorted(names, key=lambda name: name == MANIFEST):
            self.store.remove(name)
        self.done, self.failed, self.finished = {}, {}, None

    def _is_part(self, name: str) -> bool:
        stem, suffix = os.path.splitext(name)
        return suffix == f".{self.format}" and len(stem) == 8 and stem.isdigit()
