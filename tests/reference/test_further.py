"""The twins in further.py against known answers, outside code and the laws of each score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ood_toolkit.outputs import Array, Head, Outputs
from tests.reference import CORE as TWINS
from tests.reference.from_features import float_features
from tests.reference.further import FURTHER
from tests.reference.further_features import activations
from tests.reference.further_known import FURTHER_CASES
from tests.reference.further_logits import outside_image
from tests.reference.known import Case, assert_digits, blobs, fixture, floats, tiny_head


@pytest.mark.parametrize("case", FURTHER_CASES, ids=str)
def test_known_answers(case: Case) -> None:
    held_out = {} if case.validation is None else {"validation": case.validation}
    score = FURTHER[case.method](case.x, case.train, **held_out, **case.parameters)
    assert score.dtype == np.float64
    assert_digits(score, case.score, case.digits)


def test_every_twin_has_a_known_answer() -> None:
    assert {case.method for case in FURTHER_CASES} == set(FURTHER)
    assert not set(FURTHER) & set(TWINS)


@pytest.mark.parametrize(("rule", "key"), [("p", "P"), ("b", "B"), ("s", "S"), ("", "SCALE")])
def test_shaped_activations(rule: str, key: str) -> None:
    known = fixture("known_answers")[f"act_shape_{key}_p70"]
    name = f"ash_{rule}" if rule else "scale"
    assert_digits(activations(floats(known["f"]), name, 70.0), known["out"])


def test_shaping_at_its_limits() -> None:
    f = floats([0, 1, 1, 0])
    assert activations(f, "ash_p", 75).tolist() == [0, 1, 0, 0]  # the first of a tie stays
    assert activations(f, "ash_p", 62.5).tolist() == [0, 1, 1, 0]  # 2.5 rounds to even
    for rule in ("ash_s", "scale"):
        assert activations(np.zeros(4), rule, 50).tolist() == [0, 0, 0, 0]


def test_what_lies_outside_the_image_of_the_head() -> None:
    known = fixture("known_answers")["logit_image"]
    z, weight = floats(known["logits"]), floats(known["W"])
    logs = z - np.log(np.sum(np.exp(z)))
    assert_digits(logs, known["logprob"])
    assert outside_image(z, weight) < 1e-14
    assert_digits(outside_image(z + floats([0, 0, 0, 1]), weight), known["resid_perturbed"], 11)
    assert_digits(outside_image(logs, weight), known["resid_logprob_without_ones"], 11)
    assert outside_image(logs, weight, ones=True) < 1e-14


def with_members(x: Outputs, rng: np.random.Generator) -> Outputs:
    """Five members and sequences that agree on the first three rows and not on the others."""
    noise = rng.normal(size=(5, len(x), 3)) * np.where(np.arange(len(x)) < 3, 0.1, 6)[:, None]
    tokens = np.where(np.arange(len(x)) < 3, 9.0, 1.0)[:, None, None] * np.eye(4)[[0, 1, 2]]
    return Outputs(
        features=x.features,
        head=x.head,
        members=floats(x.logits) + noise,
        token_logits=tokens,
        token_ids=np.tile(np.arange(3), (len(x), 1)),
    )


# Scores that grow with the norm of the features: away is small for them, large for the others.
OF_THE_NORM = {"ash_b", "ash_p", "ash_s", "dice", "feature_norm", "gradnorm", "scale", "she", "vra"}


# These see neither size nor place of the features, or not in these rows; their own tests say
# which way is up.
OF_THE_SHAPE = {"logit_signature", "nac", "standardized_logit"}


@pytest.mark.parametrize("method", sorted(set(FURTHER) - OF_THE_SHAPE))
def test_larger_is_more_in_distribution(method: str) -> None:
    x, train = blobs()
    rng = np.random.default_rng(11)
    if method in OF_THE_NORM:
        small = np.vstack([float_features(x)[:3], rng.uniform(0, 0.05, size=(3, 8))])
        x = Outputs(features=small, head=x.head)
    score = FURTHER[method](with_members(x, rng), train)
    assert score[:3].min() > score[3:].max()


@pytest.mark.parametrize("method", sorted(FURTHER))
def test_a_row_scores_alone_as_in_a_batch(method: str) -> None:
    x, train = blobs()
    x = with_members(x, np.random.default_rng(11))
    score = FURTHER[method](x, train)
    alone = [FURTHER[method](x.rows(slice(n, n + 1)), train) for n in range(len(x))]
    np.testing.assert_array_equal(np.concatenate(alone), score)
    empty = FURTHER[method](x.rows(slice(0, 0)), train)
    assert empty.shape == (0,)
    assert empty.dtype == np.float64


def test_gradnorm_is_the_gradient() -> None:
    torch = pytest.importorskip("torch")
    x, train = tiny_head()
    for target, weight_of_a_class in (("ones", 1.0), ("uniform", 0.5)):
        norms = []
        for f in float_features(x):
            w = torch.tensor(train.head.weight, requires_grad=True)  # type: ignore[union-attr]
            logits = w @ torch.tensor(f) + torch.tensor(train.head.bias)  # type: ignore[union-attr]
            (-weight_of_a_class * torch.log_softmax(logits, 0).sum()).backward()
            norms.append(float(w.grad.abs().sum()))
        score = FURTHER["gradnorm"](x, train, target=target)
        np.testing.assert_allclose(score, norms, rtol=1e-13)


@pytest.mark.parametrize("method", ["fdbd", "nci", "ora", "residual", "she"])
def test_turning_features_and_head_together_changes_nothing(method: str) -> None:
    x, train = blobs()
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))

    def turned(record: Outputs) -> Outputs:
        assert record.head is not None
        head = Head(record.head.weight @ turn, record.head.bias)
        features = float_features(record) @ turn
        return Outputs(features=features, labels=record.labels, head=head)

    # Of NCI only the term with the l1 norm depends on the axes.
    parameters = {"alpha": 0.0} if method == "nci" else {}
    expected = FURTHER[method](x, train, **parameters)
    score = FURTHER[method](turned(x), turned(train), **parameters)
    np.testing.assert_allclose(score, expected, rtol=1e-10)


def test_unit_features_ignore_the_norm() -> None:
    x, train = blobs()
    factors = np.random.default_rng(5).uniform(0.1, 9, size=(180, 1))

    def scaled(record: Outputs) -> Outputs:
        f = float_features(record) * factors[: len(record)]
        return Outputs(features=f, labels=record.labels)

    expected = FURTHER["relative_mahalanobis_pp"](x, train)
    score = FURTHER["relative_mahalanobis_pp"](scaled(x), scaled(train))
    np.testing.assert_allclose(score, expected, rtol=1e-10)


def logits(*rows: list[float]) -> Outputs:
    return Outputs(logits=floats(rows))


def test_the_largest_standardized_logit() -> None:
    assert FURTHER["standardized_logit"](logits([4, 4, 4])).tolist() == [0]
    one_hot = FURTHER["standardized_logit"](logits([0, 7, 0, 0, 0]))
    np.testing.assert_allclose(one_hot, [2.0], rtol=1e-15)  # √(C - 1), the largest there is
    assert FURTHER["standardized_logit"](logits([0, 7, 6, 0, 0]))[0] < 2


def test_information_gain_from_a_uniform_prior_is_msp_kl() -> None:
    x, flat = logits([3, 1, -2, 0], [0, 0, 0, 0.5]), logits([1, 1, 1, 1])
    np.testing.assert_allclose(FURTHER["information_gain"](x, flat), TWINS["msp_kl"](x), rtol=1e-14)
    # p ≪ p_0 fails where training never gave a class any weight.
    masked = logits([0, 0, 0, -math.inf])
    assert FURTHER["information_gain"](x, masked).tolist() == [math.inf, math.inf]


def test_members() -> None:
    def score(method: str, *heads: list[float]) -> Array:
        return FURTHER[method](Outputs(members=floats(heads)[:, np.newaxis]))

    agree = [[900.0, 0, 0]] * 4
    assert score("t_similarity", *agree).tolist() == [1]
    assert score("vote_entropy", *agree).tolist() == [0]
    split = score("vote_entropy", [1, 0, 0], [0, 1, 0], [5, 0, 0], [0, 2, 0])
    np.testing.assert_allclose(split, [-math.log(2)], rtol=1e-15)
    with pytest.raises(ValueError, match="no pairs"):
        score("t_similarity", [1, 0, 0])


def test_fdbd_and_ora_pass_over_equal_rows_of_the_head() -> None:
    weight, bias = floats([[1, 0], [1, 0], [0, 1]]), floats([0.5, 0.0, 0.0])
    head = Head(weight, bias)
    train = Outputs(features=floats([[2, 0], [2, 1], [0, 2]]), labels=np.arange(3), head=head)
    x = Outputs(features=floats([[3, 1]]), head=head)
    mean = floats([4 / 3, 1])
    gap = 2.5 / math.sqrt(2)
    np.testing.assert_allclose(FURTHER["fdbd"](x, train), [gap / (3 - mean[0])], rtol=1e-14)
    np.testing.assert_allclose(
        FURTHER["fdbd"](x, train, regulariser="norm"), [gap / math.sqrt(10)], rtol=1e-14
    )
    boundary = floats([3, 1]) - 2.5 / 2 * floats([1, -1])
    a, b = floats([3, 1]) - mean, boundary - mean
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(FURTHER["ora"](x, train), [math.acos(cosine) / math.pi], rtol=1e-14)


def test_nnguide_takes_its_bank_from_the_rows_it_is_given() -> None:
    x, train = blobs()
    some = FURTHER["nnguide"](x, train, k=2, fraction=3 / len(train))
    rows = np.arange(3) * len(train) // 3
    np.testing.assert_array_equal(some, FURTHER["nnguide"](x, train.rows(rows), k=2, fraction=1.0))
    everything = FURTHER["nnguide"](x, train, k=10**6, fraction=1.0)
    assert (everything <= FURTHER["nnguide"](x, train, k=1, fraction=1.0)).all()
