"""Runs subjects one after the other, prints them, and keeps what was measured."""

from __future__ import annotations

import gc
import importlib
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.peers import installed, versions
from benchmarks.results import Case, Report, Subject, read_report, write_report
from benchmarks.tables import CASE_HEAD, VERDICT_HEAD, aligned, case_rows, verdict_rows
from benchmarks.targets import verdicts

__all__ = ["SUBJECTS", "machine", "run"]

SUBJECTS = (
    "energy",
    "fused",
    "latency",
    "mahalanobis",
    "neighbors",
    "ranking",
    "files",
    "commands",
    "accuracy",
    "head_methods",
    "vim",
)
"""Modules of this package with a function `cases(scale, rounds)`."""

PEERS = ("scipy", "torch", "pytorch_ood", "jax", "sklearn", "faiss", "mpmath")


def run(
    subjects: Sequence[str], scale: str, rounds: int, results: Path | None, *, publish: bool
) -> Report:
    """Measure subjects and print them; write `results` after each, and publish the page.

    Raises
    ------
    SystemExit
        If only a part of `results` would be replaced, and the rest was measured on another
        machine, with other versions or at another scale.
    """
    report = _begun(results, scale, set(subjects) >= set(SUBJECTS))
    print("; ".join(f"{key} {value}" for key, value in (report.machine | report.versions).items()))
    for name in (peer for peer in PEERS if not installed(peer)):
        print(f"not installed, left out: {name}")
    for name in subjects:
        report.subjects[name] = _measured(name, scale, rounds)
        report.subjects = {s: report.subjects[s] for s in SUBJECTS if s in report.subjects}
        if results:
            write_report(report, results)
    new = replace(report, subjects={name: report.subjects[name] for name in subjects})
    print("" if scale == "full" else "\nThe bars are meant for full scale.\n")
    print(aligned(VERDICT_HEAD, verdict_rows(verdicts(new))))
    if publish and results is not None:
        _publish(read_report(results))  # of the numbers as they are kept, to four digits
    return report


def machine() -> dict[str, str]:
    """What the figures depend on, without the name of the machine."""
    facts = {"processor": platform.processor() or platform.machine()}
    cpu, memory = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpu.exists():
        lines = cpu.read_text(encoding="utf-8", errors="replace").splitlines()
        about = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
        facts["processor"] = about.get("model name", facts["processor"])
        wide = [name for name in ("avx2", "avx512f") if name in about.get("flags", "").split()]
        facts["vectors"] = wide[-1] if wide else "narrow"
    facts["processors"] = str(os.cpu_count())
    if memory.exists():
        kilobytes = int(memory.read_text(encoding="ascii").split()[1])
        facts["memory"] = f"{kilobytes / 2**20:.0f} GiB"
    facts["system"] = f"{platform.system()} {platform.machine()}"
    facts["Python"] = platform.python_version()
    return facts


def _begun(results: Path | None, scale: str, everything: bool) -> Report:
    """An empty report, or the one whose other parts stay."""
    report = Report(scale, machine(), versions(), {})
    if results is None or everything or not results.exists():
        return report
    earlier = read_report(results)
    if replace(earlier, subjects={}) != report:
        raise SystemExit(
            f"{results} was measured on another machine, with other versions or at another scale: "
            "run every subject, or name another file with --json"
        )
    return earlier


def _measured(name: str, scale: str, rounds: int) -> Subject:
    """Run one subject, printing each case when it is done."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"\n{name} ({rounds} rounds, {scale} scale; load of the machine before: {load:.1f})")
    cases: list[Case] = []
    for case in importlib.import_module(f"benchmarks.{name}").cases(scale, rounds):
        gc.collect()
        print(f"\n  {case.name}: {case.size}".rstrip(": "))
        print(aligned(CASE_HEAD, case_rows(case), "    "))
        for note in case.notes:
            print(f"    {note}")
        cases.append(case)
    return Subject(rounds, load, cases)


def _publish(report: Report) -> None:
    """Write the page, and the plot where matplotlib is installed."""
    from docs.performance_page import PAGE, performance_page

    PAGE.write_text(performance_page(report), encoding="utf-8")
    print(f"\nwrote {PAGE.name}")
    if "energy" not in report.subjects:
        return
    if installed("matplotlib"):
        from benchmarks.roofline import PLOT, draw

        draw(report, PLOT)
        print(f"wrote {PLOT.name}")
    else:
        print("matplotlib is not installed: the plot was not drawn anew")
