"""Which array is which: names, aliases, given keys, heads, bare files and the user's word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.errors import (
    BadParameter,
    DataError,
    InputError,
    MissingDependency,
    ToolkitWarning,
)
from ood_toolkit.io import describe, file_digest, load, load_head, save_outputs
from ood_toolkit.outputs import Head, Outputs

Z = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
F = np.arange(8, dtype=np.float32).reshape(4, 2) / 3
W = np.array([[1.0, 2.0], [0.5, -1.0], [-2.0, 0.25]], np.float32)
B = np.array([0.5, 0.0, -1.0], np.float32)
DATA = os.environ.get("OOD_TOOLKIT_DATA", "")


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "x.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("key", ["logits", "raw_logits", "preds_logits"])
def test_names_of_logits(key: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(load(npz(tmp_path, **{key: Z, "epoch": [3]})).logits, Z)


@pytest.mark.parametrize("key", ["features", "feats", "embeddings", "penultimate", "feat_list"])
def test_names_of_features(key: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(load(npz(tmp_path, **{key: F, "epoch": [3]})).features, F)


@pytest.mark.parametrize("key", ["labels", "label", "targets", "y", "label_list"])
def test_names_of_labels(key: str, tmp_path: Path) -> None:
    x = load(npz(tmp_path, **{"logits": Z, key: [0, 1, 2, -1]}))
    assert x.labels is not None
    assert x.labels.dtype == np.int64
    assert x.labels.tolist() == [0, 1, 2, -1]


@pytest.mark.parametrize(
    "names",
    [("head_weight", "head_bias"), ("W", "b"), ("fc.weight", "fc.bias"), ("weight", "bias")],
)
def test_names_of_the_head(names: tuple[str, str], tmp_path: Path) -> None:
    x = load(npz(tmp_path, **{"features": F, names[0]: W, names[1]: B}))
    assert x.head is not None
    np.testing.assert_array_equal(x.head.bias, B)
    np.testing.assert_allclose(x.logits, F @ W.T + B, rtol=1e-6)


def test_a_weight_never_takes_the_bias_of_another_pair(tmp_path: Path) -> None:
    x = load(npz(tmp_path, features=F, W=W, bias=B))
    assert x.head is not None
    assert x.head.bias.tolist() == [0, 0, 0]


def test_a_given_weight_takes_no_bias_that_was_not_given(tmp_path: Path) -> None:
    path = npz(tmp_path, features=F, head_weight=W * 2, head_bias=B, other=W)
    for head in (
        load(path, keys={"head_weight": "other"}).head,
        load_head(path, keys={"head_weight": "other"}),
    ):
        assert head is not None
        np.testing.assert_array_equal(head.weight, W)
        assert head.bias.tolist() == [0, 0, 0]


def test_sample_weights_are_not_a_head(tmp_path: Path) -> None:
    x = load(npz(tmp_path, logits=Z, weight=np.ones(4), b=np.ones(4)))
    assert x.head is None


def test_layers_by_slash_and_by_dot(tmp_path: Path) -> None:
    x = load(npz(tmp_path, **{"logits": Z, "layers/a": F, "layers.b.c": F[:, :1]}))
    assert {name: layer.shape for name, layer in x.layers.items()} == {"a": (4, 2), "b.c": (4, 1)}


def test_canonical_names_win_over_aliases(tmp_path: Path) -> None:
    x = load(npz(tmp_path, raw_logits=Z + 1, logits=Z, y=[9, 9, 9, 9], labels=[0, 1, 2, 0]))
    np.testing.assert_array_equal(x.logits, Z)
    assert x.labels is not None
    assert x.labels.tolist() == [0, 1, 2, 0]


def test_two_aliases_that_compete_are_refused(tmp_path: Path) -> None:
    path = npz(tmp_path, feats=F, embeddings=F, logits=Z)
    with pytest.raises(DataError, match="'feats', 'embeddings' could each be the features"):
        load(path)
    np.testing.assert_array_equal(load(path, keys={"features": "feats"}).features, F)


def test_given_keys_win(tmp_path: Path) -> None:
    path = npz(tmp_path, logits=Z, other=Z + 1, gold=[2, 2, 2, 2], labels=[0, 0, 0, 0], deep=F)
    keys = {"logits": "other", "labels": "gold", "layers/deep": "deep"}
    x = load(path, keys=keys)
    np.testing.assert_array_equal(x.logits, Z + 1)
    assert x.labels is not None
    assert x.labels.tolist() == [2, 2, 2, 2]
    assert list(x.layers) == ["deep"]
    with pytest.raises(BadParameter, match="'logit' is not something an outputs file holds"):
        load(path, keys={"logit": "other"})


def test_other_keys_are_ignored_whatever_they_hold(tmp_path: Path) -> None:
    extra = {"names": np.array(["a"]), "flags": Z > 0, "objects": np.array([{}], dtype=object)}
    path = npz(tmp_path, logits=Z, **extra)
    np.testing.assert_array_equal(load(path).logits, Z)
    listed = {a.key: (a.name, a.dtype) for a in describe(path).arrays}
    assert listed == {
        "logits": ("logits", "float32"),
        "names": (None, "<U1"),
        "flags": (None, "bool"),
        "objects": (None, "object"),
    }


def test_a_bare_array_is_what_the_user_says(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", Z)
    np.savez(tmp_path / "y.npz", anything=Z)
    for name in ("x.npy", "y.npz"):
        np.testing.assert_array_equal(load(tmp_path / name).logits, Z)
        x = load(tmp_path / name, as_="features")
        assert x.logits is None
        np.testing.assert_array_equal(x.features, Z)
        assert [a.name for a in describe(tmp_path / name, as_="features").arrays] == ["features"]
    with pytest.raises(BadParameter, match="as_ must be"):
        load(tmp_path / "x.npy", as_="labels")  # type: ignore[arg-type]


def test_a_single_tensor(tmp_path: Path) -> None:
    import torch

    torch.save(torch.from_numpy(Z), tmp_path / "x.pt")
    np.testing.assert_array_equal(load(tmp_path / "x.pt").logits, Z)
    torch.save(
        {
            "state": {"layers": {"a": torch.ones(4, 2)}},
            "layers": {"b": torch.ones(4, 2)},
            "logits": torch.from_numpy(Z),
            "epoch": 3,
        },
        tmp_path / "y.pt",
    )
    assert list(load(tmp_path / "y.pt").layers) == ["b"]
    assert {a.key for a in describe(tmp_path / "y.pt").arrays} == {
        "logits",
        "layers/b",
        "state/layers/a",
    }


def test_views_and_parameters_of_torch(tmp_path: Path) -> None:
    import torch

    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    torch.save(
        {"logits": base[:, 1:4], "features": torch.nn.Parameter(base.T[:4])}, tmp_path / "x.pt"
    )
    x = load(tmp_path / "x.pt")
    np.testing.assert_array_equal(x.logits, base[:, 1:4].numpy())
    np.testing.assert_array_equal(x.features, base.T[:4].numpy())


@pytest.mark.parametrize(
    "alone", [{"labels": [0, 1]}, {"W": W, "b": B}, {"labels": [0], "text": ["a"]}]
)
def test_a_file_without_data_is_refused(alone: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no logits and no features"):
        load(npz(tmp_path, **alone))


def test_a_file_without_arrays_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"epoch": 3}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="holds no arrays"):
        load(tmp_path / "x.pt")


def test_head_from_another_file_or_as_an_object(tmp_path: Path) -> None:
    np.savez(tmp_path / "head.npz", W=W, b=B)
    path = npz(tmp_path, features=F, head_weight=W * 2)
    for head in (tmp_path / "head.npz", str(tmp_path / "head.npz"), Head(W, B)):
        np.testing.assert_allclose(load(path, head=head).logits, F @ W.T + B, rtol=1e-6)


def test_load_head(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"classifier.weight": W, "classifier.bias": B})
    keys = {"head_weight": "classifier.weight", "head_bias": "classifier.bias", "logits": "z"}
    head = load_head(tmp_path / "a.npz", keys=keys)
    np.testing.assert_array_equal(head.weight, W)
    np.testing.assert_array_equal(head.bias, B)
    np.save(tmp_path / "b.npy", W)
    assert load_head(tmp_path / "b.npy").bias.tolist() == [0, 0, 0]
    with pytest.raises(DataError, match=r"holds no head.*'classifier.weight'"):
        load_head(tmp_path / "a.npz")
    with pytest.raises(DataError, match="no such array for the head_weight"):
        load_head(tmp_path / "a.npz", keys={"head_weight": "fc"})


def test_heads_that_do_not_fit_are_refused_with_the_file(tmp_path: Path) -> None:
    path = npz(tmp_path, features=F)
    with pytest.raises(DataError, match=r"x.npz: features have 2 columns but head_weight has 3"):
        load(path, head=Head(W @ np.ones((2, 3), np.float32)))
    np.savez(tmp_path / "bad.npz", W=W, b=B[:2])
    with pytest.raises(DataError, match=r"bad.npz: head_bias has 2 entries but head_weight has 3"):
        load(path, head=tmp_path / "bad.npz")
    np.savez(tmp_path / "nan.npz", W=W * np.nan)
    with pytest.raises(DataError, match=r"nan.npz: head_weight holds NaN"):
        load_head(tmp_path / "nan.npz")


def test_contradictions_are_data_errors_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x.npz: arrays disagree on the number of rows"):
        load(npz(tmp_path, logits=Z, features=F[:2]))
    with pytest.raises(DataError, match=r"x.npz: arrays disagree on the number of classes"):
        load(npz(tmp_path, logits=Z, members=np.zeros((2, 4, 5))))


def test_labels_are_dropped_unread(tmp_path: Path) -> None:
    path = npz(tmp_path, logits=Z, labels=["cat", "dog", "cat", "dog"])
    assert load(path, labels=False).labels is None
    with pytest.raises(BadParameter, match="labels must be True, False or 'lenient'"):
        load(path, labels="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u8", ">i4", "f2", "f4", "f8"])
def test_labels_of_any_number_type(kind: str, tmp_path: Path) -> None:
    x = load(npz(tmp_path, logits=Z, labels=np.array([2, 0, 1, 1], kind)))
    assert x.labels is not None
    assert x.labels.dtype == np.int64
    assert x.labels.tolist() == [2, 0, 1, 1]


def test_labels_in_one_column(tmp_path: Path) -> None:
    x = load(npz(tmp_path, logits=Z, labels=np.array([[2], [0], [1], [1]])))
    assert x.labels is not None
    assert x.labels.tolist() == [2, 0, 1, 1]


def test_lenient_labels_keep_what_is_inside(tmp_path: Path) -> None:
    path = npz(tmp_path, logits=Z, labels=np.array([255, 0, 7, 2], np.uint8))
    with pytest.warns(ToolkitWarning, match="2 labels outside -1 … 2, the first in row 0"):
        x = load(path, labels="lenient")
    assert x.labels is not None
    assert x.labels.tolist() == [-1, 0, -1, 2]


def test_lenient_labels_are_still_whole_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1 is 0.5"):
        load(npz(tmp_path, logits=Z, labels=[0, 0.5, 1, 2]), labels="lenient")


def test_labels_without_logits_have_no_upper_end(tmp_path: Path) -> None:
    x = load(npz(tmp_path, features=F, labels=[0, 900, 1, 1]))
    assert x.labels is not None
    assert x.labels.max() == 900


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


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("thumbnails", np.zeros((4, 8, 8), np.float32), "expected uint8"),
        ("thumbnails", np.zeros((4, 64), np.uint8), r"must be \(N, H, W\)"),
        ("text", np.arange(4), "expected text"),
        ("text", np.array([["a"]] * 4), r"must be \(N,\)"),
        ("token_ids", np.zeros((4, 2)), "expected integers"),
        ("token_mask", np.zeros(4, bool), "two axes|matrix"),
        ("members", np.zeros((4, 3)), "three axes"),
        ("layers/a", np.zeros((4, 2, 2)), "matrix of rows"),
    ],
)
def test_parts_of_another_type_are_refused(
    name: str, array: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        load(npz(tmp_path, **{"logits": Z, name: array}))


def test_bytes_become_text(tmp_path: Path) -> None:
    x = load(npz(tmp_path, logits=Z, text=np.array([b"a", "é".encode(), b"", b"\xff"])))
    assert x.text is not None
    assert x.text.tolist() == ["a", "é", "", "\\xff"]


@pytest.mark.parametrize("path", [["a.npz"], None, 3, b"x.npz"])
def test_one_path_only(path: Any) -> None:
    with pytest.raises(InputError, match="expected one path"):
        load(path)


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(DataError):
        load("a\0.npz")


@pytest.mark.parametrize("header", ["id,cat,dog", ",cat,dog", "Unnamed: 0,cat,dog", "file,a,b"])
def test_a_table_with_an_index_and_class_names_is_not_guessed_at(
    header: str, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n7,0.5,1.5\n8,1.5,2.5\n")
    with pytest.raises(DataError, match="no logits and no features"):
        load(tmp_path / "x.csv")


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


def test_file_digest(tmp_path: Path) -> None:
    import hashlib

    path = npz(tmp_path, logits=Z)
    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    both = file_digest(tmp_path)
    (tmp_path / "y.npz").write_bytes(path.read_bytes())
    assert file_digest(tmp_path) != both
    assert file_digest("-") == ""
    with pytest.raises(DataError, match="no such file"):
        file_digest(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("suffix", "library", "extra"),
    [
        (".pt", "torch", "torch"),
        (".parquet", "pyarrow", "parquet"),
        (".h5", "h5py", "hdf5"),
        (".zarr", "zarr", "zarr"),
    ],
)
def test_missing_libraries_are_named(
    suffix: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{suffix}"
    save_outputs(Outputs(logits=Z), path)
    monkeypatch.setitem(sys.modules, library, None)
    for attempt in (load, lambda p: save_outputs(Outputs(logits=Z), p)):
        with pytest.raises(MissingDependency, match=rf"pip install 'ood_toolkit\[{extra}\]'"):
            attempt(path)


IMPORTS = """
import sys
from ood_toolkit.io import load, load_scores, save_outputs, save_scores

