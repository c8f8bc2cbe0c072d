"""Which array is which: names, aliases, given keys, heads, bare files and the user's word."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.errors import (
    BadParameter,
    DataError,
    InputError,
)
from ood_toolkit.io import describe, load, load_head
from ood_toolkit.outputs import Head

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


def test_a_table_that_is_no_text_is_said_to_be_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = b"1,2\n\x89PNG,3\n"
    path = tmp_path / "x.csv"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"x\.csv: is no UTF-8 text; save the table as UTF-8"):
        load(path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
    with pytest.raises(DataError, match=r"^-: standard input is read as CSV or JSON lines, and"):
        load("-")
