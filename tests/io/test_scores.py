"""Score tables: every format, exact floats, infinities, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from ood_toolkit.errors import BadParameter, DataError, InputError
from ood_toolkit.io import load_scores, save_scores

SUFFIXES = [".csv", ".jsonl", ".npz", ".parquet"]
TINY = np.finfo(np.float64).smallest_subnormal


def table() -> dict[str, Any]:
    return {
        "index": np.arange(5),
        "file": np.array(["a.npz", "b, c.npz", 'q"uote.npz', "new\nline.npz", "é🐈"]),
        "label": np.array([0, -1, 2, 3, 1], np.int16),
        "energy": np.array([0.1, 1 / 3, -np.inf, 1e300, TINY]),
        "msp": np.array([0.1, 0.2, 0.3, np.inf, np.nan]),
        "energy_1": np.array([0.1, 0.7, -0.0, 1, 2], np.float32),
        "energy_2": np.array([1, 2, 3, 4, 5.5], np.float16),
        "energy.accept": np.array([True, False, True, True, False]),
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_come_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scores{suffix}"
    save_scores(table(), path)
    back = load_scores(path)
    assert list(back) == list(table())
    for name, values in table().items():
        np.testing.assert_array_equal(back[name], values)
        assert (
            np.array_equal(np.signbit(back[name]), np.signbit(values))
            if name == "energy_1"
            else True
        )
        kind = values.dtype.kind
        assert back[name].dtype.kind == kind
        if suffix in (".npz", ".parquet") and kind != "U":
            assert back[name].dtype == values.dtype


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_without_rows(suffix: str, tmp_path: Path) -> None:
    save_scores({"msp": np.array([])}, tmp_path / f"s{suffix}")
    back = load_scores(tmp_path / f"s{suffix}")
    assert back == {} if suffix == ".jsonl" else back["msp"].shape == (0,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_format_wins_over_the_suffix_and_bytes_repeat(suffix: str, tmp_path: Path) -> None:
    for name in ("one.out", "two.out"):
        save_scores(table(), tmp_path / name, format=suffix[1:])
    assert (tmp_path / "one.out").read_bytes() == (tmp_path / "two.out").read_bytes()
    save_scores(table(), tmp_path / f"three{suffix}")
    assert (tmp_path / "one.out").read_bytes() == (tmp_path / f"three{suffix}").read_bytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=64), min_size=1, max_size=30))
def test_floats_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("floats")
    scores = np.array([*values, 0.5])
    for suffix in SUFFIXES:
        save_scores({"score": scores}, folder / f"s{suffix}")
        back = load_scores(folder / f"s{suffix}")["score"]
        np.testing.assert_array_equal(back, scores)
        signs = ~np.isnan(scores)
        np.testing.assert_array_equal(np.signbit(back)[signs], np.signbit(scores)[signs])


def test_json_lines_are_strict_json(tmp_path: Path) -> None:
    save_scores(table(), tmp_path / "s.jsonl")

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    lines = (tmp_path / "s.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [row["energy"] for row in rows] == [0.1, 1 / 3, "-inf", 1e300, TINY]
    assert [row["msp"] for row in rows][3:] == ["inf", "nan"]
    assert rows[0]["energy.accept"] is True


def test_a_column_of_infinities_alone_comes_back_as_numbers(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        save_scores({"a": [np.inf, -np.inf]}, tmp_path / f"s{suffix}")
        assert load_scores(tmp_path / f"s{suffix}")["a"].tolist() == [np.inf, -np.inf]


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"index": [0, 1], "msp": [0.5, -np.inf], "accept": [True, False]}
    save_scores(columns, "-")
    assert capsys.readouterr().out == "index,msp,accept\n0,0.5,true\n1,-inf,false\n"
    save_scores(columns, "-", format="jsonl")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"index": 0, "msp": 0.5, "accept": True},
        {"index": 1, "msp": "-inf", "accept": False},
    ]
    for binary in ("npz", "parquet"):
        with pytest.raises(BadParameter, match="standard output takes csv or jsonl"):
            save_scores(columns, "-", format=binary)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_names_that_are_not_utf8_become_printable(suffix: str, tmp_path: Path) -> None:
    save_scores({"file": ["caf\udce9.npz"], "msp": [0.5]}, tmp_path / f"s{suffix}")
    assert load_scores(tmp_path / f"s{suffix}")["file"].tolist() == ["caf\\xe9.npz"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1, 2], "b": [1]}, "one length"),
        ({}, "one length"),
        ({"a": [[1, 2]]}, r"'a' must be \(N,\)"),
        ({"a": [1j]}, "complex128 cannot be written"),
        ({"a": np.array([1, "x"], dtype=object)}, "mixes types"),
    ],
)
def test_columns_that_are_refused(columns: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        save_scores(columns, tmp_path / "s.csv")
    assert list(tmp_path.iterdir()) == []


def test_formats_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match=r"\.csv \.jsonl \.npz \.parquet"):
        save_scores({"a": [1]}, tmp_path / "s.xlsx")
    with pytest.raises(BadParameter, match="format 'xlsx' is not one of"):
        save_scores({"a": [1]}, tmp_path / "s.csv", format="xlsx")
    with pytest.raises(DataError, match="not a score table"):
        load_scores(tmp_path / "s.xlsx")


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match="row 1: has 1 cells"):
        load_scores(tmp_path / "s.csv")
    (tmp_path / "s.jsonl").write_text('{"a": 1}\n{"b": 1}\n')
    with pytest.raises(DataError, match="differ in their keys"):
        load_scores(tmp_path / "s.jsonl")
    (tmp_path / "s.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="truncated"):
        load_scores(tmp_path / "s.npz")
    with pytest.raises(DataError, match="no such file"):
        load_scores(tmp_path / "absent.parquet")


def test_digits_and_underscores_are_a_text(tmp_path: Path) -> None:
    """Python reads 2024_01 as a number."""
    names = np.array(["2024_01", "2024_02"])
    save_scores({"file": names, "msp": [0.5, 0.25]}, tmp_path / "x.csv")
    np.testing.assert_array_equal(load_scores(tmp_path / "x.csv")["file"], names)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("msp,msp\n1,2\n")
    with pytest.raises(DataError, match="msp: two columns have this name"):
        load_scores(tmp_path / "x.csv")
