"""The command line on a small file: time from start to exit, and what it imports."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.results import Case
from benchmarks.timing import interleaved

__all__ = ["cases"]

PROGRAM = Path(sys.executable).with_name("ood-toolkit")
HEAVY = ("torch", "sklearn")
START = "import sys; sys.argv[0] = 'ood-toolkit'; from ood_toolkit_cli.main import main; main()"


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """`--help` and `score`, with compiled kernels in their cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outputs.npz"
        np.savez(path, logits=np.random.default_rng(0).standard_normal((200, 10), np.float32))
        commands = {
            "--help": ["--help"],
            "score": ["score", str(path), "-m", "energy,msp", "-o", "-"],
        }
        bare = {"python": _runner([sys.executable, "-c", "pass"])}
        calls = {name: _runner([str(PROGRAM), *rest]) for name, rest in commands.items()}
        seconds = interleaved(bare | calls, rounds)
        for name, rest in commands.items():
            modules = _imports(rest)
            heaviest = Counter(modules).most_common(5)
            told = ", ".join(f"{package} {ms:.0f} ms" for package, ms in heaviest)
            yield Case(
                name,
                "" if name == "--help" else "200 × 10 float32, energy and msp",
                {"ours": seconds[name], "python": seconds["python"]},
                {
                    "imports, ms": [sum(modules.values())],
                    "of torch and scikit-learn, ms": [sum(modules.get(m, 0.0) for m in HEAVY)],
                },
                notes=[f"importtime of the largest: {told}"],
            )


def _runner(command: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _imports(arguments: list[str]) -> dict[str, float]:
    """Milliseconds that each package's modules take, as `python -X importtime` says."""
    command = [sys.executable, "-X", "importtime", "-c", START, *arguments]
    done = subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    packages: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|") if "|" in line else ("",) * 3
        if own.strip().isdecimal():
            packages[name.strip().split(".")[0]] += int(own) / 1000
    return dict(packages)
