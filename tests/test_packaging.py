"""What is packed, and that it works where neither the checkout nor an optional library is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cases import mostly_right

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUP = PROJECT["tool"]["setuptools"]
HOMES = {"ood_toolkit": "ood_toolkit", **SETUP["package-dir"]}
LITTER = ("__pycache__", "*.nbi", "*.nbc", "*.egg-info", ".*")

installed = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]


def folder_of(package: str) -> Path:
    top, *rest = package.split(".")
    return ROOT.joinpath(HOMES[top], *rest)


def packages_on_disk() -> set[str]:
    """Every folder of files, by the name it is installed under.

    Those without modules too: Python could import them, and setuptools warns of what it could.
    """
    found = set()
    for top, folder in HOMES.items():
        for file in (ROOT / folder).rglob("*"):
            parts = file.relative_to(ROOT / folder).parts
            inner = parts[:-1]
            stays = top == "ood_toolkit_data" and inner[:1] == ("build",)  # it makes data
            if file.is_file() and not stays and not is_litter(parts):
                found.add(".".join([top, *inner]))
    return found


def is_litter(parts: tuple[str, ...]) -> bool:
    return any(fnmatch(part, each) for part in parts for each in LITTER)


def test_the_list_of_packages_is_what_is_on_disk() -> None:
    assert set(SETUP["packages"]) == packages_on_disk()


def test_every_file_that_is_no_module_is_packed() -> None:
    """A file forgotten in package-data works in the checkout and is missing from the wheel."""
    for package in SETUP["packages"]:
        top = package.split(".")[0]
        patterns = {each: SETUP["package-data"].get(each, []) for each in (top, package)}
        for path in folder_of(package).iterdir():
            stays = top == "ood_toolkit_data" and path.suffix == ".md"
            if path.is_file() and not (stays or path.suffix == ".py" or is_litter((path.name,))):
                assert any(
                    fnmatch(path.relative_to(folder_of(each)).as_posix(), pattern)
                    for each, found in patterns.items()
                    for pattern in found
                ), path


def test_only_small_libraries_are_required() -> None:
    required = {
        text.split(">")[0].split("=")[0].strip() for text in PROJECT["project"]["dependencies"]
    }
    assert {"numpy", "scipy", "scikit-learn", "numba", "click"} <= required
    assert not required & {"torch", "pyarrow", "h5py", "zarr", "matplotlib", "pandas", "faiss-cpu"}


def test_the_extras_are_those_that_messages_name() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) == {
        "torch", "parquet", "hdf5", "zarr", "onnx", "knn", "report", "risk", "distributed",
        "datasets", "s3", "gcs", "azure", "test", "docs", "all",
    }  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the build reads, so that the checkout stays clean."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in HOMES.values():
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns(*LITTER))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", out, source]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    assert "Package would be ignored" not in run.stdout + run.stderr
    (built,) = out.iterdir()
    return built


class TestWheel:
    pytestmark = installed

    def test_it_holds_every_module_and_nothing_else(self, wheel: Path) -> None:
        names = set(zipfile.ZipFile(wheel).namelist())
        modules = {name for name in names if name.endswith(".py")}
        expected = set()
        for package in SETUP["packages"]:
            place = package.replace(".", "/")
            expected |= {f"{place}/{path.name}" for path in folder_of(package).glob("*.py")}
        assert modules == expected
        tops = {name.split("/")[0] for name in names}
        assert {top for top in tops if not top.endswith(".dist-info")} == set(HOMES)

    def test_it_is_typed_and_licensed(self, wheel: Path) -> None:
        names = zipfile.ZipFile(wheel).namelist()
        assert "ood_toolkit/py.typed" in names
        assert "ood_toolkit/__init__.pyi" in names
        assert sum(name.endswith(("/LICENSE", "/NOTICE")) for name in names) >= 3

    def test_it_carries_the_benchmarks(self, wheel: Path) -> None:
        archive = zipfile.ZipFile(wheel)
        names = set(archive.namelist())
        for folder in ("fashion", "digits"):
            for path in (ROOT / "data" / folder).iterdir():
                name = f"ood_toolkit_data/{folder}/{path.name}"
                assert name in names
                assert archive.getinfo(name).file_size == path.stat().st_size
        assert "ood_toolkit_data/manifest.json" in names
        assert wheel.stat().st_size < 16 << 20

    def test_it_requires_what_the_project_says(self, wheel: Path) -> None:
        archive = zipfile.ZipFile(wheel)
        (info,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        required = [
            line.removeprefix("Requires-Dist: ")
            for line in archive.read(info).decode().splitlines()
            if line.startswith("Requires-Dist: ") and "extra ==" not in line
        ]
        assert len(required) == len(PROJECT["project"]["dependencies"])
        (points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        assert "ood-toolkit = ood_toolkit_cli.main:main" in archive.read(points).decode()


@dataclass(frozen=True)
class Environment:
    """A fresh environment, and an empty folder outside the checkout to work in."""

    folder: Path
    work: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in the empty folder."""
        kept = {"PATH", "HOME", "TMPDIR", "LANG", "http_proxy", "https_proxy"}
        surroundings = {k: v for k, v in os.environ.items() if k in kept or k.startswith("PIP_")}
        words = [self.folder / "bin" / command[0], *command[1:]]
        return subprocess.run(
            words, cwd=self.work, env=surroundings, capture_output=True, text=True, check=False
        )

    def document(self, *command: str | Path) -> Any:
        run = self.run("ood-toolkit", *command)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    def install(self, *what: str | Path) -> None:
        run = self.run("python", "-m", "pip", "install", "--quiet",
                       "--disable-pip-version-check", *what)  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]


