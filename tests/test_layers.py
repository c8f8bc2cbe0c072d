"""Imports point down, heavy libraries are loaded late, and every module says what it is."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 300

# A unit is a module or a folder of them: what lies in it may import what else lies in it,
# and everything on a lower floor, but no neighbour.
FLOORS = (
    ("errors",),
    ("streamed", "tensors"),
    ("kernels", "parameters", "composed"),
    ("outputs",),
    ("protocols", "chunks", "given"),
    ("bounded",),
    ("metrics", "io", "neighbors"),
    ("shaping", "datasets"),
    ("calibration",),
    ("detectors",),
    ("decision", "evaluation", "graph", "report", "scoring"),
    ("models", "distributed", "sklearn"),
    ("api", "__init__"),
    ("cli",),
)
FLOOR_OF = {unit: floor for floor, units in enumerate(FLOORS) for unit in units}

# Libraries that cost start-up time or may be missing: never at the top of a module, and
# only in these places.
LATE = {
    "torch": ("io/torch_file", "io/save", "models/"),
    "pyarrow": ("io/",),
    "h5py": ("io/",),
    "zarr": ("io/",),
    "sklearn": ("detectors/", "datasets/", "calibration/", "sklearn"),
    "scipy": (
        "detectors/",
        "metrics/",
        "datasets/",
        "calibration/",
        "decision/",
        "evaluation/",
        "graph",
    ),
    "matplotlib": ("report/",),
    "jinja2": ("report/",),
    "markupsafe": ("report/",),
    "faiss": ("neighbors/",),
    "onnx": ("models/",),
    "onnxruntime": ("models/",),
    "dask": ("distributed",),
    "pooch": ("datasets/",),
}
ADAPTERS = {"sklearn": "sklearn"}  # modules that nothing else imports, and what they adapt to
COMPILERS = ("numba", "llvmlite")
COMPILER_PLACES = "kernels/_"  # modules of the kernels that no other folder may name
TERMINAL = ("click", "rich", "rich_click")


@dataclass(frozen=True)
class Import:
    """One import statement's target, seen from the module that holds it."""

    line: int
    target: str
    names: tuple[str, ...]
    at_top: bool
    for_types: bool


@dataclass(frozen=True)
class Module:
    """A module of the house by its place, e.g. `detectors/gaussian` or `cli/score`."""

    place: str
    path: Path
    tree: ast.Module

    @property
    def unit(self) -> str:
        return self.place.split("/")[0]


