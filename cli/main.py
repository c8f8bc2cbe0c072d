"""The command `ood-toolkit`: how interruptions and errors become one line and an exit status.

Only what is quick to load is loaded here, so that an early Ctrl-C is met by `main` too.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

from .startup import leave_quickly, loading

__all__ = ["main"]

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and leave with the exit status of the contract."""
    debug = "--debug" in sys.argv
    try:
        leave_quickly()
        signal.signal(signal.SIGTERM, _leave)
        # a stream that the caller closed is one that nobody reads
        sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.encoding.lower() != "utf-8":
            # a name or a word that the locale has no letters for
            sys.stdout.reconfigure(errors="backslashreplace")
        with loading():  # until a command begins
            from .group import run

            status = run()
    except KeyboardInterrupt:
        _say(_trace() if debug else "Interrupted")
        status = INTERRUPTED
    except (Exception, MemoryError) as error:  # noqa: BLE001, all of it is told
        status = _report(error, debug)
    _let_go()
    sys.exit(status)


def _trace() -> str:
    """The traceback of the error that is met."""
    from traceback import format_exc

    return format_exc().rstrip()


def _report(error: BaseException, debug: bool) -> int:
    """One line on stderr, or the traceback; the exit status, which is the same with both."""
    from ood_toolkit.errors import ToolkitError, in_one_line

    if isinstance(error, OSError) and _stdout_refuses(error):
        from ood_toolkit.io.atomic import why_not

        said = f"standard output: cannot be written: {why_not(error)}; write elsewhere"
    else:
        foreseen = isinstance(error, ToolkitError | MemoryError | OSError)
        further = "" if foreseen else " with the output of the same command and --debug"
        said = f"{in_one_line(error)}{further}"
    _say(_trace() if debug else f"Error: {said}")
    return error.exit_status if isinstance(error, ToolkitError) else 3


def _stdout_refuses(error: OSError) -> bool:
    """Whether it is stdout that could not be written."""
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"")  # a stream without a buffer has nothing to flush
    except OSError as again:
        return again.errno == error.errno is not None
    return error.errno == errno.ENOSPC and os.fstatvfs(sys.stdout.fileno()).f_bavail == 0


def _let_go() -> None:
    """Drop what a stream cannot take: the interpreter would end with a status of its own, 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    # file names may hold bytes that are no text; the disk behind stderr may be full
    with suppress(OSError):
        sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
        sys.stderr.flush()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like an exception, so that temporary files are removed."""
    sys.exit(128 + number)
