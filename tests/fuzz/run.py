"""Fuzz every target for a share of the given time: ``python -m tests.fuzz.run --seconds 600``.

Prints a line a target; exits 1 if a file raised anything but DataError, crashed the process,
took longer than 20 seconds or more memory than the limit.  Such files are kept in
``fuzz-artifacts/``.  New files that reach new code go to a scratch corpus, from which
``--keep`` adds the smallest set to the committed one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.seeds import CORPUS
from tests.fuzz.targets import TARGETS

MEMORY = 2048
"""MiB that a process may have resident; a reader's own libraries take up to 600 of them."""

LONGEST = 1 << 16
"""Bytes of the longest file tried."""


def fuzz(name: str, seconds: int, artifacts: Path, keep: bool) -> tuple[str, int, int, int]:
    """Run one target: its name, executions, peak MiB and exit status."""
    # libFuzzer puts what it finds into the first folder it is given
    found = Path(tempfile.mkdtemp(prefix=f"ood-corpus-{name}-"))
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.one",
        name,
        str(found),
        str(CORPUS / name),
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-timeout=120",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={artifacts}/{name}-",
        "-print_final_stats=1",
    ]
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet)
    log = artifacts / f"{name}.log"
    log.write_text(run.stdout + run.stderr)
    executions = _statistic(run.stderr, "number_of_executed_units")
    if keep and run.returncode == 0:
        merge(name, found)
    return name, executions, _statistic(run.stderr, "peak_rss_mb"), run.returncode


def merge(name: str, found: Path) -> None:
    """Add to the committed corpus the fewest small files that reach more code."""
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(CORPUS / name), str(found)]
    subprocess.run([*command, "-merge=1", "-max_len=4096"], check=True, capture_output=True)


def _statistic(log: str, name: str) -> int:
    match = re.search(rf"stat::{name}:\s+(\d+)", log)
    return int(match[1]) if match else 0


def main() -> int:
    """Fuzz and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", action="store_true", help="add what was found to the corpus")
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    given = parser.parse_args()
    artifacts = Path("fuzz-artifacts")
    artifacts.mkdir(exist_ok=True)
    each = max(1, given.seconds * given.jobs // len(given.targets))
    with ThreadPoolExecutor(given.jobs) as pool:
        runs = [pool.submit(fuzz, n, each, artifacts, given.keep) for n in given.targets]
        results = [run.result() for run in runs]
    print(f"{'target':<16}{'executions':>12}{'peak MiB':>10}  outcome")
    for name, executions, peak, status in results:
        outcome = "clean" if status == 0 else f"FAILED, see {artifacts}/{name}.log"
        print(f"{name:<16}{executions:>12,}{peak:>10,}  {outcome}")
    return int(any(status for *_, status in results))


if __name__ == "__main__":
    sys.exit(main())
