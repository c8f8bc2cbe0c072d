"""Which methods a command is asked for, and the files that they are fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from .members import member_option, members_by_set
from .method_names import split_methods
from .options import FileOptions, gathered

if TYPE_CHECKING:
    from ood_toolkit.outputs import Head, Outputs

__all__ = [
    "Asked",
    "asked_options",
    "detectors_option",
    "method_option",
    "set_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Asked:
    """Methods with their settings, and what belongs to fitting them."""

    methods: tuple[str, ...]
    settings: tuple[str, ...]
    train: str | None
    id_val: str | None
    members: tuple[str, ...]

    def names(self) -> list[str]:
        """Each method once, in the order given."""
        return split_methods(self.methods)

    def given(self) -> list[str]:
        """The files to fit on."""
        return [path for path in (self.train, self.id_val) if path]

    def stacks(self, first: str, *others: str, main: str | None = "FILE") -> dict[str, list[str]]:
        """Member files by the input that they belong to, those of no named one under `main`."""
        return members_by_set(self.members, [first, "train", "id-val", *others], main)

    def fit_on(self, files: FileOptions, stacks: dict[str, list[str]]) -> Outputs | None:
        """The record of --train."""
        return files.load(self.train, members=stacks["train"]) if self.train else None

    def held_out(
        self, files: FileOptions, stacks: dict[str, list[str]], head: Head | None
    ) -> Outputs | None:
        """The record of --id-val."""
        path = self.id_val
        return files.load(path, head=head, members=stacks["id-val"]) if path else None


def asked_options(*, default: str | None = None) -> Callable[[Any], Any]:
    """Add -m, --set, --train, --id-val and --member as one `asked` argument."""

    def add(command: Any) -> Any:
        names = ("methods", "settings", "train", "id_val", "members")
        command = member_option(gathered(command, "asked", names, Asked))
        command = set_option("NAME.KEY")(train_options(command))
        return method_option(required=False, default=default)(command)

    return add


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
        + ("; separate several with commas, or repeat the option." if multiple else "."),
    )


def detectors_option(more: str = "") -> Any:
    """--detector DETECTOR; may be repeated.  Help goes on with `more`."""
    return click.option(
        "--detector",
        "detectors",
        metavar="DETECTOR",
        multiple=True,
        help=f"A fitted detector, saved by `fit`{more}.",
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
