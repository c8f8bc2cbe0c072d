"""Records of benchmarks in TOML: read, and refused in one line where they are wrong."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any

from ood_toolkit.datasets.records import GROUPS, ROLES, BenchmarkRecord, FileRecord, SetRecord
from ood_toolkit.errors import DataError

__all__ = ["read_record", "read_sets", "read_toml"]

_TEXTS = ("name", "title", "description", "source", "licence", "get", "id")
_KEYS = {*_TEXTS, *ROLES, *GROUPS, "classes", "class_names", "images", "sets", "shipped"}
_SET_KEYS = {"title", "licence", "homepage", "get", "rows", "files"}
_FILE_KEYS = {"file", "url", "md5", "sha256", "checksum_from", "unpack"}


def read_record(
    place: Traversable, shared: Mapping[str, SetRecord] = MappingProxyType({})
) -> BenchmarkRecord:
    """The benchmark that a TOML file describes.

    Parameters
    ----------
    place : path
        The file.  Sets of a group are a list of names, whose files go by those names, or a
        table of name and file.
    shared : mapping of str to SetRecord
        What is known of sets that the file does not describe itself.

    Raises
    ------
    DataError
        If the file is no TOML, or has a key or a value that a record cannot have.
    """
    path = str(place)
    held = read_toml(place)
    _known(path, "", held, _KEYS)
    words = {key: _text(path, key, held[key]) for key in _TEXTS if key in held}
    groups, outputs = _groups(path, held)
    outputs |= {role: _text(path, role, held[role]) for role in ROLES if role in held}
    if not any(group not in ("csid", "ood_val") for group in groups.values()):
        raise DataError(path, "", "names no out-of-distribution set; add near or far")
    images = _texts(path, "images", held.get("images", {}))
    for name in images:
        if name not in groups and name not in ROLES:
            raise DataError(path, f"images.{name}", "is no role and no set of the benchmark")
    own = {n: _set(path, n, v) for n, v in _table(path, "sets", held.get("sets", {})).items()}
    stem = place.name.removesuffix(".toml")
    words = {"name": stem, "title": words.get("name", stem), "id": words.get("name", stem)} | words
    named = dict.fromkeys([words["id"], *groups, *own])
    known = {name: own.get(name, shared.get(name, SetRecord())) for name in named}
    return BenchmarkRecord(
        **words,
        classes=_whole(path, "classes", held.get("classes")),
        class_names=tuple(_list(path, "class_names", held.get("class_names", []))),
        outputs=MappingProxyType(outputs),
        groups=MappingProxyType(groups),
        images=MappingProxyType(images),
        sets=MappingProxyType(known),
        shipped=held.get("shipped", False) is True,
        path=path,
    )


def read_sets(place: Traversable) -> dict[str, SetRecord]:
    """What a TOML file of one table a set says of them."""
    path = str(place)
    return {name: _set(path, name, found) for name, found in read_toml(place).items()}


def read_toml(place: Traversable) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    DataError
        If it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as reason:
        fault = reason.strerror or str(reason)
        raise DataError(str(place), "", f"cannot be read: {fault}") from None
    except ValueError as reason:
        raise DataError(str(place), "", f"is not TOML: {reason}") from None


def _groups(path: str, held: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Group of each set, and the files of those that name theirs."""
    groups: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for group in GROUPS:
        given = held.get(group, [])
        files = _texts(path, group, given) if isinstance(given, dict) else {}
        for name in files or _list(path, group, given):
            if name in groups or name in ROLES:
                raise DataError(path, f"{group}.{name}", "is named twice")
            groups[name] = group
        outputs |= files
    return groups, outputs


def _set(path: str, name: str, found: Any) -> SetRecord:
    where = f"sets.{name}"
    held = _table(path, where, found)
    _known(path, where, held, _SET_KEYS)
    files = held.get("files", [])
    if not isinstance(files, list):
        raise DataError(path, f"{where}.files", "is no list of tables")
    words = {
        key: _text(path, f"{where}.{key}", held[key])
        for key in ("title", "licence", "homepage", "get")
        if key in held
    }
    return SetRecord(
        **words,
        rows=_whole(path, f"{where}.rows", held.get("rows")),
        files=tuple(_file(path, f"{where}.files.{i}", f) for i, f in enumerate(files)),
    )


def _file(path: str, where: str, found: Any) -> FileRecord:
    held = _texts(path, where, found)
    _known(path, where, held, _FILE_KEYS)
    if "file" not in held:
        raise DataError(path, f"{where}.file", "is missing")
    kind = next((k for k in ("sha256", "md5") if k in held), "")
    length = {"sha256": 64, "md5": 32, "": 0}[kind]
    digits = held.get(kind, "").lower()
    if len(digits) != length or set(digits) - set("0123456789abcdef"):
        raise DataError(path, f"{where}.{kind}", f"is not {length} hexadecimal digits")
    for key in ("file", "unpack"):
        if held.get(key, "").startswith("/") or ".." in held.get(key, "").split("/"):
            raise DataError(path, f"{where}.{key}", "leads out of the folder of data")
    checksum = f"{kind}:{digits}" if kind else ""
    words = {k: v for k, v in held.items() if k in ("file", "url", "checksum_from", "unpack")}
    return FileRecord(**words, checksum=checksum)


def _known(path: str, where: str, held: Mapping[str, Any], keys: set[str]) -> None:
    for key in held:
        if key not in keys:
            near = difflib.get_close_matches(key, sorted(keys), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(keys))}"
            raise DataError(path, ".".join(filter(None, (where, key))), f"is not known; {hint}")


def _table(path: str, where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(path, where, "is no table")
    return value


def _texts(path: str, where: str, value: Any) -> dict[str, str]:
    return {k: _text(path, f"{where}.{k}", v) for k, v in _table(path, where, value).items()}


def _text(path: str, where: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise DataError(path, where, "is no text")
    return value


def _whole(path: str, where: str, value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise DataError(path, where, "is no whole number above zero")
    return value


def _list(path: str, where: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        raise DataError(path, where, "is neither a list of names nor a table of name and file")
    for entry in value:
        yield _text(path, where, entry)
