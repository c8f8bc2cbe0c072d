"""Time the toolkit against its peers and the machine's limits; `make bench` runs this.

    python -m benchmarks [SUBJECT...] [--scale full|tiny] [--rounds N] [--json FILE]

Without names every subject is run.  With names only their part of the results is replaced.
At full scale the results are written to docs/performance.json, docs/performance.md and the
plot on that page.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peers import limit_threads
from benchmarks.suite import SUBJECTS, run

ROUNDS = {"full": 7, "tiny": 1}
RESULTS = Path(__file__).parents[1] / "docs" / "performance.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "subjects", metavar="SUBJECT", nargs="*", help=f"of {', '.join(SUBJECTS)}; all if none"
    )
    parser.add_argument("--scale", choices=list(ROUNDS), default="full", help="of the arrays")
    parser.add_argument("--rounds", type=int, help="7 at full scale, 1 at tiny scale")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results are kept")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.subjects if name not in SUBJECTS]
    if unknown:
        parser.error(f"no subject {unknown[0]!r}; there are {', '.join(SUBJECTS)}")
    if given.rounds is not None and given.rounds < 1:
        parser.error(f"--rounds must be 1 or more, got {given.rounds}")
    results = given.json or (RESULTS if given.scale == "full" else None)
    limit_threads()
    run(
        given.subjects or list(SUBJECTS),
        given.scale,
        given.rounds or ROUNDS[given.scale],
        results,
        publish=results == RESULTS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
