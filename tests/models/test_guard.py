"""A guard: label, probability, score, accept; saved beside the model; quick."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ood_toolkit as ood
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.models import Guard, Verdict, load_guard, wrap
from tests.models.networks import (
    DATA,
    TorchvisionStyle,
    fashion_cnn,
    fashion_images,
    images,
    made,
    state_hash,
)

VAL = fashion_images("id_test")[:800]
TEST = fashion_images("id_test")[1500:2000]
LABELS = torch.from_numpy(
    np.load(DATA / "fashion" / "id_test.npz")["labels"][:800].astype(np.int64)
)


def loader(x: Tensor, y: Tensor | None = None) -> list[tuple[Tensor, ...] | Tensor]:
    return [x[i : i + 250] if y is None else (x[i : i + 250], y[i : i + 250])
            for i in range(0, len(x), 250)]  # fmt: skip


@pytest.fixture(scope="module")
def train() -> ood.Outputs:
    return ood.load_benchmark("fashion").train


@pytest.mark.parametrize("method", ["energy", "vim", "relative_mahalanobis", "react", "knn"])
def test_verdicts_are_those_of_the_parts(method: str, train: ood.Outputs) -> None:
    clf = wrap(fashion_cnn())
    guard = clf.guard(method, train=train, id_val=loader(VAL), tpr=0.9)
    verdict = guard(TEST[:200])
    label, probability, score, accept = verdict
    x = clf.outputs(TEST[:200])
    assert x.logits is not None
    scorer = guard.scorer
    np.testing.assert_allclose(score.numpy(), scorer.score(x), rtol=1e-6)
    np.testing.assert_array_equal(label.numpy(), x.logits.argmax(1))
    msp = ood.score(x, "msp")["msp"]
    np.testing.assert_allclose(probability.numpy(), msp, rtol=1e-6)
    held = np.sort(scorer.score(clf.outputs(VAL)))
    assert guard.threshold.value == pytest.approx(held[80], rel=1e-6)
    assert torch.equal(accept, score >= guard.threshold.value)
    assert isinstance(verdict, Verdict)
    assert [t.dtype for t in verdict] == [torch.int64, torch.float64, torch.float64, torch.bool]
    far = guard(fashion_images("photographs")[:500]).accept.double().mean()
    assert far < accept.double().mean()


def test_calibrated_probabilities() -> None:
    clf = wrap(fashion_cnn())
    guard = clf.guard("energy", id_val=loader(VAL, LABELS), calibrator="temperature")
    x = clf.outputs(loader(VAL, LABELS))
    calibrator = ood.Temperature().fit(x)
    expected = ood.score(calibrator.apply(clf.outputs(TEST[:100])), "msp")["msp"]
    np.testing.assert_allclose(guard(TEST[:100]).probability.numpy(), expected, rtol=1e-6)
    with pytest.raises(InputError, match="label"):
        clf.guard("energy", id_val=loader(VAL), calibrator="temperature")


def test_explanations() -> None:
    guard = wrap(fashion_cnn()).guard("energy", id_val=VAL)
    said = guard.explain(TEST[:300])
    assert said[:4] == tuple(said)[:4]
    for part, same in zip(said[:4], guard(TEST[:300]), strict=True):
        assert torch.equal(part, same)
    np.testing.assert_array_equal(said.p_value, guard.threshold.p_value(said.score.numpy()))
    for accepted, reason in zip(said.accept, said.reason, strict=True):
        assert reason.startswith("accepted: energy" if accepted else "rejected: energy")
        assert "% of in-distribution rows score as low" in reason
    assert (~said.accept).any()


def test_a_guarantee_asks_for_more() -> None:
    clf = wrap(fashion_cnn())
    plain = clf.guard("energy", id_val=VAL, tpr=0.95)
    sure = clf.guard("energy", id_val=VAL, tpr=0.95, delta=0.05)
    assert sure.threshold.value < plain.threshold.value
    assert sure.threshold.delta == 0.05


@pytest.mark.parametrize("method", ["energy", "vim", "react", "knn"])
@pytest.mark.parametrize("calibrator", [None, "temperature", "isotonic"])
def test_saved_and_loaded(
    method: str, calibrator: str | None, train: ood.Outputs, tmp_path: Path
) -> None:
    clf = wrap(fashion_cnn())
    guard = clf.guard(method, train=train, id_val=loader(VAL, LABELS), calibrator=calibrator)
    guard.save(tmp_path / "guard.safetensors")
    again = load_guard(tmp_path / "guard.safetensors", copy.deepcopy(fashion_cnn()))
    for before, after in zip(guard(TEST[:50]), again(TEST[:50]), strict=True):
        assert torch.equal(before, after)
    assert again.explain(TEST[:5]).reason == guard.explain(TEST[:5]).reason


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    guard = wrap(fashion_cnn()).guard("energy", id_val=VAL)
    path = tmp_path / "guard.safetensors"
    guard.save(path)
    other = copy.deepcopy(fashion_cnn())
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1
    with pytest.raises(DataError, match="made with other weights"):
        load_guard(path, other)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="damaged"):
        load_guard(path, fashion_cnn())
    guard.scorer.save(tmp_path / "detector.safetensors")
    with pytest.raises(DataError, match="guard"):
        load_guard(tmp_path / "detector.safetensors", fashion_cnn())
    with pytest.raises(DataError, match="no such file"):
        load_guard(tmp_path / "none.safetensors", fashion_cnn())
    with pytest.raises(DataError):
        ood.load_scorer(tmp_path / "guard.safetensors")


def test_a_function_of_features_is_given_again(tmp_path: Path) -> None:
    net = fashion_cnn()

    def both(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        features = model[:-1](x)  # type: ignore[index]
        return model[-1](features), features  # type: ignore[index]

    guard = wrap(net, features_fn=both, head=str(len(net) - 1)).guard("energy", id_val=VAL)
    guard.save(tmp_path / "guard.safetensors")
    with pytest.raises(DataError, match="features_fn"):
        load_guard(tmp_path / "guard.safetensors", net)
    again = load_guard(tmp_path / "guard.safetensors", net, features_fn=both)
    assert torch.equal(again(TEST[:5]).score, guard(TEST[:5]).score)


def test_the_model_is_left_as_found() -> None:
    model = made(TorchvisionStyle)
    guard = wrap(model).guard("max_logit", id_val=images())
    features = wrap(model).guard("mahalanobis", train=[(images(80), torch.arange(80) % 8)],
                                 id_val=images())  # fmt: skip
    before = state_hash(model)
    for judge in (guard, features):
        judge(images(3))
        judge.explain(images(3))
    assert state_hash(model) == before
    assert guard.to("cpu")(images(3)).accept.shape == (3,)


def test_rows_of_nan_are_refused() -> None:
    model = made(TorchvisionStyle)
    guard = wrap(model).guard("energy", id_val=images())
    bad = images(3)
    bad[1] = float("nan")
    with pytest.raises(InputError, match="row 1 holds NaN"):
        guard(bad)


def calls_in(run: Callable[[], object]) -> Counter[str]:
    """How often each function is called, of Python and of C."""
    found: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            found[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            found[getattr(argument, "__qualname__", str(argument))] += 1

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("method", ["msp", "energy", "max_logit", "entropy", "gen", "gini",
                                    "label_non_uniformity"])  # fmt: skip
def test_one_input_takes_little_more_than_the_model(method: str) -> None:
    """A ResNet-20 at 32 x 32: what a guard does beside the forward pass, which takes the time.

    `benchmarks.guard_latency` has the seconds; here is what they are made of.  A network of
    such a size calls some 600 functions.
    """
    model = made(lambda: TorchvisionStyle(3, 10, width=16, blocks=3)).eval()
    x = images(1, 3, 32)
    guard = wrap(model).guard(method, id_val=images(50, 3, 32))
    guard(x)

    def plain() -> Tensor:
        with torch.no_grad():
            return model(x)

    beside = calls_in(lambda: guard(x))
    beside.subtract(calls_in(plain))
    assert beside["TorchvisionStyle.forward"] == 0, "the model runs once"
    assert not any(name.endswith(("hook", "_catch_input", "_catch_output")) for name in +beside)
    assert (+beside).total() < 250


@pytest.mark.parametrize("method", ["msp", "energy", "max_logit", "entropy", "gen", "gini",
                                    "label_non_uniformity", "odin_temperature"])  # fmt: skip
def test_scores_of_logits_have_the_scorer_s_bits(method: str) -> None:
    """One pass over the logits gives what the scorer and the predictions give one by one."""
    clf = wrap(fashion_cnn())
    guard = clf.guard(method, id_val=VAL)
    for x in (TEST[:1], TEST[:40]):
        verdict, record = guard(x), guard.outputs(x)
        np.testing.assert_array_equal(verdict.score, guard.scorer.score(record))
        np.testing.assert_array_equal(verdict.accept, guard.threshold.accept(verdict.score))
        np.testing.assert_array_equal(verdict.probability, ood.score(record, "msp")["msp"])
        np.testing.assert_array_equal(verdict.label, record.logits.argmax(1))


def test_a_guard_is_made_of_its_parts() -> None:
    clf = wrap(fashion_cnn())
    scorer = ood.Energy().fit()
    threshold = ood.Threshold.at_tpr(scorer.score(clf.outputs(VAL)))
    guard = Guard(clf.network, scorer, threshold)
    assert guard.model is fashion_cnn()
    assert torch.equal(guard(TEST[:9]).accept, clf.guard("energy", id_val=VAL)(TEST[:9]).accept)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda() -> None:
    guard = wrap(copy.deepcopy(fashion_cnn())).guard("energy", id_val=VAL)
    expected = guard(TEST[:20]).score
    np.testing.assert_allclose(guard.to("cuda")(TEST[:20]).score, expected, atol=1e-3)
