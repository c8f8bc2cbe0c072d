"""Names of detector classes in the lists of exports."""

from __future__ import annotations

import re
from collections import defaultdict

from ood_toolkit.detectors import registered

__all__ = ["exports"]

WIDTH = 100


def exports(text: str) -> str:
    """The text of an `__init__` file with every class of the catalogue among its exports.

    Only names that are missing are added: to the imports of their module, or of
    `.detectors` in the stub, and to `__all__`.
    """
    missing = defaultdict(set)
    for row in registered():
        name, module = row.detector.__name__, row.detector.__module__
        if not re.search(rf"^    {name},$|import .*\b{name}\b", text, re.MULTILINE):
            missing[".detectors" if "from .detectors import" in text else module].add(name)
    for module, names in missing.items():
        pattern = re.compile(rf"from {re.escape(module)} import (\([^)]*\)|[^\n(]+)\n")
        found = pattern.search(text)
        if found is None:
            raise ValueError(f"import {module} in this file first, then generate again")
        every = {*re.findall(r"\w+", found[1]), *names}
        text = text.replace(found[0], _import(module, every))
        every = {*re.findall(r'"(\w+)"', _listed(text)), *names}
        text = text.replace(_listed(text), "__all__ = [\n" + _lines(every, '    "{}",\n') + "]\n")
    return text


def _listed(text: str) -> str:
    """The assignment of `__all__`."""
    found = re.search(r"__all__ = \[\n.*?\]\n", text, re.DOTALL)
    assert found is not None
    return found[0]


def _import(module: str, names: set[str]) -> str:
    line = f"from {module} import {_lines(names, '{}, ').removesuffix(', ')}\n"
    if len(line) <= WIDTH + 1:
        return line
    return f"from {module} import (\n" + _lines(names, "    {},\n") + ")\n"


def _lines(names: set[str], form: str) -> str:
    return "".join(form.format(name) for name in sorted(names, key=_order))


def _order(name: str) -> tuple[int, str]:
    """Constants, classes, functions, dunders: the order of the import sorter."""
    if name.startswith("__"):
        return 3, name
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name.lower()