def modules(root: Path) -> list[Module]:
    found = []
    for folder, prefix in (("ood_toolkit", ""), ("cli", "cli/")):
        for path in sorted((root / folder).rglob("*.py")):
            place = prefix + path.relative_to(root / folder).with_suffix("").as_posix()
            found.append(Module(place, path, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imports(module: Module) -> Iterator[Import]:
    package = module.place.split("/")[:-1]

    def walk(node: ast.AST, at_top: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(child.lineno, alias.name, (), at_top, for_types)
            elif isinstance(child, ast.ImportFrom):
                names = tuple(alias.name for alias in child.names)
                target = child.module or ""
                if child.level:
                    base = package[: len(package) - child.level + 1]
                    home = [] if module.unit == "cli" else ["ood_toolkit"]
                    target = ".".join([*home, *base, *([target] if target else [])])
                yield Import(child.lineno, target, names, at_top, for_types)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from walk(child, at_top and not inside, for_types or typing)

    yield from walk(module.tree, True, False)


def units_reached(found: Import) -> set[str]:
    """The units of the house that an import touches; none where it leaves the house."""
    parts = found.target.replace("ood_toolkit_cli", "cli").split(".")
    if parts[0] == "cli":
        return {"cli"}
    if parts[0] != "ood_toolkit":
        return set()
    if len(parts) > 1:
        return {parts[1]}
    return {name if name in FLOOR_OF else "__init__" for name in found.names or ("__init__",)}


def upward_or_sideways(module: Module) -> list[str]:
    if module.unit not in FLOOR_OF:
        return [f"{module.place}: stands on no floor"]
    own = FLOOR_OF[module.unit]
    wrong = []
    for found in imports(module):
        for unit in units_reached(found) - {module.unit}:
            floor = FLOOR_OF.get(unit)
            if not found.for_types and (floor is None or floor >= own):
                way = "no floor" if floor is None else "up" if floor > own else "sideways"
                wrong.append(f"{module.place}:{found.line}: imports {unit} ({way})")
    return wrong


def too_early_or_misplaced(module: Module) -> list[str]:
    wrong = []
    for found in imports(module):
        library = found.target.split(".")[0]
        if library in LATE:
            early = found.at_top and not found.for_types
            if early and ADAPTERS.get(module.place) != library:
                wrong.append(f"{module.place}:{found.line}: loads {library} at the top")
            if not any(module.place.startswith(place) for place in LATE[library]):
                wrong.append(f"{module.place}:{found.line}: is no place for {library}")
        if library in COMPILERS and not module.place.startswith(COMPILER_PLACES):
            wrong.append(f"{module.place}:{found.line}: compiles outside the kernels' own modules")
        if library in TERMINAL and module.unit != "cli":
            wrong.append(f"{module.place}:{found.line}: talks to a terminal")
    return wrong


def heavy_start(module: Module) -> list[str]:
    """What a command line module loads before it knows that it is needed."""
    light = {"rich_click", "cli", "__future__", *sys.stdlib_module_names}
    return [
        f"{module.place}:{found.line}: loads {found.target} at the top"
        for found in imports(module)
        if module.unit == "cli" and found.at_top and not found.for_types
        if found.target.split(".")[0] not in light
    ]


def top_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names}
    return names


def exported(tree: ast.Module) -> list[str] | None:
    """What `__all__` lists; None where there is none."""
    names: list[str] | None = None
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            value = getattr(node, "value", None)
            assert isinstance(value, ast.List), "__all__ must be a list of names"
            names = (names or []) + [str(name) for name in ast.literal_eval(value)]
    return names


def untold(module: Module) -> list[str]:
    """Docstring, `__all__` and length."""
    wrong = []
    if not ast.get_docstring(module.tree):
        wrong.append(f"{module.place}: has no docstring")
    lines = len(module.path.read_text(encoding="utf-8").splitlines())
    if lines > LONGEST:
        wrong.append(f"{module.place}: has {lines} lines, more than {LONGEST}")
    names = exported(module.tree)
    if module.path.name in ("__init__.py", "__main__.py"):
        return wrong
    if names is None:
        return [*wrong, f"{module.place}: has no __all__"]
    missing = [name for name in names if name not in top_names(module.tree)]
    wrong += [f"{module.place}: __all__ names {name}, which is not there" for name in missing]
    if len(set(names)) != len(names):
        wrong.append(f"{module.place}: __all__ names something twice")
    return wrong


HOUSE = modules(ROOT)
each_module = pytest.mark.parametrize("module", HOUSE, ids=lambda m: m.place)


@each_module
def test_imports_point_down(module: Module) -> None:
    assert upward_or_sideways(module) == []


@each_module
def test_heavy_libraries_are_loaded_late_and_in_their_place(module: Module) -> None:
    assert too_early_or_misplaced(module) + heavy_start(module) == []


@each_module
def test_a_module_says_what_it_is_and_stays_short(module: Module) -> None:
    assert untold(module) == []


def test_what_modules_take_from_each_other_is_in_all() -> None:
    dotted = {}
    for module in HOUSE:
        place = module.place.replace("/", ".").removesuffix(".__init__")
        dotted[place if module.unit == "cli" else f"ood_toolkit.{place}"] = module
    wrong = []
    for module in HOUSE:
        for found in imports(module):
            source = dotted.get(found.target)
            if source is None or source.path.name == "__init__.py":
                continue
            hidden = set(found.names) - set(exported(source.tree) or ())
            wrong += [f"{module.place}:{found.line}: {found.target}.{n}" for n in sorted(hidden)]
    assert wrong == []


def test_the_whole_house_was_walked() -> None:
    units = {module.unit for module in HOUSE}
    assert {unit for floor in FLOORS[:5] for unit in floor} <= units
    assert {"shaping", "detectors", "decision", "evaluation", "api", "cli"} <= units


PLANTED = {
    "ood_toolkit/outputs.py": "from ood_toolkit.detectors import x\n",
    "ood_toolkit/kernels/a.py": "def f():\n    from ood_toolkit.outputs import Outputs\n",
    "ood_toolkit/metrics/b.py": "from ood_toolkit.io import load\n",
    "ood_toolkit/io/c.py": "from ..metrics import auroc\n",
    "ood_toolkit/decision/d.py": "from ood_toolkit import evaluation\n",
    "ood_toolkit/protocols.py": "import ood_toolkit\n",
    "ood_toolkit/new/e.py": "",
    "ood_toolkit/api.py": "import ood_toolkit_cli.main\n",
}


@pytest.mark.parametrize("place", PLANTED)
def test_a_wrong_import_is_seen(place: str, tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(PLANTED[place])
    (module,) = modules(tmp_path)
    assert upward_or_sideways(module)


def test_a_type_only_import_and_a_neighbour_in_the_folder_are_no_wrong(tmp_path: Path) -> None:
    path = tmp_path / "ood_toolkit" / "metrics" / "a.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from .b import c\n"
        "from ood_toolkit.outputs import Outputs\n"
        "if TYPE_CHECKING:\n    from ood_toolkit.api import score\n"
    )
    (module,) = modules(tmp_path)
    assert upward_or_sideways(module) == []


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("ood_toolkit/io/torch_file.py", "import torch\n"),
        ("ood_toolkit/io/torch_file.py", "try:\n    import torch\nexcept ImportError:\n    pass\n"),
        ("ood_toolkit/detectors/a.py", "def f():\n    import torch\n"),
        ("ood_toolkit/detectors/a.py", "from scipy.special import logsumexp\n"),
        ("ood_toolkit/metrics/a.py", "def f():\n    from numba import njit\n"),
        ("ood_toolkit/io/a.py", "import click\n"),
    ],
)
def test_a_misplaced_library_is_seen(place: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (module,) = modules(tmp_path)
    assert too_early_or_misplaced(module)
