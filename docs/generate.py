"""Write every file that is derived from the catalogue, the docstrings and the benchmarks.

`python -m docs.generate` writes them; with `--check` it writes nothing, names the files that
are out of date, and leaves with status 1 if there are any.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from docs.exports import exports, load_every_detector, places_module
from docs.methods_page import methods_page, names_module, readme
from docs.peers_page import peers_page
from docs.performance_page import performance_page
from docs.reference_pages import reference_pages

__all__ = ["ROOT", "derived", "main"]

ROOT = Path(__file__).parents[1]
EXPORTS = (Path("ood_toolkit/__init__.pyi"), Path("ood_toolkit/detectors/__init__.pyi"))


def derived() -> dict[Path, str]:
    """What each derived file should hold, by its path from the root of the checkout."""
    load_every_detector()
    files = {
        Path("ood_toolkit/detectors/places.py"): places_module(),
        Path("docs/methods.md"): methods_page(),
        Path("docs/performance.md"): performance_page(),
        Path("docs/peers.md"): peers_page(),
        Path("cli/names.py"): names_module(),
        Path("README.md"): readme((ROOT / "README.md").read_text(encoding="utf-8")),
    }
    files |= {Path("docs/api") / name: text for name, text in reference_pages().items()}
    files |= {path: exports((ROOT / path).read_text(encoding="utf-8")) for path in EXPORTS}
    return files


def stale() -> list[Path]:
    """Derived files that differ from what they should hold, and reference pages left over."""
    wanted = derived()
    changed = [path for path, text in wanted.items() if _read(ROOT / path) != text]
    present = {path.relative_to(ROOT) for path in (ROOT / "docs" / "api").glob("*.rst")}
    return sorted([*changed, *(present - wanted.keys())])


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or check them; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if stale")
    check = parser.parse_args(arguments).check
    paths, wanted = stale(), derived()
    for path in paths:
        if check:
            print(f"{path}: out of date; run `make generated`", file=sys.stderr)
        elif path in wanted:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(wanted[path], encoding="utf-8")
            print(f"wrote {path}")
        else:
            (ROOT / path).unlink()
            print(f"removed {path}")
    if not check and set(paths) & set(EXPORTS):
        # what has become public belongs in the reference: a new process sees it
        return subprocess.call([sys.executable, "-m", "docs.generate"], cwd=ROOT)
    return int(check and bool(paths))


if __name__ == "__main__":
    sys.exit(main())