@pytest.fixture(scope="module")
def environment(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What `pip install -e` makes, with no extra."""
    made = Environment(tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("work"))
    subprocess.run([sys.executable, "-m", "venv", made.folder], check=True)
    made.install("--editable", source)
    return made


class TestEditableInstall:
    """First, for the wheel then takes its place in the same environment."""

    pytestmark = installed

    def test_it_follows_the_sources(self, environment: Environment, source: Path) -> None:
        text = (
            "import ood_toolkit, ood_toolkit_cli.main, ood_toolkit_data\n"
            "from importlib.util import find_spec\n"
            "print(*[m.__file__ for m in (ood_toolkit, ood_toolkit_cli, ood_toolkit_data)],"
            " find_spec('cli'))"
        )
        run = environment.run("python", "-c", text)
        expected = [source / folder / "__init__.py" for folder in HOMES.values()]
        assert run.stdout.split() == [*map(str, expected), "None"], run.stderr

    def test_it_runs(self, environment: Environment) -> None:
        assert len(environment.document("methods", "--json")) >= 23


@pytest.fixture(scope="module")
def fresh(environment: Environment, wheel: Path) -> Environment:
    """The wheel, in an environment that holds only what it requires."""
    environment.install("--force-reinstall", "--no-deps", wheel)
    train, test, far = (mostly_right(n, seed=s) for n, s in ((200, 1), (60, 2), (50, 3)))
    for name, x, scale in (("train", train, 1.0), ("test", test, 1.0), ("far", far, 0.5)):
        arrays = {"features": scale * x.features, "logits": scale * x.logits, "labels": x.labels}
        np.savez(environment.work / f"{name}.npz", **arrays)
    return environment


class TestFreshInstall:
    """Without torch, and without every other optional library."""

    pytestmark = installed

    def test_no_optional_library_came_along(self, fresh: Environment) -> None:
        run = fresh.run("python", "-c", "import ood_toolkit; print(ood_toolkit.__file__)")
        assert Path(run.stdout.strip()).is_relative_to(fresh.folder)
        text = (
            "from importlib.util import find_spec as f; print([m for m in ('torch', 'pyarrow', "
            "'h5py', 'zarr', 'pandas', 'matplotlib', 'faiss', 'cli', 'tests') if f(m)])"
        )
        run = fresh.run("python", "-c", text)
        assert run.stdout.strip() == "[]", run.stderr

    def test_the_demo_runs_outside_the_checkout(self, fresh: Environment) -> None:
        document = fresh.document("benchmark", "fashion", "--bootstrap", "0", "--json")
        assert document["failed"] == []
        assert {"near", "far"} <= {r["group"] for r in document["results"]}
        methods = {row["name"] for row in fresh.document("methods", "--json")}
        skipped = {s["method"] for s in document["skipped"]}
        assert {r["method"] for r in document["results"]} | skipped == methods
        assert len(methods) >= 23

    def test_score_fit_evaluate_errors_and_info_run(self, fresh: Environment) -> None:
        run = fresh.run("ood-toolkit", "score", "test.npz", "-m", "energy,mahalanobis",
                        "--train", "train.npz", "-o", "scores.csv")  # fmt: skip
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
        header = (fresh.work / "scores.csv").read_text().splitlines()[0]
        assert header == "index,prediction,label,energy,mahalanobis"
        fitted = fresh.document(
            "fit", "train.npz", "-m", "mahalanobis", "--id-val", "test.npz", "--tpr", "0.95",
            "-o", "d.safetensors", "--json",
        )  # fmt: skip
        assert fitted["report"]["rank"] == 10
        assert fresh.document("info", "d.safetensors", "--json")["method"] == "mahalanobis"
        assert fresh.document("info", "test.npz", "--json")["rows"] == 60
        scored = fresh.run("ood-toolkit", "score", "test.npz", "--detector", "d.safetensors")
        assert scored.stdout.splitlines()[0].endswith(",p_value,accept")
        result = fresh.document(
            "evaluate", "--id", "test.npz", "--ood", "far/a=far.npz", "--train", "train.npz",
            "-m", "energy,mahalanobis", "--json",
        )  # fmt: skip
        assert len(result["results"]) == 2
        assert fresh.document("errors", "test.npz", "-m", "msp", "--json")["n"] == 60

    @pytest.mark.parametrize(
        ("arguments", "library", "extra"),
        [
            (["test.npz", "-o", "scores.parquet"], "pyarrow", "parquet"),
            (["some.parquet"], "pyarrow", "parquet"),
            (["some.h5"], "h5py", "hdf5"),
            (["some.pt"], "torch", "torch"),
        ],
    )
    def test_a_missing_library_is_exit_5_with_its_command(
        self, arguments: list[str], library: str, extra: str, fresh: Environment
    ) -> None:
        magic = {"some.parquet": b"PAR1....PAR1", "some.h5": b"\x89HDF\r\n\x1a\n", "some.pt": b"PK"}
        if arguments[0] in magic:
            (fresh.work / arguments[0]).write_bytes(magic[arguments[0]])
        if arguments[0] == "some.pt":
            with zipfile.ZipFile(fresh.work / "some.pt", "w") as archive:
                archive.writestr("some/data.pkl", b"\x80\x02}q\x00.")
                archive.writestr("some/version", b"3\n")
        run = fresh.run("ood-toolkit", "score", *arguments, "-m", "msp")
        assert run.returncode == 5, run.stderr
        assert run.stderr.count("\n") == 1
        assert run.stderr.endswith(f"needs {library}: pip install 'ood_toolkit[{extra}]'\n")
        assert not (fresh.work / "scores.parquet").exists()
