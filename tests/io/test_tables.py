"""Text and tables: which columns make an array, and which cells are numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.errors import BadParameter, DataError
from ood_toolkit.io import describe, load

Z = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
F = np.arange(8, dtype=np.float32).reshape(4, 2) / 3


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "x.npz"
    np.savez(path, **arrays)
    return path


def test_dtype_is_a_word_for_what_the_file_leaves_open(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("0.1,0.2\n0.3,0.4\n")
    assert load(tmp_path / "x.csv").logits.dtype == np.float64  # type: ignore[union-attr]
    narrow = load(tmp_path / "x.csv", dtype="float32").logits
    np.testing.assert_array_equal(narrow, np.array([[0.1, 0.2], [0.3, 0.4]], np.float32))
    path = npz(tmp_path, logits=Z.astype(np.float16), features=np.ones((4, 2), np.int16))
    x = load(path, dtype="float64")
    assert x.logits is not None
    assert x.features is not None
    assert (x.logits.dtype, x.features.dtype) == (np.float16, np.float64)
    with pytest.raises(BadParameter, match="dtype 'int8' is not one of"):
        load(path, dtype="int8")


@pytest.mark.parametrize("header", ["id,cat,dog", ",cat,dog", "Unnamed: 0,cat,dog", "file,a,b"])
def test_a_table_with_an_index_and_class_names_is_not_guessed_at(
    header: str, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n7,0.5,1.5\n8,1.5,2.5\n")
    with pytest.raises(DataError, match="no logits and no features"):
        load(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("name", "separator", "hint"),
    [("x.csv", "\t", "name a table with tabs .tsv"), ("x.csv", ";", "separate columns with commas"),
     ("x.tsv", ",", "name a table with commas .csv")],
)  # fmt: skip
def test_a_header_in_one_cell_says_how_columns_are_separated(
    name: str, separator: str, hint: str, tmp_path: Path
) -> None:
    rows = [["logits_0", "logits_1"], ["1", "2"]]
    (tmp_path / name).write_text("".join(separator.join(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=f"line 1: is one cell: .*{hint}"):
        load(tmp_path / name)


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        ",logits_0,logits_1,features_0,features_1,layers/a_0,layers/a_1,label,text\n"
        '0,0.5,1.5,3,4,5,6,1,"a, ""b"""\n1,2.5,-inf,7,8,9,10,-1,2\n'
    )
    x = load(path)
    np.testing.assert_array_equal(x.logits, [[0.5, 1.5], [2.5, -np.inf]])
    np.testing.assert_array_equal(x.features, [[3, 4], [7, 8]])
    np.testing.assert_array_equal(x.layers["a"], [[5, 6], [9, 10]])
    assert x.labels is not None
    assert x.text is not None
    assert x.labels.tolist() == [1, -1]
    assert x.text.tolist() == ['a, "b"', "2"]
    path.write_text("label,cat,dog\n1,0.5,1.5\n")
    np.testing.assert_array_equal(load(path).logits, [[0.5, 1.5]])
    path.write_text("score_0,score_1,score_2,other\n1,2,3,4\n")
    np.testing.assert_array_equal(load(path, keys={"logits": "score"}).logits, [[1, 2, 3]])
    path.write_text("logits_0,logits_1,layer_4,score_0\n1,2,3,4\n")
    assert [a.key for a in describe(path).arrays] == ["logits", "layer_4", "score_0"]
    path.write_text("logits_0,logits_2\n1,2\n")
    with pytest.raises(DataError, match="logits_1: this column is missing"):
        load(path)
    path.write_text("logits_0,logits_0\n1,2\n")
    with pytest.raises(DataError, match="columns 1 and 2 share a name"):
        load(path)


@pytest.mark.parametrize("cell", ["1_000", "0x10", "one", "1,5", "--1", "1e", ""])
def test_cells_that_are_not_decimal_numbers(cell: str, tmp_path: Path) -> None:
    quoted = f'"{cell}"' if "," in cell else cell
    (tmp_path / "x.csv").write_text(f"logits_0,logits_1\n1,2\n3,{quoted}\n")
    with pytest.raises(DataError, match="line 3"):
        load(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"logits": [1, 2]}\n{"logits": [1]}\n', r"line 2: 'logits' has \(1,\) numbers"),
        ('{"logits": [1, 2]}\n{"logits": [1, "a"]}\n', "line 2: 'logits' holds 'a'"),
        ('{"logits": [1, 2]}\n{"logits": [1, true]}\n', "line 2: 'logits' holds 'True'"),
        ('{"logits": [1, 2]}\n{"logit": [1, 2]}\n', "line 2: 'logit' is not in every row"),
        ('{"logits": [1, 2]}\n{"logits": [1, 2}\n', "line 2: is not JSON"),
        ('{"logits": [1, 2], "logits": [1, 2]}\n', "line 1: a key comes twice"),
        ("[1, 2]\n", "line 1: is not a JSON object"),
        ("\n\n", "holds no rows"),
        (
            '{"logits": [1, 2], "text": "a"}\n{"logits": [1, 2], "text": 3}\n',
            "'text' is not a text",
        ),
    ],
)
def test_json_lines_that_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(DataError, match=words):
        load(tmp_path / "x.jsonl")


def test_texts_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    rows = 3000
    texts = ["x" * 20_000] + [""] * (rows - 1)
    logits = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * rows)), 2)
    pq.write_table(pa.table({"logits": logits, "text": texts}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="one text has 20000 characters"):
        load(tmp_path / "x.parquet")
    x = load(tmp_path / "x.parquet", max_bytes=1 << 30)
    assert x.text is not None
    assert len(x.text[0]) == 20_000


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("logits_0,logits_1,logit_0,logit_1", "logit_0: this column and 'logits_0' both mean"),
        ("class_0,class_1,logits_0,logits_1", "logits_0: this column and 'class_0' both mean"),
        ("features.0,features.1,feature_1,feature_0", "both mean number 1 of features"),
    ],
)
def test_two_columns_of_one_meaning_are_refused(header: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n1,2,3,4\n")
    with pytest.raises(DataError, match=words):
        load(tmp_path / "x.csv")
