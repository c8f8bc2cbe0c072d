"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import rich_click as click

from .kinds import Size
from .members import stacked
from .settings import config_option

if TYPE_CHECKING:
    from ood_toolkit.io.reading import Reading
    from ood_toolkit.outputs import Head, Outputs

__all__ = [
    "FileOptions",
    "Talk",
    "bounded_reading_options",
    "file_options",
    "gathered",
    "memory_option",
    "print_options",
    "reading_options",
    "talk_options",
    "talking",
]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Talk:
    """How much a command says on stderr."""

    quiet: bool = False
    verbose: bool = False
    said: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        """Say something a user may like to know, once."""
        if not self.quiet and text not in self.said:
            self.said.add(text)
            click.echo(text, err=True)

    def failure(self, text: str) -> None:
        """Say why the exit status is not 0, to those who want to hear errors alone too."""
        click.echo(text, err=True)


@contextmanager
def talking(quiet: bool, verbose: bool) -> Iterator[Talk]:
    """Within it, the toolkit's warnings become one line on stderr each."""
    from ood_toolkit.errors import ToolkitWarning

    talk = Talk(quiet, verbose)

    def show(message: Any, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, ToolkitWarning) or verbose:
            talk.note(f"Warning: {' '.join(str(message).split())}")
            if "--debug" in sys.argv:  # the tracebacks of methods that failed on the way
                for more in getattr(message, "__notes__", ()):
                    talk.note(more)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield talk


def talk_options(command: Command) -> Command:
    """Add -q, -v and --debug."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
        click.option("-v", "--verbose", is_flag=True, help="Print more on stderr."),
        click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr."),
    ):
        command = option(command)
    return command


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document, nothing else."
    )(command)


def print_options(command: Command) -> Command:
    """Add --json, --show-config, -q, -v and --debug."""
    return json_option(config_option(talk_options(command)))


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How the input files of a command are read."""

    head: str | None
    keys: Mapping[str, str]
    as_: Literal["logits", "features"]
    dtype: str | None
    max_bytes: int | None
    memory: int | None = None

    def load(
        self,
        path: str,
        *,
        labels: bool | Literal["lenient"] = True,
        head: Head | None = None,
        members: Sequence[str] = (),
    ) -> Outputs:
        """Read one record; the head of --head wins over the file's, that over `head`.

        The logits of the files `members` are stacked, in place of members in the file.
        """
        from dataclasses import replace

        from ood_toolkit.io.reading import with_head

        reading = self.reading()
        record = reading.load(path, labels=labels)
        if members:
            others = [(member, reading.load(member, labels=False)) for member in members]
            record = replace(record, members=stacked(path, len(record), others))
        return with_head(record, path, head)

    def reading(self) -> Reading:
        """The same for whoever reads the files."""
        from ood_toolkit.io.reading import Reading

        return Reading(
            self.head, dict(self.keys), self.as_, self.dtype, self.max_bytes, self.memory
        )


_KEYS = ("logits", "features", "labels", "head_weight", "head_bias")


def gathered(command: Any, name: str, options: Sequence[str], made: Callable[..., Any]) -> Any:
    """A command whose values of some options become one argument `name`: what `made` returns.

    An option that the command does not have is left out.
    """

    @wraps(command)
    def gather(**values: Any) -> Any:
        given = {option: values.pop(option) for option in options if option in values}
        return command(**values, **{name: made(**given)})

    return gather


def file_options(command: Command) -> Command:
    """Add --head, the --*-key options, --as, --dtype and --max-bytes as one `files` argument."""
    names = ("head", *(f"{key}_key" for key in _KEYS), "as_", "dtype", "max_bytes", "memory")

    def made(**values: Any) -> FileOptions:
        keys = {k: v for k in _KEYS if (v := values.pop(f"{k}_key")) is not None}
        return FileOptions(keys=keys, **values)

    wrapped = gathered(command, "files", names, made)
    wrapped = click.option(
        "--max-bytes", type=click.IntRange(min=1), help="Largest size a compressed array may have."
    )(wrapped)
    wrapped = click.option(
        "--dtype",
        help="Read arrays as this type, e.g. bfloat16 for raw 2-byte data, float32 for integers.",
    )(wrapped)
    wrapped = click.option(
        "--as",
        "as_",
        type=click.Choice(["logits", "features"]),
        default="logits",
        show_default=True,
        help="What a file with one unnamed array holds.",
    )(wrapped)
    for key in reversed(_KEYS):
        wrapped = click.option(
            f"--{key.replace('_', '-')}-key",
            f"{key}_key",
            metavar="KEY",
            help=f"Name of the {key} array.",
        )(wrapped)
    wrapped = click.option(
        "--head", metavar="FILE", help="Take the last layer's weight and bias from this file."
    )(wrapped)
    return wrapped  # type: ignore[no-any-return]


def memory_option(command: Command) -> Command:
    """Add --memory, which `file_options` makes a part of `files`."""

    def quarter(ctx: Any, param: Any, value: int | None) -> int:
        if value is not None:
            return value
        from ood_toolkit.io import default_memory

        return default_memory()

    return click.option(
        "--memory",
        type=Size(),
        callback=quarter,
        show_default="a quarter of what is free",
        help="Memory limit, e.g. 512MiB; larger files are read block by block.",
    )(command)


def reading_options(command: Command) -> Command:
    """Add what a command that reads outputs files and prints has: `files`, --json, -q, -v."""
    return file_options(print_options(command))


def bounded_reading_options(command: Command) -> Command:
    """The same with --memory, for files that are larger than memory."""
    return file_options(memory_option(print_options(command)))
