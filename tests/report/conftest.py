"""Pages opened in a headless Chromium, which must neither complain nor ask a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.browser import chromium, find_chromium
from ood_toolkit.report import render
from tests.report.documents import document

Opener = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if find_chromium() is None:
        pytest.skip("needs chromium")
    with chromium() as driven:
        yield driven


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(document()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opener]:
    """Opens a page; afterwards nothing may stand on its console or have left for a network."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(path: Path = report, **options: Any) -> Any:
        context = browser.new_context(**{"reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        asked[:] = [url for url in asked if url != path.as_uri() and not url.startswith("data:")]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == []
