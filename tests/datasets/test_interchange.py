"""Files of OpenOOD and FD-Shifts: read, written, and OpenOOD's digits from the same arrays."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from ood_toolkit.datasets import (
    ScoreFile,
    benchmark_record,
    read_fd_shifts,
    read_openood_scores,
    write_fd_shifts,
    write_openood_scores,
)
from ood_toolkit.errors import DataError, InputError, ToolkitWarning
from ood_toolkit.evaluation import Convention
from ood_toolkit.evaluation.stored_scores import (
    OPENOOD,
    StoredScores,
    evaluate_scores,
    openood_csv,
)
from ood_toolkit.outputs import Head, Outputs


def put(folder: Path, name: str, conf: Any, label: Any, pred: Any = None) -> None:
    """As OpenOOD's `_save_scores` writes it."""
    folder.mkdir(exist_ok=True)
    pred = np.zeros(len(conf), np.int64) if pred is None else pred
    np.savez(folder / name, pred=pred, conf=np.asarray(conf), label=np.asarray(label))


def scores_of(seed: int, *, ties: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """conf, label and prediction of CIFAR-10's sets, in float32 as networks give them."""
    rng = np.random.default_rng(seed)
    # prime numbers of rows: no figure lies on the boundary between two printed digits
    sets = {"cifar10": (499, 1.5), "cifar100": (307, 0.6), "tin": (211, 0.5)}
    sets |= {"mnist": (401, 0.0), "svhn": (353, 0.1), "texture": (101, 0.2), "places365": (89, 0.3)}
    found = {}
    for name, (rows, shift) in sets.items():
        conf = rng.normal(shift, 1, rows).astype(np.float32)
        if ties:
            conf = (np.round(conf * ties) / ties).astype(np.float32)
        pred = rng.integers(0, 10, rows)
        right = np.where(rng.random(rows) < 0.9, pred, (pred + 1) % 10)
        found[name] = conf, right if name == "cifar10" else np.full(rows, -1), pred
    return found


def published_metrics(
    known: tuple[np.ndarray, ...], strange: tuple[np.ndarray, ...]
) -> list[float]:
    """What OpenOOD's evaluator computes of a pair, restated from its definition.

    OOD is the positive class with score -conf; FPR at the first point of scikit-learn's ROC
    curve, points it drops included, whose TPR is 0.95 or more; areas by the trapezoid rule.
    """
    conf, label, pred = (np.concatenate(pair) for pair in zip(known, strange, strict=True))
    outside = (label == -1).astype(int)
    false, true, _ = sk.roc_curve(outside, -conf)
    areas = []
    for positive, score in ((1 - outside, conf), (outside, -conf)):
        precision, recall, _ = sk.precision_recall_curve(positive, score)
        areas.append(float(np.trapezoid(precision[::-1], recall[::-1])))
    inside = label != -1
    accuracy = float((pred[inside] == label[inside]).mean())
    fpr = float(false[np.flatnonzero(true >= 0.95)[0]])
    return [fpr, float(np.trapezoid(true, false)), *areas, accuracy]


def published_csv(sets: dict[str, tuple[np.ndarray, ...]]) -> list[list[str]]:
    """The rows of OpenOOD's ood.csv."""
    rows = [["dataset", "FPR@95", "AUROC", "AUPR_IN", "AUPR_OUT", "ACC"]]
    groups = {"nearood": ["cifar100", "tin"], "farood": ["mnist", "svhn", "texture", "places365"]}
    for group, names in groups.items():
        figures = [published_metrics(sets["cifar10"], sets[name]) for name in names]
        for name, row in zip([*names, group], [*figures, np.mean(figures, axis=0)], strict=True):
            rows.append([name, *(f"{100 * value:.2f}" for value in row)])
    return rows


@pytest.mark.parametrize("ties", [0, 2, 5, 20])
@pytest.mark.parametrize("seed", range(4))
def test_the_digits_of_openood_from_the_same_arrays(tmp_path: Path, seed: int, ties: int) -> None:
    sets = scores_of(seed, ties=ties)
    for name, arrays in sets.items():
        put(tmp_path / "scores", name, arrays[0], arrays[1], arrays[2])
    record = benchmark_record("cifar10")
    read = read_openood_scores(tmp_path / "scores", record)
    stored = StoredScores(
        read.id.score,
        {name: file.score for name, file in read.ood.items()},
        read.id.prediction == read.id.label,
    )
    result = evaluate_scores(
        {"energy": stored}, record.groups, convention=OPENOOD, bootstrap=0, id_name="cifar10"
    )
    assert list(csv.reader(io.StringIO(openood_csv(result, "energy")))) == published_csv(sets)
    for row in result.results:
        expected = published_metrics(sets["cifar10"], sets[row.ood])
        found = [row.fpr, row.auroc, row.aupr_in, row.aupr_out]
        np.testing.assert_allclose(found, expected[:4], rtol=0, atol=1e-9)


def test_another_convention_has_no_table_of_openood() -> None:
    scores = {"m": StoredScores(np.arange(4.0), {"a": np.zeros(3)})}
    with pytest.warns(ToolkitWarning, match="4 rows of the positive set cannot bound it"):
        result = evaluate_scores(scores, {"a": "near"}, bootstrap=0)
    with pytest.raises(InputError, match="--fpr-rule openood --aupr trapezoid"):
        openood_csv(result, "m")
    with pytest.warns(ToolkitWarning, match="3 rows of the positive set cannot bound it"):
        result = evaluate_scores(scores, {"a": "near"}, convention=OPENOOD, bootstrap=0)
    # by hand: ID 0 1 2 3 against 0 0 0.  AUPR-in: precision 1 to recall 3/4, then 4/7 at recall
    # 1: 3/4 + (1 + 4/7) / 8 = 0.946429; AUPR-out: from precision 1 to 3/4: 7/8
    assert openood_csv(result, "m").splitlines()[1:] == [
        "a,25.00,87.50,94.64,87.50,nan", "nearood,25.00,87.50,94.64,87.50,nan"
    ]  # fmt: skip
    with pytest.raises(InputError, match="other has no results; there are m"):
        openood_csv(result, "other")


def test_the_id_file_is_found(tmp_path: Path) -> None:
    put(tmp_path, "digits", [0.9, 0.8], [0, 3])
    put(tmp_path, "street", [0.1], [-1])
    put(tmp_path, "blurred", [0.5, 0.6], [1, 1])
    (tmp_path / "notes.txt").write_text("not one of them")
    with pytest.raises(DataError, match="blurred, digits hold known classes; name the in-dist"):
        read_openood_scores(tmp_path)
    found = read_openood_scores(tmp_path, id_name="digits")
    assert (found.id_name, list(found.csid), list(found.ood)) == ("digits", ["blurred"], ["street"])
    with pytest.raises(DataError, match="name the in-distribution file"):
        read_openood_scores(tmp_path, id_name="street")
    with pytest.raises(DataError, match="street: is no set of cifar10, which has"):
        read_openood_scores(tmp_path, benchmark_record("cifar10"), "digits")
    with pytest.raises(DataError, match="is no folder of score files"):
        read_openood_scores(tmp_path / "digits.npz")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"pred": [0], "conf": [0.5]}, "label: is missing"),
    ({"pred": [0], "conf": [0.5, 1], "label": [0, 1]}, "expected as many of each"),
    ({"pred": np.zeros(0, int), "conf": np.zeros(0), "label": np.zeros(0, int)}, "one or more"),
    ({"pred": [0, 1], "conf": [0.5, np.nan], "label": [0, 1]}, "conf: row 1 is NaN"),
    ({"pred": [0, 1], "conf": [0.5, 0.4], "label": [0, -1]}, "label: row 1 is -1: a file holds"),
    ({"pred": [0.0, 1], "conf": [0.5, 0.4], "label": [0, 1]}, "pred: is float64, not whole"),
    ({"pred": [0], "conf": ["x"], "label": [0]}, "conf: is <U1, not numbers"),
    ({"pred": [[0]], "conf": [[0.1]], "label": [[0]]}, r"pred: has shape \(1, 1\), expected"),
]


@pytest.mark.parametrize(("arrays", "message"), WRONG)
def test_score_files_that_are_none(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "x.npz", **{key: np.asarray(value) for key, value in arrays.items()})
    with pytest.raises(DataError, match=message) as caught:
        read_openood_scores(tmp_path)
    assert "\n" not in str(caught.value)


def test_objects_in_score_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", pred=np.array([{}], dtype=object), conf=[0.1], label=[0])
    with pytest.raises(DataError, match="pred"):
        read_openood_scores(tmp_path)


def test_score_files_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {
        "known": ScoreFile(np.array([1, 2, 0]), rng.normal(size=3), np.array([1, 2, 2])),
        "strange": ScoreFile(np.array([0, 1]), np.array([-np.inf, 0.1]), np.array([-1, -1])),
    }
    written = write_openood_scores(tmp_path / "new" / "scores", files)
    assert [Path(path).name for path in written] == ["known.npz", "strange.npz"]
    with np.load(written[0]) as plain:  # numpy alone reads them, as OpenOOD's users do
        assert {key: plain[key].dtype.str for key in plain} == {
            "pred": "<i8", "conf": "<f8", "label": "<i8"
        }  # fmt: skip
    read = read_openood_scores(tmp_path / "new" / "scores")
    for found, given in ((read.id, files["known"]), (read.ood["strange"], files["strange"])):
        np.testing.assert_array_equal(found.prediction, given.prediction)
        np.testing.assert_array_equal(found.score, given.score)
        np.testing.assert_array_equal(found.label, given.label)
    with pytest.raises(InputError, match="cannot name a score file"):
        write_openood_scores(tmp_path, {"../x": files["known"]})
    with pytest.raises(InputError, match="no scores to write"):
        write_openood_scores(tmp_path, {})


