"""The output that the README shows: run again, compared, and pasted anew.

`python -m docs.readme_output` runs every `$` command and every `>>>` line of the README in a
temporary folder and puts what they print in place of what stands there.  The tests run the same
and compare.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["FILES", "agree", "console_output", "main", "python_failures"]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONSOLE = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"(?<=^```pycon\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
FILES = re.compile(r"`([\w-]+\.toml)`:\n\n```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+\.\d+")


def agree(said: str, printed: str) -> bool:
    """Equal but for white space, and decimals that differ by one in the last digit or by 1e-9.

    Another BLAS, or another processor, rounds a last bit otherwise.
    """
    if NUMBER.sub("#", said).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(said), NUMBER.findall(printed), strict=True)
    return all(
        abs(float(a) - float(b)) <= max(1.001 * 10.0 ** -len(b.partition(".")[2]), 1e-9 * float(b))
        for a, b in pairs
    )


def console_output(text: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Run each `$` command of a text: the command, what it says, and what the text shows.

    Files that the text shows, a block of TOML after its name, lie in the folder.
    """
    for name, content in FILES.findall(text):
        (folder / name).write_text(content, encoding="utf-8")
    unwanted = ("FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS")
    environment = {key: value for key, value in os.environ.items() if key not in unwanted}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for block in CONSOLE.findall(text):
        for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, printed = re.split(r"(?<!\\)\n", session, maxsplit=1)
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"$ {command}\nstatus {done.returncode}\n{done.stdout}")
            said = done.stdout.strip("\n")
            yield command, said + "\n" if said else "", printed


class _Agreeing(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return agree(got, want)


class _Pasting(doctest.DocTestRunner):
    """Collects what each example prints."""

    def __init__(self) -> None:
        super().__init__(checker=_Agreeing(), verbose=False)
        self.said: dict[int, str] = {}

    def report_success(self, out, test, example, got):
        """Called for an example whose output agrees."""
        self.said[example.lineno] = got

    def report_failure(self, out, test, example, got):
        """Called for an example whose output differs."""
        self.said[example.lineno] = got
        super().report_failure(out, test, example, got)


def _python_blocks(text: str, said: list[str]) -> Iterator[tuple[str, str]]:
    """Each `>>>` block, and the same with the output it has now; one session for all of them."""
    names: dict[str, object] = {}
    for number, block in enumerate(PYTHON.findall(text)):
        runner = _Pasting()
        test = doctest.DocTestParser().get_doctest(block, names, f"block {number}", "README.md", 0)
        failed, _ = runner.run(test, out=said.append, clear_globs=False)
        names = test.globs
        if failed:
            yield (
                block,
                "".join(
                    _prompted(example.source) + runner.said.get(example.lineno, "")
                    for example in test.examples
                ),
            )


def _prompted(source: str) -> str:
    first, *rest = source.splitlines(keepends=True)
    return ">>> " + first + "".join(f"... {line}" for line in rest)


def python_failures(text: str) -> str:
    """What doctest says of the `>>>` lines of a text whose output differs; run in the cwd."""
    said: list[str] = []
    list(_python_blocks(text, said))
    return "".join(said)


def main() -> None:
    """Paste the output of every session into the README."""
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "data", Path(folder) / "data")
        os.chdir(folder)
        for command, said, printed in list(console_output(text, Path(folder))):
            if not agree(said, printed):
                blank = "\n" if printed.endswith("\n\n") or printed == "\n" else ""
                text = text.replace(f"$ {command}\n{printed}", f"$ {command}\n{said}{blank}", 1)
        for before, after in list(_python_blocks(text, [])):
            text = text.replace(before, after, 1)
        os.chdir(ROOT)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
