"""What a report draws, against plain loops over the scores."""

from __future__ import annotations

import io
import json
import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ood_toolkit.evaluation.confidence_pictures import (
    POINTS,
    accuracy_by_score,
    classifier_picture,
    risk_picture,
)
from ood_toolkit.evaluation.pictures import BINS, ROWS, Pictures, extreme_rows, pair_picture
from ood_toolkit.evaluation.specimens import BUDGET, LETTERS, png, shrunk, specimens
from ood_toolkit.metrics import Ranking
from ood_toolkit.outputs import Outputs
from tests.cases import mostly_right

some_scores = hnp.arrays(
    np.float64,
    st.integers(1, 40),
    elements=st.one_of(
        st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.sampled_from([math.inf, -math.inf])
    ),
)


def normal(rows: int, mean: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, rows)


@given(some_scores, some_scores)
def test_counts_are_those_of_some_threshold(id_scores: np.ndarray, ood_scores: np.ndarray) -> None:
    counts = pair_picture(Ranking.of(id_scores, ood_scores))["at_or_above"]
    possible = {(0, 0)}
    for threshold in [*id_scores, *ood_scores]:
        possible.add((int((id_scores >= threshold).sum()), int((ood_scores >= threshold).sum())))
    points = list(zip(counts["id"], counts["ood"], strict=True))
    assert set(points) <= possible
    assert points == sorted(points)
    assert points[0] == (0, 0)
    assert points[-1] == (len(id_scores), len(ood_scores))
    assert len(points) <= POINTS


def test_sixty_four_points_keep_the_area() -> None:
    ranking = Ranking.of(normal(5000, 1.5, 0), normal(4000, 0.0, 1))
    counts = pair_picture(ranking)["at_or_above"]
    tpr, fpr = np.array(counts["id"]) / 5000, np.array(counts["ood"]) / 4000
    assert len(tpr) <= POINTS
    assert np.trapezoid(tpr, fpr) == pytest.approx(ranking.auroc(), abs=1e-3)


@given(some_scores, some_scores)
def test_histograms_count_every_score_once(id_scores: np.ndarray, ood_scores: np.ndarray) -> None:
    bins = pair_picture(Ranking.of(id_scores, ood_scores))["histogram"]
    assert bins["low"] < bins["high"]
    for name, scores in (("id", id_scores), ("ood", ood_scores)):
        assert len(bins[name]) == BINS
        assert sum(bins[name]) == len(scores)
        assert min(bins[name]) >= 0


def test_histograms_agree_with_a_loop_and_their_ends_hold_what_lies_beyond() -> None:
    id_scores = np.concatenate((normal(3000, 2.0, 0), [1e9, math.inf]))
    ood_scores = np.concatenate((normal(2000, 0.0, 1), [-1e9, -math.inf]))
    bins = pair_picture(Ranking.of(id_scores, ood_scores))["histogram"]
    together = np.sort(np.concatenate((id_scores, ood_scores)))
    cut = 0.006 * together.size
    assert together[0] < together[math.floor(cut / 3)] < bins["low"] < together[math.ceil(cut)]
    assert together[-math.ceil(cut)] < bins["high"] < together[-math.floor(cut / 3)]
    for name, scores in (("id", id_scores), ("ood", ood_scores)):
        expected = [0] * BINS
        width = (bins["high"] - bins["low"]) / BINS
        for score in scores:
            place = -1 if score < bins["low"] else BINS if score >= bins["high"] else None
            if place is None:
                place = int((score - bins["low"]) / width)
            expected[min(max(place, 0), BINS - 1)] += 1
        # the ends are written with five digits, so a score at an edge may change bins
        assert np.abs(np.array(bins[name]) - expected).sum() <= 6


def test_equal_and_only_infinite_scores_have_a_histogram() -> None:
    for value in (0.0, 5.0, -2e12, math.inf):
        bins = pair_picture(Ranking.of([value] * 3, [value] * 2))["histogram"]
        assert bins["low"] < bins["high"]
        assert sum(bins["id"]) == 3
        assert sum(bins["ood"]) == 2


def test_risk_is_that_of_the_rows_kept() -> None:
    scores = normal(500, 0.0, 3).round(1)  # many ties
    correct = np.random.default_rng(4).random(500) < 0.7 + 0.1 * scores
    picture = risk_picture(scores, correct)
    assert picture["rows"] == 500
    assert picture["coverage"][-1] == 1.0
    assert len(picture["coverage"]) == POINTS
    for coverage, risk in zip(picture["coverage"], picture["risk"], strict=True):
        kept = round(coverage * 500)
        border = sorted(scores)[::-1][kept - 1]
        above, at = scores > border, scores == border
        among = (kept - above.sum()) / at.sum()  # expected over the orders of tied rows
        wrong = (~correct[above]).sum() + among * (~correct[at]).sum()
        assert risk == pytest.approx(wrong / kept, rel=1e-4, abs=1e-9)


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(0, 9).map(float)))
def test_groups_hold_each_row_once_and_split_no_score(scores: np.ndarray) -> None:
    correct = np.arange(scores.size) % 3 > 0
    groups = accuracy_by_score(scores, correct)
    assert sum(g["rows"] for g in groups) == scores.size
    assert sum(g["right"] for g in groups) == correct.sum()
    for group in groups:
        inside = (scores >= group["low"]) & (scores <= group["high"])
        assert inside.sum() == group["rows"]
        assert correct[inside].sum() == group["right"]
    assert len(groups) <= 10