# Stored scores


def test_stored_scores_are_measured_as_evaluate_measures() -> None:
    import ood_toolkit as ood

    data = ood.load_benchmark("digits")
    expected = ood.evaluate(
        ["energy", "msp"], id=data.id, ood=data.ood, groups=data.groups, bootstrap=50, compare=False
    )
    methods = ["energy", "msp"]
    inside = ood.score(data.id, methods)
    others = {name: ood.score(x, methods) for name, x in data.ood.items()}
    correct = data.id.logits.argmax(1) == data.id.labels
    found = evaluate_scores(
        {
            m: StoredScores(inside[m], {n: s[m] for n, s in others.items()}, correct)
            for m in methods
        },
        data.groups,
        bootstrap=50,
    )
    assert found.results == expected.results
    assert found.means() == expected.means()
    assert (found.n_id, found.accuracy) == (expected.n_id, expected.accuracy)
    only = Convention(id_subset="correct")
    expected = ood.evaluate(
        "msp", id=data.id, ood=data.ood, groups=data.groups, bootstrap=0, id_subset="correct"
    )
    scores = {"msp": StoredScores(inside["msp"], {n: s["msp"] for n, s in others.items()}, correct)}
    found = evaluate_scores(scores, data.groups, convention=only, bootstrap=0)
    assert found.results == expected.results


def test_stored_scores_that_do_not_go_together() -> None:
    one = StoredScores(np.zeros(3), {"a": np.zeros(2)})
    with pytest.raises(InputError, match="there are no scores"):
        evaluate_scores({})
    with pytest.raises(InputError, match="has no out-of-distribution scores"):
        evaluate_scores({"m": StoredScores(np.zeros(3), {})})
    with pytest.raises(InputError, match="n: its sets or their rows are not those of m"):
        evaluate_scores({"m": one, "n": StoredScores(np.zeros(3), {"a": np.zeros(3)})})
    with pytest.raises(InputError, match="id_subset=correct"):
        evaluate_scores({"m": one}, convention=Convention(id_subset="correct"))


# FD-Shifts


