"""The command `ood-toolkit`: how interruptions and errors become one line and an exit status.

Only what is quick to load is loaded here, so that an early Ctrl-C is met by `main` too.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
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
        with loading():  # until a command begins
            from .group import run

            status = run()
    except KeyboardInterrupt:
        if debug:
            raise
        _say("Interrupted")
        status = INTERRUPTED
    except (Exception, MemoryError) as error:
        if debug:
            raise
        status = _report(error)
    sys.exit(status)


def _report(error: BaseException) -> int:
    """One line on stderr; the exit status."""
    from ood_toolkit.errors import ToolkitError, in_one_line

    foreseen = isinstance(error, ToolkitError | MemoryError | OSError)
    further = "" if foreseen else " with the output of the same command and --debug"
    _say(f"Error: {in_one_line(error)}{further}")
    return error.exit_status if isinstance(error, ToolkitError) else 3


def _say(text: str) -> None:
    # file names may hold bytes that are no text; the disk behind stderr may be full
    with suppress(OSError):
        sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
        sys.stderr.flush()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like an exception, so that temporary files are removed."""
    sys.exit(128 + number)