def test_groups_without_ties_are_of_equal_number() -> None:
    groups = accuracy_by_score(np.arange(100.0), np.ones(100, dtype=bool))
    assert [g["rows"] for g in groups] == [10] * 10


def test_the_reliability_diagram_counts_rows_by_confidence() -> None:
    x = mostly_right(400, seed=0, spread=0.7)
    assert x.logits is not None
    correct = x.logits.argmax(axis=1) == x.labels
    bins = classifier_picture(x, correct)["bins"]
    powers = np.exp(x.logits - x.logits.max(axis=1, keepdims=True))
    confidence = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1)
    assert sum(b["rows"] for b in bins) == 400
    for one in bins:
        place = round(one["high"] * 15)
        inside = (confidence > (place - 1) / 15) & (confidence <= place / 15)
        assert inside.sum() == one["rows"]
        assert correct[inside].sum() == one["right"]
        assert confidence[inside].mean() == pytest.approx(one["confidence"], rel=1e-4)


@given(some_scores, st.booleans())
def test_extremes_are_the_first_of_a_sorted_list(scores: np.ndarray, lowest: bool) -> None:
    sign = 1.0 if lowest else -1.0
    expected = sorted(range(scores.size), key=lambda row: (sign * scores[row], row))[:ROWS]
    assert [row for row, _ in extreme_rows(scores, lowest=lowest)] == expected


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (4, 3, 3)])
def test_a_png_holds_its_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    Image.open(io.BytesIO(png(pixels))).verify()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)


def test_a_png_is_checked_and_compressed() -> None:
    flat = png(np.full((64, 64), 7, dtype=np.uint8))
    assert len(flat) < 200
    length = int.from_bytes(flat[33:37], "big")
    assert flat[37:41] == b"IDAT"
    assert len(zlib.decompress(flat[41 : 41 + length])) == 64 * 65


def test_shrinking_takes_means_of_squares() -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 5, 3)).astype(np.uint8)
    small = shrunk(image, side=4)
    assert small.shape == (3, 2, 3)
    for row in range(3):
        for column in range(2):
            square = image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3].astype(float)
            assert np.abs(small[row, column] - square.mean(axis=(0, 1))).max() <= 0.5


def test_shrinking_leaves_small_pictures_and_drops_transparency() -> None:
    image = np.zeros((8, 8, 4), dtype=np.uint8)
    assert shrunk(image).shape == (8, 8, 3)
    assert shrunk(image[..., :1]).shape == (8, 8)


def test_each_specimen_is_there_once_with_what_is_known_of_it() -> None:
    x = mostly_right(20, seed=0)
    words = np.array(["word" * 200] + ["short"] * 19)
    inside = replace(x, text=words)
    outside = replace(x, thumbnails=np.zeros((20, 4, 4), dtype=np.uint8))
    extremes = [
        {"set": "", "rows": [[0, 1.0], [3, 2.0]]},
        {"set": "", "rows": [[0, 5.0]]},
        {"set": "far", "rows": [[0, 7.0]]},
    ]
    found = specimens({"": inside, "far": outside}, extremes)
    assert sorted((one["set"], one["row"]) for one in found) == [("", 0), ("", 3), ("far", 0)]
    by = {(one["set"], one["row"]): one for one in found}
    assert x.labels is not None
    assert by["", 3]["label"] == x.labels[3]
    assert "label" not in by["far", 0]  # labels of out-of-distribution sets are not read
    assert len(by["", 0]["text"]) == LETTERS
    assert by["far", 0]["image"].startswith("data:image/png;base64,")


def test_pictures_stop_at_the_budget_the_least_used_first() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 40, 40, 3)).astype(np.uint8)
    x = Outputs(logits=np.zeros((400, 2)), thumbnails=noise)
    extremes = [{"set": "a", "rows": [[row, 0.0]]} for row in range(400)]
    extremes += [{"set": "a", "rows": [[399, 0.0]]}]
    found = specimens({"a": x}, extremes)
    images = [one["image"] for one in found if "image" in one]
    assert len(found) == 400
    assert 50 < len(images) < 400
    assert sum(map(len, images)) <= BUDGET
    assert "image" in next(one for one in found if one["row"] == 399)


def test_the_document_is_plain_whatever_the_scores() -> None:
    x = mostly_right(50, seed=0)
    collected = Pictures(x, {"far": x}, np.ones(50, dtype=bool))
    scores = normal(50, 0.0, 0)
    scores[:2] = math.inf, -math.inf
    for method in ("energy", "of_mine", "react+gen"):
        collected.rows(method, "", scores)
        collected.rows(method, "far", scores)
        collected.pair(method, "far", Ranking.of(scores, scores))
    document = json.loads(json.dumps(collected.document(), allow_nan=False))
    assert document["scored_rows"] == 100
    assert [m["method"] for m in document["methods"]] == ["energy", "of_mine", "react+gen"]
    assert [m.get("family") for m in document["methods"]] == ["logits", None, "features + head"]
    assert document["extremes"][0]["rows"][0] == [1, "-inf"]
    assert sum(b["rows"] for b in document["classifier"]["bins"]) == 50


def test_without_labels_there_is_no_risk() -> None:
    x = mostly_right(10, seed=0)
    collected = Pictures(x, {})
    collected.rows("energy", "", normal(10, 0.0, 0))
    document = collected.document()
    assert "classifier" not in document
    assert "risk_coverage" not in document["methods"][0]
