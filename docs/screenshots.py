"""The screenshots and figures of `docs/report.md`, made anew.

`python -m docs.screenshots` runs the shipped benchmark `fashion` with every method, renders its
report, and photographs it in a headless Chromium: on a desktop, on a phone, and in the dark.
`python -m docs.screenshots RESULTS.json` takes a results file instead.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.browser import chromium
from ood_toolkit.report import figures, render

__all__ = ["FIGURES", "SHOTS", "Shot", "main", "take"]

STATIC = Path(__file__).with_name("_static")
COLORS = 256
FIGURES = ("leaderboard-near", "curves-held_out_classes", "risk-coverage", "cost")
"""Of matplotlib's, those that the page shows."""


@dataclass(frozen=True)
class Shot:
    """One photograph: its name, the window, the colours, and what is scrolled into view."""

    name: str
    width: int
    height: int
    dark: bool = False
    at: str = ""


SHOTS = (
    Shot("report-desktop", 1280, 1000),
    Shot("report-curves", 1280, 900, at="#detail"),
    Shot("report-overall", 1280, 820, at="#overall"),
    Shot("report-dark", 1280, 900, dark=True, at="#detail"),
    Shot("report-phone", 390, 844),
    Shot("report-phone-curves", 390, 844, dark=True, at="#detail-pairs"),
)


def take(page_file: Path, shots: tuple[Shot, ...], save: Callable[[str, bytes], None]) -> None:
    """Photograph a page; `save` gets each shot's name and PNG file."""
    with chromium() as browser:
        for shot in shots:
            context = browser.new_context(
                viewport={"width": shot.width, "height": shot.height},
                device_scale_factor=2 if shot.width < 500 else 1,
                color_scheme="dark" if shot.dark else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(page_file.as_uri())
            if shot.at:
                page.evaluate("at => document.querySelector(at).scrollIntoView()", shot.at)
            save(shot.name, page.screenshot())
            context.close()


def small(png: bytes) -> bytes:
    """The same picture with a palette of 256 colours."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    file = io.BytesIO()
    image.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


def _results() -> Mapping[str, Any]:
    """Those of the file that was named, or of the shipped benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fashion.json"
        if len(sys.argv) > 1:
            path = Path(sys.argv[1])
        else:
            tool = Path(sys.executable).with_name("ood-toolkit")
            command = [tool, "benchmark", "fashion", "--json-out", path]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return document


def main() -> None:
    """Write every picture into `docs/_static`."""
    results = _results()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(render(results), encoding="utf-8")
        take(page, SHOTS, lambda name, png: _keep(name, small(png)))
    drawn = figures.all_figures(results)
    for name in FIGURES:
        _keep(f"figure-{name.replace('_', '-')}", small(figures.to_bytes(drawn[name], "png")))


def _keep(name: str, png: bytes) -> None:
    (STATIC / f"{name}.png").write_bytes(png)
    print(f"{name}: {len(png) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
