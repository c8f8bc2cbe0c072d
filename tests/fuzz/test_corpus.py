"""Every file that fuzzing kept loads or raises DataError, and a seed of every target loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.seeds import CORPUS
from tests.fuzz.targets import TARGETS, joined, pieces


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_holds_no_surprise(name: str, tmp_path: Path) -> None:
    files = sorted((CORPUS / name).iterdir())
    loaded = [TARGETS[name].attempt(file.read_bytes(), tmp_path) for file in files]
    assert any(loaded), "no file of the corpus is valid"


def test_the_corpus_is_small_and_has_no_other_folder() -> None:
    files = [file for file in CORPUS.rglob("*") if file.is_file()]
    assert {folder.name for folder in CORPUS.iterdir()} == TARGETS.keys()
    assert sum(file.stat().st_size for file in files) < 2 << 20


def test_pieces_undo_joined() -> None:
    parts = [b"", b"abc", b"\x00" * 70_000]
    assert pieces(joined(parts)) == parts
    assert pieces(joined(parts)[:-1])[-1] == b"\x00" * 69_999
