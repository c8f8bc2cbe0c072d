"""One writer at a time: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ood_toolkit.errors import DataError
from ood_toolkit.io.atomic import saying_why

__all__ = ["exclusive_lock"]

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
"""What systems answer where another process has the lock."""


@contextmanager
def exclusive_lock(path: str, name: str) -> Iterator[None]:
    """Hold the lock of a file that is made for it and is gone afterwards.

    The operating system gives the lock back when a process dies, so that a file left by a
    killed one stands in nobody's way.

    Parameters
    ----------
    path : str
        The file, made with its folder; what it holds says who has the lock, for people.
    name : str
        What is being written, as the user named it.

    Raises
    ------
    DataError
        If another process holds the lock, or the file cannot be made.
    """
    descriptor = _taken(path, name)
    try:
        yield
    finally:
        # Removed while it is still held: who waits with it open sees that it is another file.
        with suppress(OSError):
            os.remove(path)
        os.close(descriptor)


def _taken(path: str, name: str) -> int:
    while True:
        with saying_why(name):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                continue  # whoever had it removed the folder in between
        try:
            with saying_why(name):
                free = _lock(descriptor)
        except DataError:
            os.close(descriptor)
            raise
        if not free:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise DataError(
                name,
                "",
                f"is being written by {holder or 'another process'}; wait for it, or write to "
                "another file",
            )
        if _still_there(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return descriptor
        os.close(descriptor)  # its last holder removed it in between


def _still_there(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    """Whether the lock could be had at once; an error where the file system has no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # far beyond the text, which others are to read
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as reason:
        if reason.errno in _HELD:
            return False
        raise
    return True