def test_raw_logits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits, features = rng.normal(size=(7, 3)), rng.normal(size=(7, 5))
    labels = np.array([0, 2, 1, 2, 9, -1, 1])
    number = np.array([1, 0, 1, 0, 4, 4, 1])
    rows = np.column_stack([logits, labels, number]).astype(np.float32)
    np.savez_compressed(tmp_path / "raw_logits.npz", rows)
    found = read_fd_shifts(tmp_path / "raw_logits.npz")
    assert list(found) == [0, 1, 4]
    np.testing.assert_array_equal(found[1].logits, rows[number == 1, :3])
    assert [x.labels.tolist() for x in found.values()] == [[2, 2], [0, 1, 1], [-1, -1]]
    assert found[0].features is None
    np.savez_compressed(tmp_path / "encoded_output.npz", np.column_stack([features, number]))
    np.savez(tmp_path / "last_layer.npz", w=np.ones((3, 5)), b=np.zeros(3))
    found = read_fd_shifts(tmp_path)
    np.testing.assert_array_equal(found[4].features, features[number == 4])
    assert found[4].head is not None


def test_written_for_fd_shifts_and_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    head = Head(weight=np.ones((3, 2)), bias=np.zeros(3))
    sets = [
        Outputs(
            logits=rng.normal(size=(n, 3)).astype(np.float32),
            features=rng.normal(size=(n, 2)).astype(np.float32),
            labels=rng.integers(-1, 3, n) if n > 4 else None,
            head=head,
        )
        for n in (5, 6, 4)
    ]
    written = write_fd_shifts(tmp_path, sets)
    names = ["raw_logits.npz", "encoded_output.npz", "last_layer.npz"]
    assert [Path(path).name for path in written] == names
    with np.load(written[0]) as plain:
        assert plain["arr_0"].shape == (15, 5)
    for found, given in zip(read_fd_shifts(tmp_path).values(), sets, strict=True):
        np.testing.assert_array_equal(found.logits, given.logits)
        np.testing.assert_array_equal(found.features, given.features)
        expected = np.full(len(given), -1) if given.labels is None else given.labels
        np.testing.assert_array_equal(found.labels, expected)
    assert len(write_fd_shifts(tmp_path / "bare", [Outputs(logits=np.eye(3))])) == 1
    with pytest.raises(InputError, match="has no logits"):
        write_fd_shifts(tmp_path, [Outputs(features=np.eye(3))])
    with pytest.raises(InputError, match="2 classes, the first set 3"):
        write_fd_shifts(tmp_path, [sets[0], Outputs(logits=np.eye(2))])
    with pytest.raises(InputError, match="no outputs to write"):
        write_fd_shifts(tmp_path, [])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"expected floats \(N, 4 or more\)"),
        (np.zeros((2, 4), int), "expected floats"),
        (np.zeros(4), "expected floats"),
        (np.array([[1.0, 2, 0.5, 0]]), "row 0: label 0.5 is no whole number"),
        (np.array([[1.0, 2, 0, 0], [1, 2, 0, np.nan]]), "row 1: data set nan is no whole number"),
    ],
)
def test_raw_logits_that_are_none(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "raw_logits.npz", array)
    with pytest.raises(DataError, match=message):
        read_fd_shifts(tmp_path)


def test_files_of_fd_shifts_that_do_not_go_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "raw_logits.npz", logits=np.zeros((2, 4)))
    with pytest.raises(DataError, match="holds logits; expected one array without a name"):
        read_fd_shifts(tmp_path)
    np.savez(tmp_path / "raw_logits.npz", np.zeros((2, 4)))
    np.savez(tmp_path / "encoded_output.npz", np.ones((2, 4)))
    with pytest.raises(DataError, match=r"encoded_output\.npz: arr_0: its rows are not those of"):
        read_fd_shifts(tmp_path)
    (tmp_path / "encoded_output.npz").unlink()
    np.savez(tmp_path / "last_layer.npz", w=np.ones((3, 5)))
    with pytest.raises(DataError, match=r"last_layer\.npz: b: is missing"):
        read_fd_shifts(tmp_path)


def test_features_of_other_outputs_are_not_left_beside_new_logits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3))
    write_fd_shifts(tmp_path, [Outputs(logits=logits, features=rng.normal(size=(4, 2)))])
    with pytest.raises(DataError, match=r"encoded_output.npz: is of other outputs"):
        write_fd_shifts(tmp_path, [Outputs(logits=-logits)])
    np.testing.assert_array_equal(read_fd_shifts(tmp_path)[0].logits, logits)
