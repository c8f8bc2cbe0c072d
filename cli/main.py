"""The command `ood-toolkit`: its group, and how errors become one line and an exit status."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

# What loading makes stays: looking for garbage in it takes a tenth of the time of --help.
_COLLECTS = gc.isenabled()
gc.disable()

import rich_click as click

from .benchmark import benchmark
from .calibrate import apply, calibrate
from .compare import compare
from .convert import convert
from .errors import errors
from .evaluate import evaluate
from .explain import explain
from .extract import extract
from .fit import fit
from .info import info
from .methods import methods
from .monitor import monitor
from .policy import policy
from .report import report
from .score import score
from .stress import stress
from .threshold import threshold
from .warmup import warmup

__all__ = ["cli", "main"]

click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.COMMAND_GROUPS = {
    "ood-toolkit": [
        {"name": "Look", "commands": ["methods", "info", "warmup"]},
        {"name": "Score", "commands": ["extract", "score", "fit", "explain"]},
        {"name": "Decide", "commands": ["calibrate", "apply", "threshold", "policy", "monitor"]},
        {
            "name": "Measure",
            "commands": [
                "evaluate",
                "errors",
                "stress",
                "benchmark",
                "compare",
                "report",
                "convert",
            ],
        },
    ]
}

INTERRUPTED = 130


class ReaderLeft(Exception):
    """Whoever read our output, `head` say, has what it wanted."""


class Commands(click.RichGroup):
    """The group; click itself would leave with status 1 when a reader has left."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that the context names."""
        _collect()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderLeft from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ood_toolkit", message="%(prog)s %(version)s")
def cli() -> None:
    """How sure is a prediction, does the input belong, when to abstain.

    Answers come from what a trained classifier already gives: saved logits, features,
    labels and the last layer's weights.  A higher score always means "more
    in-distribution".

    Start with `ood-toolkit benchmark fashion`, or score your own file:
    `ood-toolkit score outputs.npz -m energy,msp`.
    """


cli.add_command(methods)
cli.add_command(info)
cli.add_command(extract)
cli.add_command(fit)
cli.add_command(score)
cli.add_command(explain)
cli.add_command(calibrate)
cli.add_command(apply)
cli.add_command(threshold)
cli.add_command(policy)
cli.add_command(monitor)
cli.add_command(evaluate)
cli.add_command(errors)
cli.add_command(stress)
cli.add_command(benchmark)
cli.add_command(compare)
cli.add_command(report)
cli.add_command(convert)
cli.add_command(warmup)


def _collect() -> None:
    if _COLLECTS:
        gc.enable()


_collect()


def main() -> NoReturn:
    """Run the command line and leave with the exit status of the contract."""
    gc.disable()  # until a command begins
    try:
        status = _run()
    finally:
        _collect()
    sys.exit(status)


def _run() -> int:
    signal.signal(signal.SIGTERM, _leave)
    # a stream that the caller closed is one that nobody reads
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    debug = "--debug" in sys.argv
    try:
        status = cli.main(prog_name="ood-toolkit", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        status = leaving.exit_code
    except click.ClickException as usage:
        usage.show()
        status = usage.exit_code
    except (click.Abort, KeyboardInterrupt):
        if debug:
            raise
        _say("Interrupted")
        status = INTERRUPTED
    except (ReaderLeft, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (Exception, MemoryError) as error:
        if debug:
            raise
        status = _report(error)
    return status if isinstance(status, int) else 0


def _report(error: BaseException) -> int:
    """One line on stderr; the exit status."""
    from ood_toolkit.errors import ToolkitError

    if isinstance(error, ToolkitError):
        _say(f"Error: {_one_line(error)}")
        return error.exit_status
    if isinstance(error, MemoryError):
        _say(f"Error: not enough memory ({_one_line(error) or 'no size given'})")
        return 3
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        _say(f"Error: {place}{error.strerror or _one_line(error)}")
        return 3
    name = type(error).__name__
    _say(
        f"Error: unexpected {name}: {_one_line(error)}; please report it with the output of "
        "the same command and --debug"
    )
    return 3


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _say(text: str) -> None:
    # file names may hold bytes that are no text; the disk behind stderr may be full
    with suppress(OSError):
        sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
        sys.stderr.flush()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like an exception, so that temporary files are removed."""
    sys.exit(128 + number)
