"""CONTRIBUTING's first page, followed to the letter in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("contributing")  # one copy serves all

ROOT = Path(__file__).parents[1]
METHOD = "log_odds"
COPIED = ("ood_toolkit", "tests", "docs", "cli", "benchmarks")
STEP = re.compile(r"^Append to `([^`]+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EXAMPLES = """
import doctest
from ood_toolkit.detectors import probability
print(doctest.testmod(probability).failed, "failed")
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with the steps applied and the derived files written."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in COPIED:
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("kernels", "_build")
        )
    # the kernels are not touched, and a link shares their compiled code
    (copy / "ood_toolkit" / "kernels").symlink_to(ROOT / "ood_toolkit" / "kernels")
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, copy / file)
    for path, code in steps():
        with (copy / path).open("a", encoding="utf-8") as file:
            file.write("\n\n" + code)
    run(copy, "-m", "docs.generate")
    return copy


def steps() -> list[tuple[str, str]]:
    return STEP.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def run(tree: Path, *command: str) -> str:
    """Output of Python run in the copy, which must exit 0."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=tree, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_names_three_files() -> None:
    assert [path for path, _ in steps()] == [
        "ood_toolkit/detectors/probability.py",
        "tests/reference/from_logits.py",
        "tests/reference/known.py",
    ]


def test_the_example_is_not_in_the_catalogue_yet() -> None:
    from ood_toolkit.detectors import registered

    assert METHOD not in [row.name for row in registered()]


def test_the_new_method_passes_its_tests(tree: Path) -> None:
    said = run(
        tree,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *("tests/test_catalogue.py", "tests/reference/test_twins.py"),
        *("-k", f"{METHOD} or the_same_methods or has_a_known_answer"),
    )
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 20


def test_the_derived_files_know_it(tree: Path) -> None:
    for file in ("README.md", "docs/methods.md", "cli/names.py"):
        assert METHOD in (tree / file).read_text(encoding="utf-8")
    run(tree, "-m", "docs.generate", "--check")


def test_it_is_public(tree: Path) -> None:
    said = run(tree, "-c", "import ood_toolkit as ood; print(ood.__file__, ood.LogOdds())")
    assert said.split() == [str(tree / "ood_toolkit" / "__init__.py"), "LogOdds()"]


def test_it_is_formatted_typed_and_documented(tree: Path) -> None:
    files = [path for path, _ in steps()] + [
        "cli/names.py",
        "ood_toolkit/__init__.pyi",
        "ood_toolkit/detectors/__init__.py",
    ]
    run(tree, "-m", "ruff", "format", "--check", "--no-cache", *files)
    run(tree, "-m", "ruff", "check", "--no-cache", *files)
    said = run(tree, "-c", EXAMPLES)
    assert said.split() == ["0", "failed"]