for path in sys.argv[1:]:
    save_outputs(load(path), path)
save_scores({"msp": [0.5]}, sys.argv[1] + ".jsonl")
load_scores(sys.argv[1] + ".jsonl")
heavy = {"torch", "pyarrow", "h5py", "zarr", "numcodecs", "sklearn", "scipy", "pandas"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_light_formats_import_no_heavy_library(tmp_path: Path) -> None:
    paths = [tmp_path / f"x{suffix}" for suffix in (".npy", ".npz", ".safetensors", ".csv")]
    for path in paths:
        save_outputs(Outputs(logits=Z), path)
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "[]\n"


@pytest.mark.skipif(not DATA, reason="OOD_TOOLKIT_DATA is not set")
def test_published_outputs_load() -> None:
    folder = Path(DATA) / "cifar10_resnet20"
    x = load(folder / "id_test.npz", head=folder / "head.npz")
    assert x.logits is not None
    assert x.features is not None
    assert x.labels is not None
    assert x.head is not None
    assert (len(x), x.classes, x.features.dtype) == (10_000, 10, np.float16)
    assert np.mean(x.logits.argmax(axis=1) == x.labels) == pytest.approx(0.9173, abs=5e-5)
    computed = load(folder / "id_test.npz", head=folder / "head.npz", keys={"logits": "logits"})
    np.testing.assert_allclose(x.head.logits(x.features), computed.logits, atol=0.05)
    # this file holds texts and bools beside its outputs, and labels of another data set
    ood = load(folder / "ood_tin.npz", labels=False)
    assert ood.labels is None
    assert sorted(ood.has()) == ["features", "logits"]
