"""What is said of one method that could not run, so that the others can go on."""

from __future__ import annotations

import traceback
import warnings

from ood_toolkit.errors import ToolkitError, ToolkitWarning, in_one_line

__all__ = ["why_it_failed"]


def why_it_failed(method: str, error: Exception) -> str:
    """The reason to list a method under `failed` with; to be called where `error` is caught.

    Parameters
    ----------
    method : str
    error : Exception
        What fitting or scoring raised.  What the toolkit refuses is a reason and no more; of
        anything else, a lack of memory or a fault of some library, the traceback is kept.

    Returns
    -------
    str
        One line.

    Raises
    ------
    Warning
        If `error` is one: whoever made warnings errors wants to stop at them.

    Warns
    -----
    ToolkitWarning
        Of an error that is not the toolkit's own; the traceback is a note of the warning, shown
        where warnings are errors, and by the command line with --debug.
    """
    if isinstance(error, Warning):
        raise error
    reason = in_one_line(error)
    if not isinstance(error, ToolkitError):
        said = ToolkitWarning(f"{method}: {reason}")
        said.add_note("".join(traceback.format_exception(error)).rstrip())
        warnings.warn(said, stacklevel=2)
    return reason
