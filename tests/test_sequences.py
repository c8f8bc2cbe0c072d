"""Sequence scores: which tokens count, what is refused, and in how much memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ood_toolkit.detectors import make_detector, registered, sequence_scorer
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.outputs import Outputs
from tests.cases import record

NAMES = [row.name for row in registered() if row.family == "sequences"]

each_score = pytest.mark.parametrize("name", NAMES)


def scored(name: str, x: Outputs) -> np.ndarray:
    return make_detector(name).fit().score(x)


@pytest.fixture(scope="module")
def x() -> Outputs:
    return record(40, seed=3)


def test_there_are_four() -> None:
    assert len(NAMES) == 4


@each_score
def test_what_stands_at_masked_places_does_not_matter(name: str, x: Outputs) -> None:
    logits, ids = x.token_logits.copy(), x.token_ids.copy()
    logits[~x.token_mask] = np.nan
    ids[~x.token_mask] = -100
    padded = replace(x, token_logits=logits, token_ids=ids)
    assert np.array_equal(scored(name, padded), scored(name, x))


@each_score
def test_a_mask_of_integers_and_no_mask(name: str, x: Outputs) -> None:
    as_integers = replace(x, token_mask=2 * x.token_mask.astype(np.uint8))
    assert np.array_equal(scored(name, as_integers), scored(name, x))
    everything = replace(x, token_mask=np.ones_like(x.token_mask))
    assert np.array_equal(scored(name, replace(x, token_mask=None)), scored(name, everything))


@each_score
def test_a_sequence_without_tokens_scores_nan_with_a_warning(name: str, x: Outputs) -> None:
    mask = x.token_mask.copy()
    mask[[4, 9]] = False
    with pytest.warns(ToolkitWarning, match=f"{name}: row 4 and 1 more have no token"):
        scores = scored(name, replace(x, token_mask=mask))
    assert np.flatnonzero(np.isnan(scores)).tolist() == [4, 9]
    rest = np.isfinite(scores)
    assert np.array_equal(scores[rest], scored(name, x)[rest])


@each_score
def test_blocks_of_tokens_change_no_bit(
    name: str, x: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scored(name, x)
    monkeypatch.setattr(sequence_scorer, "BLOCK_ELEMENTS", 20)
    assert np.array_equal(scored(name, x), whole)
    monkeypatch.setattr(sequence_scorer, "BLOCK_ELEMENTS", 1)  # less than one token
    assert np.array_equal(scored(name, x), whole)


@each_score
def test_any_memory_layout(name: str, x: Outputs) -> None:
    strided = np.asfortranarray(np.repeat(x.token_logits, 2, axis=2))[..., ::2]
    strided.flags.writeable = False
    mask, ids = np.asfortranarray(x.token_mask), np.asfortranarray(x.token_ids)
    again = replace(x, token_logits=strided, token_mask=mask, token_ids=ids)
    assert np.array_equal(scored(name, again), scored(name, x))


def test_a_masked_word_is_no_word() -> None:
    z = np.log([[[0.5, 0.25, 0.25]]])
    z[0, 0, 2] = -np.inf
    pair = np.log([[[0.5, 0.25]]])
    ids = np.array([[1]])
    for name in NAMES:
        got = scored(name, Outputs(token_logits=z, token_ids=ids))
        assert got == pytest.approx(scored(name, Outputs(token_logits=pair, token_ids=ids)))
    gone = Outputs(token_logits=z, token_ids=np.array([[2]]))
    assert scored("sequence_log_probability", gone).tolist() == [-np.inf]
    assert scored("sequence_worst_token", gone).tolist() == [-np.inf]


def test_the_variance_of_a_uniform_token_is_zero_and_never_less() -> None:
    x = Outputs(token_logits=np.full((3, 2, 7), 1.3))
    scores = scored("sequence_softmax_variance", x)
    assert (scores >= 0).all()
    assert scores == pytest.approx(0.0, abs=1e-17)


def test_what_is_refused(x: Outputs) -> None:
    logits = x.token_logits.copy()
    logits[7, 0] = -np.inf
    with pytest.raises(InputError, match="row 7 holds only -inf at token 0"):
        scored("sequence_entropy", replace(x, token_logits=logits))
    ids = x.token_ids.copy()
    ids[11, 0] = 6
    with pytest.raises(InputError, match=r"row 11 has 6 at token 0, expected 0 \.\.\. 5"):
        scored("sequence_worst_token", replace(x, token_ids=ids))
    with pytest.raises(InputError, match=r"token_mask must be \(40, 4\).* got \(40, 3\)"):
        scored("sequence_entropy", replace(x, token_mask=x.token_mask[:, :3]))
    with pytest.raises(InputError, match=r"token_ids must be \(40, 4\)"):
        scored("sequence_worst_token", replace(x, token_ids=x.token_ids[:, :3]))
    with pytest.raises(InputError, match="sequence_log_probability needs token_ids"):
        scored("sequence_log_probability", Outputs(token_logits=x.token_logits))


@each_score
def test_memory_is_that_of_a_block(name: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(32, 64, 8192)).astype(np.float32)
    x = Outputs(token_logits=logits, token_ids=rng.integers(0, 8192, (32, 64)))
    scored(name, x.rows(slice(0, 1)))
    tracemalloc.start()
    scored(name, x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.2 * 4 * sequence_scorer.BLOCK_ELEMENTS < 0.6 * logits.nbytes
