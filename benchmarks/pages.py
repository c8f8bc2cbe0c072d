"""The parts of documentation pages that benchmarks write."""

from __future__ import annotations

from pathlib import Path

__all__ = ["markers", "put"]


def markers(name: str) -> tuple[str, str]:
    """Between which a benchmark's part of a page stands."""
    return f"<!-- begin: benchmarks.{name} -->", f"<!-- end: benchmarks.{name} -->"


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of a benchmark in a page."""
    begin, end = markers(name)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")
