"""The output of long runs that pages show: run again and pasted anew.

`python -m docs.long_output PAGE ...` runs every `$` command in the `console` blocks of the pages
from the root of the checkout and puts what they print in place of what stands there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs.readme_output import console_output

__all__ = ["main", "pasted"]

ROOT = Path(__file__).parents[1]


def pasted(text: str, folder: Path) -> str:
    """The text with the output that its commands have in a folder."""
    for command, said, printed in list(console_output(text, folder)):
        text = text.replace(f"$ {command}\n{printed}", f"$ {command}\n{said}", 1)
    return text


def main(pages: list[str]) -> int:
    """Paste the output into each page."""
    for page in pages:
        path = Path(page)
        path.write_text(pasted(path.read_text(encoding="utf-8"), ROOT), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
