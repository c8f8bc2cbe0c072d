"""What a command loads before it works: start-up is most of what a small command takes."""

from __future__ import annotations

import gc
import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from ood_toolkit_cli.commands import HEADINGS, load
from ood_toolkit_cli.examples import EXAMPLES
from ood_toolkit_cli.startup import loading, settle_click_version

from tests.cli.running import TOOL, tool

LOADED = """
import sys
from ood_toolkit_cli.main import main
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print(*sys.modules, file=sys.stderr)
"""
HEAVY = {
    "torch", "sklearn", "pyarrow", "h5py", "zarr", "pandas", "matplotlib", "onnx", "faiss", "dask",
}  # fmt: skip


NAMES = [name for commands in HEADINGS.values() for name in commands]
MODULES = {f"ood_toolkit_cli.{name}" for name in NAMES} - {"ood_toolkit_cli.apply"}


def loaded(*arguments: str | Path) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(run.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["--version"]])
def test_help_loads_no_numerical_library(arguments: list[str]) -> None:
    assert not loaded(*arguments) & (HEAVY | {"numpy", "scipy", "numba", "ood_toolkit"})


def test_help_loads_no_command_but_its_own() -> None:
    found = loaded("--help")
    assert not found & (MODULES | {"importlib.metadata", "email", "zipfile"})
    assert loaded("threshold", "--help") & MODULES == {"ood_toolkit_cli.threshold"}


@pytest.mark.parametrize("name", NAMES)
def test_the_line_of_a_command_is_its_own(name: str) -> None:
    line = next(commands[name] for commands in HEADINGS.values() if name in commands)
    command = load(name)
    assert command.name == name
    assert command.help is not None
    first = inspect.cleandoc(command.help).split("\n\n")[0]
    assert line == first.replace("\n", " ")


@pytest.mark.parametrize("name", NAMES)
def test_help_explains_every_option_and_ends_with_an_example_that_parses(name: str) -> None:
    command = load(name)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert "[default" not in parameter.help  # which rich would take for a style
    tool_name, called, *arguments = EXAMPLES[name].split()
    assert (tool_name, called) == ("ood-toolkit", name)
    with command.make_context(name, arguments):
        pass
    shown = "".join(tool(name, "--help").out.split())
    assert shown.endswith("Example:`" + EXAMPLES[name].replace(" ", "") + "`")


def test_every_command_is_announced() -> None:
    package = Path(inspect.getfile(load)).parent
    commands = {
        value.name
        for path in package.glob("*.py")
        if f"ood_toolkit_cli.{path.stem}" in MODULES
        or "@click.command" in path.read_text(encoding="utf-8")
        for value in vars(sys.modules[_imported(path.stem)]).values()
        if isinstance(value, click.Command)
    }
    assert commands == set(NAMES)


def _imported(stem: str) -> str:
    name = f"ood_toolkit_cli.{stem}"
    __import__(name)
    return name


def test_click_is_told_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(click), "__version__", raising=False)
    settle_click_version()
    assert vars(click)["__version__"] == version("click")


def test_garbage_is_looked_for_while_a_command_works(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    with loading():
        assert not gc.isenabled()
    monkeypatch.setattr(load("methods"), "callback", lambda **_: seen.append(gc.isenabled()))
    assert tool("methods").status == 0
    assert seen == [True]
    assert gc.isenabled()


def test_scoring_an_npz_file_loads_only_what_it_needs(files: Path) -> None:
    found = loaded("score", files / "logits.npz", "-m", "msp,energy")
    assert {"numpy", "numba"} <= found
    assert "ood_toolkit.distributed.tasks" not in found
    assert found & MODULES == {"ood_toolkit_cli.score"}
    # numba itself loads the empty front of scipy; nothing behind it may come
    own = {"scipy.linalg", "scipy.stats", "scipy.optimize", "scipy.special", "scipy.spatial"}
    assert not found & (HEAVY | own | {"safetensors", "rich"})


def test_listing_and_measuring_load_no_framework(files: Path) -> None:
    found = loaded("evaluate", "--id", files / "test.npz", "--ood", f"a={files / 'far.npz'}",
                   "--train", files / "train.npz", "-m", "energy,mahalanobis,vim",
                   "--bootstrap", "20")  # fmt: skip
    assert not found & HEAVY


def test_shell_completion_suggests_methods() -> None:
    environment = os.environ | {
        "_OOD_TOOLKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": "ood-toolkit score -m energy,ma",
        "COMP_CWORD": "3",
    }
    run = subprocess.run([TOOL], env=environment, capture_output=True, text=True, check=True)
    words = [line.split(",", 1)[1] for line in run.stdout.splitlines()]
    assert "energy,mahalanobis" in words
    assert all(word.startswith("energy,ma") for word in words)
