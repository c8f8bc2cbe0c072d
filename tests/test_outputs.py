"""The record: what it refuses and in which words, and what it works out itself."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ood_toolkit.detectors.catalogue import make_detector
from ood_toolkit.errors import DataError, InputError, MissingDependency
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.outputs import Head, Outputs
from tests.cases import record

Z = np.arange(6.0).reshape(3, 2)
F = np.arange(12.0).reshape(3, 4)
HEAD = Head(weight=np.arange(8.0).reshape(2, 4), bias=np.array([1.0, -1.0]))

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"logits": [[1, 2]]}, r"logits: dtype int64 is not .* logits.astype\('float32'\)"),
    ({"logits": Z.astype(bool)}, "logits: dtype bool is not one of"),
    ({"logits": Z.astype(complex)}, "logits: dtype complex128 is not one of"),
    ({"logits": np.array([["a", "b"]])}, "logits: dtype <U1 is not one of"),
    ({"logits": Z.astype(object)}, "logits: dtype object is not one of"),
    ({"logits": Z[0]}, r"logits must be \(N, C\), got shape \(2,\)"),
    ({"logits": Z[None]}, r"logits must be \(N, C\), got shape \(1, 3, 2\)"),
    ({"logits": np.array(1.0)}, r"logits must be \(N, C\), got shape \(\)"),
    ({"logits": Z[:, :1]}, "a classifier has at least two classes, got 1"),
    ({"logits": Z[:, :0]}, "a classifier has at least two classes, got 0"),
    ({"features": F[0]}, r"features must be \(N, D\), got shape \(4,\)"),
    ({"features": F.astype(int)}, "features: dtype int64"),
    ({"features": F[:, :0]}, "features must have at least one column"),
    ({"layers": {"block1": F[0]}}, r"layers/block1 must be \(N, D\), got shape \(4,\)"),
    ({"members": Z}, r"members must be \(M, N, C\), got shape \(3, 2\)"),
    ({"token_logits": Z}, r"token_logits must be \(N, T, V\), got shape \(3, 2\)"),
    ({"logits": Z, "labels": [0.0, 1.0, 1.0]}, "labels must be integers, got dtype float64"),
    ({"logits": Z, "labels": ["a", "b", "c"]}, "labels must be integers, got dtype <U1"),
    ({"logits": Z, "labels": [True, False, True]}, "labels must be integers, got dtype bool"),
    ({"logits": Z, "labels": [[0], [1], [0]]}, r"labels must be \(N,\), got shape \(3, 1\)"),
    ({"logits": Z, "labels": [0, 2, 5]}, r"labels: row 1 is 2, expected -1 ... 1"),
    ({"logits": Z, "labels": [0, -1, -2]}, r"labels: row 2 is -2, expected -1 ... 1"),
    (
        {"logits": Z, "labels": np.array([0, 1, 2**64 - 1], np.uint64)},
        r"labels: row 2 is 18446744073709551615, more than any class",
    ),
    ({"features": F, "labels": [0, 9, -3]}, r"labels: row 2 is -3, expected -1 or larger"),
    ({"logits": Z, "labels": [0, 1]}, "disagree on the number of rows: logits 3, labels 2"),
    ({"logits": Z, "features": F[:2]}, "disagree on the number of rows: logits 3, features 2"),
    (
        {"logits": Z, "layers": {"a": F[:1]}},
        "disagree on the number of rows: logits 3, layers/a 1",
    ),
    ({"logits": Z, "members": np.zeros((5, 4, 2))}, "number of rows: logits 3, members 4"),
    ({"logits": Z, "text": np.array(["a"])}, "number of rows: logits 3, text 1"),
    (
        {"logits": Z, "thumbnails": np.zeros((2, 4, 4), np.uint8)},
        "number of rows: logits 3, thumbnails 2",
    ),
    ({"logits": Z, "members": np.zeros((5, 3, 7))}, "number of classes: logits 2, members 7"),
    (
        {"logits": np.zeros((3, 5)), "head": HEAD},
        "number of classes: logits 5, head_weight 2",
    ),
    ({"features": F[:, :3], "head": HEAD}, "features have 3 columns but head_weight has 4"),
    (
        {"logits": Z, "features": F[:, :3], "head": HEAD},
        "features have 3 columns but head_weight has 4",
    ),
]


@pytest.mark.parametrize(("parts", "words"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_contradictions_are_refused_in_one_line(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Outputs(**parts)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 3


HEAD_REFUSED = [
    (np.zeros(4), None, r"head_weight must be \(C, D\), got shape \(4,\)"),
    (np.zeros((2, 4), int), None, "head_weight: dtype int64 is not one of"),
    (np.zeros((2, 4)), np.zeros((2, 1)), r"head_bias must be \(C\), got shape \(2, 1\)"),
    (np.zeros((2, 4)), np.zeros(3), "head_bias has 3 entries but head_weight has 2 rows"),
    (np.full((2, 4), np.nan), None, "head_weight holds NaN or infinity"),
    (np.zeros((2, 4)), np.array([0, -np.inf]), "head_bias holds NaN or infinity"),
]


@pytest.mark.parametrize(("weight", "bias", "words"), HEAD_REFUSED)
def test_a_head_is_checked(weight: Any, bias: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Head(weight=weight, bias=bias)


def test_a_head_without_bias_has_zeros() -> None:
    head = Head(weight=np.ones((3, 2), np.float32))
    assert head.bias.dtype == np.float32
    assert head.bias.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_the_four_float_types_are_kept_as_they_are(dtype: Any) -> None:
    logits = Z.astype(dtype)
    assert Outputs(logits=logits).logits is logits


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_integer_labels_of_any_width_become_int64(dtype: Any) -> None:
    labels = Outputs(logits=Z, labels=np.array([0, 1, 1], dtype)).labels
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 1]


def test_unknown_labels_are_legal() -> None:
    assert Outputs(logits=Z, labels=[-1, 0, -1]).labels.tolist() == [-1, 0, -1]


def test_logits_come_from_features_and_head() -> None:
    x = Outputs(features=F, head=HEAD)
    expected = [
        [
            sum(f * w for f, w in zip(row, HEAD.weight[c], strict=True)) + HEAD.bias[c]
            for c in (0, 1)
        ]
        for row in F
    ]
    assert x.logits == pytest.approx(np.array(expected))
    assert "logits" in x.has()


def test_given_logits_win_over_the_head() -> None:
    assert Outputs(logits=Z, features=F, head=HEAD).logits is Z


@pytest.mark.parametrize(
    ("features", "weight", "result"),
    [
        (np.float16, np.float32, np.float32),
        (np.float16, np.float16, np.float32),
        (ml_dtypes.bfloat16, np.float32, np.float32),
        (np.float32, np.float64, np.float64),
        (np.float64, np.float32, np.float64),
    ],
)
def test_computed_logits_are_at_least_float32(features: Any, weight: Any, result: Any) -> None:
    head = Head(weight=HEAD.weight.astype(weight))
    assert Outputs(features=F.astype(features), head=head).logits.dtype == result


def test_computed_logits_do_not_depend_on_the_block() -> None:
    """Blocks that begin where the canonical chunks do give the bits of the whole."""
    x = record(2 * CHUNK + 100, seed=3, dims=37, dtype=np.float32)
    for rows in (slice(0, CHUNK), slice(CHUNK, None), slice(2 * CHUNK, None)):
        assert np.array_equal(x.head.logits(x.features[rows]), x.logits[rows])


def test_heads_can_be_compared_and_kept_in_sets() -> None:
    other = Head(HEAD.weight.copy(), HEAD.bias.copy())
    assert [HEAD, other].index(other) == 1
    assert len({HEAD, other, HEAD}) == 2


def full() -> Outputs:
    return Outputs(
        logits=Z,
        features=F,
        layers={"block1": F[:, :2]},
        labels=[0, 1, -1],
        head=HEAD,
        members=np.arange(30.0).reshape(5, 3, 2),
        token_logits=np.zeros((3, 2, 7)),
        token_mask=np.ones((3, 2), bool),
        token_ids=np.ones((3, 2), int),
        thumbnails=np.zeros((3, 4, 4), np.uint8),
        text=np.array(["a", "b", "c"]),
        source="here.npz",
    )


def test_has_names_every_part() -> None:
    parts = {field.name for field in dataclasses.fields(Outputs)} - {"source"}
    assert full().has() == parts
    assert Outputs().has() == frozenset()
    assert Outputs(head=HEAD).has() == {"head"}


def test_length_and_classes() -> None:
    x = full()
    assert (len(x), x.classes) == (3, 2)
    assert (len(Outputs()), Outputs().classes) == (0, 0)
    only_members = Outputs(members=np.zeros((4, 7, 3)))
    assert (len(only_members), only_members.classes) == (7, 3)
    assert (len(Outputs(layers={"a": F})), Outputs(features=F).classes) == (3, 0)
    assert Outputs(head=HEAD).classes == 2
    assert len(Outputs(logits=Z[:0])) == 0


@pytest.mark.parametrize("index", [slice(1, 3), np.array([2, 0]), np.array([True, False, True])])
def test_rows_takes_the_same_rows_of_everything(index: Any) -> None:
    x, some = full(), full().rows(index)
    for name in ("logits", "features", "labels", "token_logits", "token_mask", "token_ids"):
        assert np.array_equal(getattr(some, name), getattr(x, name)[index])
    assert np.array_equal(some.thumbnails, x.thumbnails[index])
    assert some.text.tolist() == x.text[index].tolist()
    assert np.array_equal(some.layers["block1"], x.layers["block1"][index])
    assert np.array_equal(some.members, x.members[:, index])
    assert some.members.shape == (5, len(some), 2)
    assert some.head is x.head
    assert some.source == "here.npz"


def test_a_slice_of_rows_shares_memory() -> None:
    x = full()
    assert np.shares_memory(x.rows(slice(0, 2)).logits, x.logits)


def test_nothing_can_be_set_anew() -> None:
    x = full()
    for field in dataclasses.fields(Outputs):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(x, field.name, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        HEAD.weight = HEAD.bias
    with pytest.raises(TypeError):
        x.layers["block1"] = F  # type: ignore[index]
    with pytest.raises((AttributeError, TypeError)):
        x.extra = 1  # type: ignore[attr-defined]


def test_a_dict_of_layers_that_changes_later_changes_no_record() -> None:
    layers = {"a": F}
    x = Outputs(layers=layers)
    layers["b"] = F
    assert list(x.layers) == ["a"]


def test_errors_survive_the_way_between_processes() -> None:
    for error in (DataError("f.npz", "logits", "is odd"), MissingDependency("zarr", "zarr", "it")):
        again = copy.copy(error)  # by the same __reduce__ as pickle
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__
    assert str(MissingDependency("zarr", "zarr", "reading x")) == (
        "reading x needs zarr: pip install 'ood_toolkit[zarr]'"
    )
    assert str(DataError("f.npz", "", "is odd")) == "f.npz: is odd"


def sent(x: Outputs) -> Any:
    return pickle.loads(pickle.dumps(x))  # noqa: S301 - its own


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, sent])
def test_a_record_can_be_copied_and_sent_to_another_process(copied: Any) -> None:
    rng = np.random.default_rng(0)
    x = Outputs(
        features=rng.normal(size=(3, 4)),
        layers={"block": rng.normal(size=(3, 2))},
        labels=[0, 1, -1],
        head=HEAD,
        source="here",
    )
    found = copied(x)
    for name in ("logits", "features", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(x, name))
    np.testing.assert_array_equal(found.layers["block"], x.layers["block"])
    np.testing.assert_array_equal(found.head.weight, HEAD.weight)
    assert found.source == "here"
    with pytest.raises(TypeError):
        found.layers["other"] = found.features


@pytest.mark.parametrize("name", ["energy", "ash_s", "react", "knn", "relation", "kde", "scale"])
def test_numbers_in_swapped_byte_order_score_alike(name: str) -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 4)) ** 2, rng.integers(0, 2, 60)
    found = []
    for order in "<>":
        head = Head(HEAD.weight.astype(f"{order}f8"), HEAD.bias.astype(f"{order}f8"))
        x = Outputs(features=features.astype(f"{order}f8"), labels=labels, head=head)
        assert x.features is not None
        assert x.features.dtype == np.float64 == head.weight.dtype
        found.append(make_detector(name).fit(x).score(x))
    np.testing.assert_array_equal(*found)


def test_a_wide_bias_makes_wide_logits() -> None:
    head = Head(np.eye(2, dtype="f4"), np.array([1 / 3, 0.0]))
    logits = head.logits(np.zeros((1, 2), "f4"))
    assert logits.dtype == np.float64
    assert logits[0, 0] == 1 / 3
