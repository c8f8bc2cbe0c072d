"""Fuzz one target with atheris until its time is up: ``python -m tests.fuzz.one NAME -- FLAGS``.

The flags are libFuzzer's.  A file that raises anything but DataError ends the run and is kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ood_toolkit", "zarr", "numpy.lib", "zipfile"]):
    import zipfile  # noqa: F401

    import ood_toolkit.io.formats  # noqa: F401
    from tests.fuzz.seeds import CORPUS
    from tests.fuzz.targets import target_named

__all__ = ["main"]


def main() -> None:
    """Run the target named first; what follows goes to libFuzzer."""
    target = target_named(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="ood-fuzz-"))
    # every optional library is loaded before the fuzzer counts what a file costs
    for file in sorted((CORPUS / target.name).iterdir()):
        target.attempt(file.read_bytes(), folder)

    def once(data: bytes) -> None:
        target.attempt(data, folder)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
