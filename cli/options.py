"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import rich_click as click

from .members import stacked

if TYPE_CHECKING:
    from ood_toolkit.io.reading import Reading
    from ood_toolkit.outputs import Head, Outputs

__all__ = [
    "FileOptions",
    "Talk",
    "file_options",
    "json_option",
    "memory_option",
    "method_option",
    "parameters_by_method",
    "set_option",
    "split_methods",
    "talk_options",
    "talking",
    "train_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Talk:
    """How much a command says on stderr."""

    quiet: bool = False
    verbose: bool = False

    def note(self, text: str) -> None:
        """Say something a user may like to know."""
        if not self.quiet:
            click.echo(text, err=True)


@contextmanager
def talking(quiet: bool, verbose: bool) -> Iterator[Talk]:
    """Within it, the toolkit's warnings become one line on stderr each."""
    from ood_toolkit.errors import ToolkitWarning

    talk = Talk(quiet, verbose)

    def show(message: Any, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, ToolkitWarning) or verbose:
            talk.note(f"Warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield talk


def talk_options(command: Command) -> Command:
    """Add -q, -v and --debug."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, help="Tracebacks for errors."),
        click.option("-v", "--verbose", is_flag=True, help="Say more on stderr."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors on stderr."),
    ):
        command = option(command)
    return command


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else."
    )(command)


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


def file_options(command: Command) -> Command:
    """Add --head, the --*-key options, --as, --dtype and --max-bytes as one `files` argument."""

    def gather(**values: Any) -> Any:
        keys = {k: v for k in _KEYS if (v := values.pop(f"{k}_key")) is not None}
        values["files"] = FileOptions(
            values.pop("head"),
            keys,
            values.pop("as_"),
            values.pop("dtype"),
            values.pop("max_bytes"),
            values.pop("memory", None),
        )
        return command(**values)

    gather.__name__, gather.__doc__ = command.__name__, command.__doc__
    if hasattr(command, "__click_params__"):
        gather.__click_params__ = command.__click_params__  # type: ignore[attr-defined]
    wrapped: Any = gather
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
            f"--{key.replace('_', '-')}-key", f"{key}_key", metavar="KEY", help=f"Where {key} lies."
        )(wrapped)
    wrapped = click.option(
        "--head", metavar="FILE", help="Take the last layer's weight and bias from this file."
    )(wrapped)
    return wrapped  # type: ignore[no-any-return]


class Size(click.ParamType):
    """A number of bytes: 4096, 64kB, 512MiB, 1.5GB."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Bytes; k, M, G and T count in thousands, Ki, Mi, Gi and Ti in 1024s."""
        import re

        form = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?)(i?)b?\s*", str(value), re.IGNORECASE)
        if form is None or (form[3] and not form[2]):
            self.fail(f"{value!r} is no size: write 512MiB, 2GB or a number of bytes", param, ctx)
        power = " kmgt".index(form[2].lower() or " ")
        return int(float(form[1]) * (1024 if form[3] else 1000) ** power)


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
        help="Most memory to use, e.g. 512MiB; rows of larger files are read some at a time.  "
        "[default: a quarter of what is free]",
    )(command)


def complete_methods(ctx: Any, param: Any, incomplete: str) -> list[str]:
    """Shell completion of the last name in a comma-separated list; loads no numpy."""
    from .names import METHOD_NAMES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in METHOD_NAMES if name.startswith(last)]


def method_option(*, required: bool, multiple: bool = True, default: str | None = None) -> Any:
    """-m NAME[,NAME...]; may be repeated."""
    return click.option(
        "-m",
        "--method",
        "method" if not multiple else "methods",
        metavar="NAME" if not multiple else "NAME[,NAME...]",
        required=required,
        multiple=multiple,
        default=[default] if multiple and default else default,
        shell_complete=complete_methods,
        help="Method, as `ood-toolkit methods` lists it"
        + ("; several with commas or by repeating the option." if multiple else "."),
    )


def set_option(form: str) -> Any:
    """--set key=value; may be repeated."""
    return click.option(
        "--set", "settings", metavar=f"{form}=VALUE", multiple=True, help="Set a hyper-parameter."
    )


def train_options(command: Command) -> Command:
    """Add --train and --id-val."""
    command = click.option("--id-val", metavar="FILE", help="Held-out in-distribution outputs.")(
        command
    )
    return click.option(
        "--train", metavar="FILE", help="In-distribution outputs that methods are fitted on."
    )(command)


def split_methods(values: Sequence[str]) -> list[str]:
    """Names from repeated, comma-separated options: each once, in the order given."""
    names = [name.strip() for value in values for name in value.split(",")]
    return [name for name in dict.fromkeys(names) if name]


def parameters_by_method(
    settings: Sequence[str], methods: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Read `NAME.key=value`; with one method `key=value` will do.

    Raises
    ------
    click.UsageError
        If a setting has another form, or names a method that is not asked for.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in methods}
    for setting in settings:
        place, equals, value = setting.partition("=")
        name, dot, key = place.rpartition(".")
        if not equals or not key:
            raise click.UsageError(f"--set {setting}: expected NAME.key=value")
        if not dot:
            if len(methods) != 1:
                raise click.UsageError(
                    f"--set {setting}: say which method, e.g. {methods[0]}.{setting}"
                )
            name = methods[0]
        if name not in found:
            raise click.UsageError(f"--set {setting}: {name} is not among {', '.join(methods)}")
        found[name][key] = value
    return found
