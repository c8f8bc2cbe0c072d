"""Bad inputs, one row of the list after the other: what is refused, in which words.

`ROWS` names the rows that concern reading; each has at least one case, and each case writes
a file and says what `load` must do with it.  A refusal is one line that begins with the path.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.errors import DataError, ToolkitWarning
from ood_toolkit.io import load, refuse_same_file, save_scores
from ood_toolkit.io.gate import Limits
from ood_toolkit.io.npz import open_npz
from tests.io.bad_inputs import (  # noqa: F401  # importing them fills the registry
    numpy_files,
    stores,
    table_files,
    tensor_files,
    values,
    whole_files,
)
from tests.io.bad_inputs.registry import REFUSED, WORKS, Z, npy_bytes, npz, written
from tests.io.bad_inputs.text_files import NUMBERS, ROWS_OF_TEXT

ROWS = {*range(1, 52), 58, 62, 64, 65}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(("build", "words", "options"), REFUSED)
def test_refused(build: Any, words: tuple[str, ...], options: Any, folder: Path) -> None:
    path = build(folder)
    with pytest.raises(DataError) as caught:
        load(path, **options)
    said = str(caught.value)
    assert said.startswith(str(folder))
    assert "\n" not in said
    for word in words:
        assert word in said
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize(("build", "warning", "options"), WORKS)
def test_works(build: Any, warning: str, options: Any, folder: Path) -> None:
    path, expected = build(folder)
    if warning:
        with pytest.warns(ToolkitWarning, match=warning):
            record = load(path, **options)
    else:
        record = load(path, **options)
    assert record.logits is not None
    assert record.logits.dtype == expected.dtype
    np.testing.assert_array_equal(record.logits, expected)


def test_row_4_unreadable(folder: Path) -> None:
    path = written(folder, "x.npy", npy_bytes(Z))
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            for place in [folder, *folder.parents][:3]:
                place.chmod(0o755)
            os.seteuid(65534)
        with pytest.raises(DataError, match="permission denied"):
            load(path)
    finally:
        os.seteuid(user)


def test_row_46_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(ROWS_OF_TEXT.encode()))
    monkeypatch.setattr("sys.stdin", stream)
    np.testing.assert_array_equal(load("-").logits, NUMBERS)


def test_row_48_file_became_shorter(folder: Path) -> None:
    path = npz(folder, logits=Z)
    opened = open_npz(str(path), Limits())["logits"]
    os.truncate(path, 200)
    with pytest.raises(DataError, match="became shorter"):
        opened.load()


def test_row_50_output_is_input(folder: Path) -> None:
    path = npz(folder, logits=Z)
    (folder / "link.npz").symlink_to(path)
    os.link(path, folder / "hard.npz")
    for output in (path, folder / "link.npz", folder / "hard.npz", folder / "." / "x.npz"):
        with pytest.raises(DataError, match="also an input"):
            refuse_same_file(output, ["-", path])
    for output in (path, folder / "scores.csv"):
        with pytest.raises(DataError, match="lies in the input folder"):
            refuse_same_file(output, [folder])
    with pytest.raises(DataError, match="also an input"):
        refuse_same_file(path, [folder / "*.npz"])
    refuse_same_file(folder / "y.npz", [path])


def test_row_51_output_folder_missing(folder: Path) -> None:
    for path in (folder / "absent" / "s.csv", folder / "absent" / "s.npz"):
        with pytest.raises(DataError, match="no folder"):
            save_scores({"msp": [0.5]}, path)


def test_row_51_output_is_a_device_or_a_folder(folder: Path) -> None:
    (folder / "null.csv").symlink_to("/dev/null")
    (folder / "inner.csv").mkdir()
    for name in ("null.csv", "inner.csv"):
        with pytest.raises(DataError, match="not a regular file"):
            save_scores({"msp": [0.5]}, folder / name)


def test_every_row_has_a_case() -> None:
    named = {int(case.id.split("-")[0]) for case in [*REFUSED, *WORKS]}
    named |= {int(name.split("_")[2]) for name in globals() if name.startswith("test_row_")}
    assert named == ROWS
