"""`ood-toolkit report`, and the options of other commands that draw what they found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import rich_click as click

from .console import print_json
from .options import print_options, talking
from .outputs import check_outputs
from .paired import results_file

__all__ = ["ReportFiles", "report", "report_options", "results_text"]

DRAWN = ("png", "svg")


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where a page and figures go; None where none is asked for."""

    html: str | None = None
    png: str | None = None
    svg: str | None = None
    figures: str | None = None

    def __bool__(self) -> bool:
        return any(self.written())

    def named(self) -> list[str]:
        """The files among what is written."""
        return [path for path in (self.html, self.png, self.svg) if path is not None]

    def written(self) -> list[str]:
        """Files and folders, each by the name the user gave."""
        return [path for path in self.options().values() if path is not None]

    def options(self) -> dict[str, str | None]:
        """The same by the options that they are given with."""
        return {f"--{name}": getattr(self, name) for name in ("html", "png", "svg", "figures")}

    def check(self) -> None:
        """Refuse, before any work, what a missing library would refuse after it."""
        if self.html is not None:
            from ood_toolkit.report.page import require_jinja2

            require_jinja2()
        if self.png or self.svg or self.figures:
            from ood_toolkit.report.drawing import require_matplotlib

            require_matplotlib()

    def write(self, document: Mapping[str, Any], *, title: str = "") -> None:
        """Draw a results document."""
        from ood_toolkit.io import atomic_write
        from ood_toolkit.io.gate import printable
        from ood_toolkit.report import figures, render

        if self.html is not None:
            with atomic_write(self.html) as file:
                file.write(render(document, title=printable(title)).encode())
        for kind in DRAWN:
            path = getattr(self, kind)
            if path is not None:
                with atomic_write(path) as file:
                    file.write(figures.to_bytes(figures.leaderboard_figure(document), kind))
        if self.figures is not None:
            _write_all(document, self.figures)


def _write_all(document: Mapping[str, Any], folder: str) -> None:
    """Every figure of a document, by its name, in both formats."""
    import os

    from ood_toolkit.io import atomic_write
    from ood_toolkit.report import figures

    os.makedirs(folder, exist_ok=True)
    taken: set[str] = set()
    for name, figure in figures.all_figures(document).items():
        # names of sets are the user's: one that is no file name must not leave the folder,
        # and two that differ in what a file name cannot hold are two files
        plain = once = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        number = 2
        while plain.lower() in taken:
            plain, number = f"{once}-{number}", number + 1
        taken.add(plain.lower())
        for kind in DRAWN:
            with atomic_write(os.path.join(folder, f"{plain}.{kind}")) as file:
                file.write(figures.to_bytes(figure, kind))


def results_text(document: Mapping[str, Any]) -> str:
    """A results document as JSON for a file: a line an entry, but pictures on one line."""
    import json

    told = {key: value for key, value in document.items() if key != "pictures"}
    text = json.dumps(told, indent=1, allow_nan=False)
    if "pictures" in document:
        pictures = json.dumps(document["pictures"], allow_nan=False, separators=(",", ":"))
        text = f'{text[:-2]},\n "pictures": {pictures}\n}}'
    return text + "\n"


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --html, --png, --svg and --figures, which the command gets as `report`."""

    @wraps(command)
    def wrapped(**values: Any) -> Any:
        values["report"] = ReportFiles(
            **{name: values.pop(name) for name in ("html", "png", "svg", "figures")}
        )
        return command(**values)

    for option in (
        click.option(
            "--figures", metavar="DIR", help="Also draw every figure into DIR, as .png and .svg."
        ),
        click.option("--svg", metavar="FILE", help="Also draw the leaderboard as SVG."),
        click.option("--png", metavar="FILE", help="Also draw the leaderboard as PNG."),
        click.option("--html", metavar="FILE", help="Also write the report, one HTML page."),
    ):
        wrapped = option(wrapped)
    return wrapped


@click.command()
@click.argument("results", metavar="RESULTS.json|DIR")
@click.option("-o", "--out", metavar="REPORT.html", help="The page; the same as --html.")
@click.option("--title", default="", help="Heading of the page.")
@report_options
@print_options
def report(
    results: str,
    out: str | None,
    title: str,
    report: ReportFiles,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Draw results of `evaluate` or `benchmark` (--json-out): a page, or figures.

    A folder of --scores-out works too, but its results hold no curves.
    The page is one file with everything in it: it opens without a network, and can be mailed,
    printed, or put on any server.
    """
    from dataclasses import replace

    if out is not None and report.html is not None:
        raise click.UsageError("-o and --html name the same page; give one")
    files = replace(report, html=out or report.html)
    if not files:
        raise click.UsageError("nothing to draw: give -o REPORT.html, --png, --svg or --figures")
    check_outputs(files.options())
    with talking(quiet, verbose) as talk:
        from ood_toolkit.io import refuse_same_file

        source = results_file(results)
        for path in files.named():
            refuse_same_file(path, [source])
        files.check()
        document = _read(source)
        files.write(document, title=title)
        if as_json:
            print_json({"schema": 1, "results": source, "written": files.written()})
            return
        for path in files.written():
            talk.note(f"Written: {path}")


def _read(path: str) -> Any:
    """The document of a results file, checked."""
    from ood_toolkit.errors import DataError, InputError
    from ood_toolkit.evaluation.records import plain
    from ood_toolkit.evaluation.results_file import results_document
    from ood_toolkit.report.results import Results

    document = plain(results_document(path))
    try:
        Results(document)
    except InputError as error:
        raise DataError(path, "", str(error)) from None
    return document
