"""Rows 45-49: text, pipes, names."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tests.io.bad_inputs.registry import (
    Z,
    npy_bytes,
    refused,
    works,
    written,
)

ROWS_OF_TEXT = "0.5,1.5\n-inf,2e-3\n"
NUMBERS = np.array([[0.5, 1.5], [-np.inf, 2e-3]])


@works(45)
def csv_without_header(folder: Path) -> Any:
    return written(folder, "x.csv", ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_header(folder: Path) -> Any:
    return written(folder, "x.csv", "logits_0,logits_1\n" + ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_header_of_numbers(folder: Path) -> Any:
    return written(folder, "x.csv", "0,1\n" + ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_class_names(folder: Path) -> Any:
    return written(folder, "x.csv", "cat,dog\n" + ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_byte_order_mark(folder: Path) -> Any:
    return written(folder, "x.csv", b"\xef\xbb\xbf" + ROWS_OF_TEXT.encode()), NUMBERS


@works(45)
def csv_with_blank_last_lines(folder: Path) -> Any:
    return written(folder, "x.csv", ROWS_OF_TEXT + "\n\n"), NUMBERS


@works(45)
def csv_with_quotes_and_windows_ends(folder: Path) -> Any:
    text = '"logit_0","logit_1"\r\n"0.5","1.5"\r\n"-inf",0.002\r\n'
    return written(folder, "x.csv", text), NUMBERS


@works(45)
def tsv(folder: Path) -> Any:
    return written(folder, "x.tsv", ROWS_OF_TEXT.replace(",", "\t")), NUMBERS


@refused(45, "line 1", "with a point")
def csv_decimal_comma_in_semicolons(folder: Path) -> Path:
    return written(folder, "x.csv", "0,5;1,5\n0,25;2,5\n")


@refused(45, "line 3", "'0,25' is not a number", "with a point")
def csv_decimal_comma_in_quotes(folder: Path) -> Path:
    return written(folder, "x.csv", 'logits_0,logits_1\n1,2\n"0,25",2\n')


@refused(45, "line 2", "has 3 cells, expected 2")
def csv_ragged_row(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n1,2,3\n")


@refused(45, "line 2", "1e400", "too large")
def csv_overflow(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n1,1e400\n")


@refused(45, "line 2", "1e400", "too large")
def jsonl_overflow(folder: Path) -> Path:
    return written(folder, "x.jsonl", '{"logits": [1, 2]}\n{"logits": [1, 1e400]}\n')


@refused(45, "line 2", "cell is empty")
def csv_empty_cell(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n1,\n")


@refused(45, "line 2", "is blank")
def csv_blank_line_between(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n\n3,4\n")


@refused(45, "no UTF-8 text")
def csv_not_utf8(folder: Path) -> Path:
    return written(folder, "x.csv", b"caf\xe9,b\n1,2\n")


@refused(45, "UTF-16")
def csv_utf16(folder: Path) -> Path:
    return written(folder, "x.csv", ROWS_OF_TEXT.encode("utf-16"))


def _pipe(path: Path, content: bytes) -> Path:
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


@works(46)
def csv_from_a_pipe(folder: Path) -> Any:
    return _pipe(folder / "x.csv", ROWS_OF_TEXT.encode()), NUMBERS


@works(46)
def jsonl_from_a_pipe(folder: Path) -> Any:
    text = b'{"logits": [0.5, 1.5]}\n{"logits": [-Infinity, 0.002]}\n'
    return _pipe(folder / "x.jsonl", text), NUMBERS


@works(46)
def csv_from_a_pipe_without_a_suffix(folder: Path) -> Any:
    return _pipe(folder / "63", ROWS_OF_TEXT.encode()), NUMBERS


@works(46)
def jsonl_from_a_pipe_without_a_suffix(folder: Path) -> Any:
    text = b'{"logits": [0.5, 1.5]}\n{"logits": [-Infinity, 0.002]}\n'
    return _pipe(folder / "63", text), NUMBERS


@refused(46, "a pipe", ".csv")
def npy_from_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.npy")
    return folder / "x.npy"


@refused(46, "not a regular file")
def device(folder: Path) -> Path:
    (folder / "x.npy").symlink_to("/dev/zero")
    return folder / "x.npy"


@refused(47, "loop")
def symlink_loop(folder: Path) -> Path:
    (folder / "x.npy").symlink_to(folder / "y.npy")
    (folder / "y.npy").symlink_to(folder / "x.npy")
    return folder / "x.npy"


@works(49)
def name_that_is_not_utf8(folder: Path) -> Any:
    return written(folder, "caf\udce9.npy", npy_bytes(Z)), Z


@works(49)
def name_of_255_bytes(folder: Path) -> Any:
    return written(folder, "a" * 251 + ".npy", npy_bytes(Z)), Z


@works(49)
def name_with_emoji_and_brackets(folder: Path) -> Any:
    return written(folder, "🐈[1]*?.npy", npy_bytes(Z)), Z


@works(49)
def name_with_leading_dash(folder: Path) -> Any:
    return written(folder, "--help.npy", npy_bytes(Z)), Z
