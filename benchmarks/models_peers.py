"""Methods that need a model, beside pytorch-ood 0.4.0 on the same model, device and loader.

    python -m benchmarks.models_peers [--rounds 3] [--only WORD ...] [--out docs/models-peers.inc]

Runs in the environment that `make peers` builds.  Prints for each method Spearman's correlation
of the scores, the seconds of both and their ratio, and writes a Markdown table.  Status 1 says
that a correlation is not above 0.9999 and no reason is given, or that the peer was quicker.  A row
with a round in which both took nearly the same is measured in seven times as many.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from scipy.stats import spearmanr

from benchmarks.distance_pairs import from_features, through_a_model
from benchmarks.gradient_pairs import gradients, moved_inputs
from benchmarks.map_pairs import gram, rank_feat
from benchmarks.model_pairs import Pair
from benchmarks.peers import library, limit_threads, versions
from benchmarks.results import Spread, magnitude, spread
from benchmarks.tables import duration
from benchmarks.timing import interleaved

TABLE = Path(__file__).parents[1] / "docs" / "models-peers.inc"
AGREES = 0.9999
NEAR, MORE = 1.2, 7
"""Where a round's ratio is nearer to 1, so many times as many rounds are run."""
HEAD = ("method", "what", "Spearman", "ours", "pytorch-ood", "pytorch-ood / ours", "")
GROUPS = (moved_inputs, gradients, from_features, through_a_model, rank_feat, gram)


def main(arguments: list[str] | None = None) -> int:
    """Compare, print, write; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="other rows stay as they were"
    )
    parser.add_argument("--out", type=Path, default=TABLE)
    chosen = parser.parse_args(arguments)
    limit_threads()
    if not library("torch") or not library("pytorch_ood"):
        raise SystemExit("needs torch and pytorch-ood: run it in the environment of `make peers`")
    peer = library("pytorch_ood").detector
    warnings.simplefilter("ignore")
    rows, bad = [], []
    for group in GROUPS:
        for pair in group(peer):
            if chosen.only and not any(w in f"{pair.method}, {pair.what}" for w in chosen.only):
                continue
            row, failed = _compared(pair, chosen.rounds)
            rows.append(row)
            print("  ".join(row), flush=True)
            if failed:
                bad.append(f"{pair.method}, {pair.what}: {failed}")
    if chosen.only:
        rows = _merged(chosen.out, rows)
    found = versions()
    told = ", ".join(f"{name} {found[name]}" for name in ("pytorch-ood", "torch", "ood_toolkit"))
    text = "\n".join("| " + " | ".join(row) + " |" for row in (HEAD, ("---",) * len(HEAD), *rows))
    measured = f"Measured with {told}, on the CPU, two threads: medians, and the range of ratios."
    chosen.out.write_text(f"{text}\n\n{measured}\n", encoding="utf-8")
    for line in bad:
        print(line, file=sys.stderr)
    return int(bool(bad))


def _merged(path: Path, rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of a table that stands there, those measured now in their places."""
    lines = path.read_text(encoding="utf-8").splitlines()[2:] if path.exists() else []
    cells = (tuple(part.strip() for part in line.split("|")[1:-1]) for line in lines)
    table = {row[:2]: row for row in (*filter(None, cells), *rows)}
    return list(table.values())


def _compared(pair: Pair, rounds: int) -> tuple[tuple[str, ...], str]:
    """A row of the table, and what is wrong with it."""
    ours, theirs = pair.ours(), pair.theirs().detach()
    rank = float(spearmanr(ours, -theirs.double().numpy()).statistic)
    seconds, ratios = _timed(pair, rounds)
    if ratios.least < NEAR and ratios.most > 1 / NEAR:
        seconds, ratios = _timed(pair, MORE * rounds)
    reason = pair.reason(theirs) if pair.reason and rank <= AGREES else ""
    failed = ""
    if rank <= AGREES and not reason:
        failed = f"Spearman {rank:.6f}"
    if pair.waits:
        reason = "the network takes nearly all of both"
    elif ratios.median < 1:
        failed += f" ratio {ratios}"
    row = (
        pair.method, pair.what, f"{rank:.6f}",
        *(duration(spread(seconds[name]).median) for name in ("ours", "theirs")),
        f"{magnitude(ratios.median)} ({magnitude(ratios.least)} … {magnitude(ratios.most)})",
        reason,
    )  # fmt: skip
    return row, failed


def _timed(pair: Pair, rounds: int) -> tuple[dict[str, list[float]], Spread]:
    """Seconds of both, and how many times longer the peer took, round by round."""
    seconds = interleaved({"ours": pair.ours, "theirs": pair.theirs}, rounds)
    return seconds, spread(b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=False))


if __name__ == "__main__":
    sys.exit(main())
