"""The documentation is current, complete and true: what it shows is run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numpydoc.validate import validate

import ood_toolkit
from docs.generate import derived
from docs.readme_output import FILES, agree, console_output, python_failures
from docs.reference_pages import constant_docstring, is_data, public_modules, public_objects
from ood_toolkit.detectors import registered
from ood_toolkit.errors import ToolkitError

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
ENTRIES = [entry for entries in public_objects().values() for entry in entries]
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(ood_toolkit.__path__, "ood_toolkit.")
)


@pytest.mark.parametrize("path", list(derived()), ids=str)
def test_a_derived_file_is_current(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert text == derived()[path], f"{path} is out of date; run `make generated`"


def test_every_public_object_is_in_the_reference() -> None:
    listed = set()
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        for name in re.findall(r"^\.\. (?:auto\w+|py:data):: (\S+)$", page.read_text(), re.M):
            module, _, attribute = name.rpartition(".")
            listed.add(id(getattr(importlib.import_module(module), attribute)))
    assert len(listed) > 100
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, ModuleType) and not name.startswith("__"):
                assert id(value) in listed, f"{module.__name__}.{name}"


def test_every_detector_is_public() -> None:
    for row in registered():
        assert getattr(ood_toolkit, row.detector.__name__) is row.detector


# Codes of numpydoc: see https://numpydoc.readthedocs.io, "Validation".
ALWAYS = {"GL06", "GL07", "GL08", "SS01", "SS03", "SS04", "SS06", "PR02"}
"""A one-line sentence; known sections in order; no parameter that does not exist."""
CALLED = {"PR01", "RT01"}
"""Every parameter and what is returned."""
SHOWN = {"EX01"}
"""An example."""


def wanted(path: str, value: Any) -> set[str]:
    """What the docstring of a public object must have, by how it is used."""
    module = path.rpartition(".")[0]
    if inspect.isfunction(value):
        user = module in ("ood_toolkit", "ood_toolkit.metrics", "ood_toolkit.datasets")
        return ALWAYS | CALLED | SHOWN if user else ALWAYS
    built = module == "ood_toolkit" and not issubclass(value, ToolkitError | Warning)
    return ALWAYS | {"PR01"} | SHOWN if built else ALWAYS


@pytest.mark.parametrize(("path", "value"), ENTRIES, ids=[path for path, _ in ENTRIES])
def test_a_public_object_is_documented(path: str, value: Any) -> None:
    if is_data(value):
        assert constant_docstring(path)
        return
    found = [f"{code} {text}" for code, text in validate(path)["errors"]]
    assert [error for error in found if error[:4] in wanted(path, value)] == []


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_examples_are_found() -> None:
    found = [doctest.DocTestFinder().find(importlib.import_module(name)) for name in MODULES]
    assert sum(bool(test.examples) for tests in found for test in tests) > 60


# What pages link to and call


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = set(re.findall(r"^\(([\w-]+)\)=$", text, re.M))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://")) and target not in anchors:
            assert (page.parent / target.partition("#")[0]).exists(), target
    for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([\w/-]+)>?`", text):
        assert any((page.parent / f"{target}{suffix}").exists() for suffix in (".md", ".rst"))


def test_every_page_is_in_the_contents() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = {
        line
        for contents in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
        for line in contents.split("\n")
        if line and not line.startswith(":")
    }
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert listed == pages | {"api/index"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    from ood_toolkit_cli.commands import load

    blocks = re.findall(r"^```.*?^```", page.read_text(encoding="utf-8"), re.M | re.S)
    shell = "\n".join(blocks).replace("\\\n", " ")
    for called, rest in re.findall(r"ood-toolkit ([a-z]+)([^|&;\n`]*)", shell):
        command = load(called)
        options = {name for parameter in command.params for name in parameter.opts}
        for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", rest):
            assert option in options | {"--help"}, f"ood-toolkit {called} {option}"


def test_make_targets_exist() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), re.M):
            assert re.search(rf"^{target}:", made, re.M), f"{page.name}: make {target}"


HELP = """
import sys
from ood_toolkit_cli.main import main
sys.argv = ["ood-toolkit", *sys.argv[1:]]
try:
    main()
finally:
    loaded = {"numpy", "numba", "scipy", "sklearn", "torch"} & set(sys.modules)
    assert not loaded, loaded
"""


def command_names() -> list[str]:
    from ood_toolkit_cli.group import cli

    return ["", *cli.commands]


@pytest.mark.parametrize("command", command_names())
def test_help_is_quick(command: str) -> None:
    """It exits 0 and loads no numerical library."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, *command.split(), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


# The README, run as written

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: holds what the README's commands read, and may be written to."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_numbers_are_compared_to_the_last_digit() -> None:
    assert agree("msp 91.24\n", " msp 91.23")
    assert agree("[-1.5, 2.0000000001]", "[-1.5, 2.0000000000]")
    assert not agree("msp 91.25", "msp 91.23")
    assert not agree("msp 91.23 1", "msp 91.23")
    assert not agree("msp -91.23", "msp 91.23")
    assert not agree("rows 8001", "rows 8000")


def test_the_readme_shell_sessions(workplace: Path) -> None:
    sessions = 0
    for command, said, printed in console_output(README, workplace):
        assert agree(said, printed), f"$ {command}\n{said}"
        sessions += 1
    assert sessions >= 6


def test_the_readme_has_a_benchmark_of_five_lines() -> None:
    ((name, content),) = FILES.findall(README)
    assert f"benchmark {name}" in README
    assert content.count("\n") == 5


def test_the_readme_python_sessions(workplace: Path) -> None:
    assert README.count(">>> ") >= 12
    assert python_failures(README) == ""


def test_readme_says_which_python() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = typing.cast(str, project["requires-python"]).removeprefix(">=")
    assert f"Python {needed} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (needed, project["license"]) == ("3.11", "BSD-3-Clause")
