"""The scripts that make the shipped benchmarks: their images, and a rebuild from scratch."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from data.build.plan import figures
from data.build.sources import fashion_mnist, handwritten_digits, noise, shrink, stretch


def test_shrink_takes_the_mean_of_boxes_and_cuts_both_ends() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 9, 10)).astype(np.uint8)
    small = shrink(image, 4)
    assert small.shape == (1, 2, 2)
    for i in range(2):
        for j in range(2):
            box = [image[0, 4 * i + y, 1 + 4 * j + x] for y in range(4) for x in range(4)]
            assert small[0, i, j] == round(sum(map(int, box)) / 16)


def test_stretch_is_linear_between_pixel_centres() -> None:
    image = np.array([[[0, 80], [160, 240]]], np.uint8)
    # centres of the eight new pixels in units of old ones, clamped to the outer centres
    places = [min(max((k + 0.5) / 4 - 0.5, 0.0), 1.0) for k in range(8)]
    wanted = [[160 * y + 80 * x for x in places] for y in places]
    np.testing.assert_array_equal(stretch(image, 8)[0], np.rint(wanted))
    flat = np.full((1, 8, 8), 77, np.uint8)
    assert (stretch(flat, 28) == 77).all()


def test_noise_is_the_same_for_the_same_seed_only() -> None:
    np.testing.assert_array_equal(noise(10, 28, seed=1), noise(10, 28, seed=1))
    assert (noise(10, 28, seed=1) != noise(10, 28, seed=2)).any()
    normal = noise(400, 28, seed=3)[200:].astype(float)
    assert normal.mean() == pytest.approx(127.5, abs=1)
    assert normal.std() == pytest.approx(61.5, abs=1.5), "64, less what is clipped"


def test_digits_keep_their_seventeen_levels() -> None:
    images, labels = handwritten_digits()
    assert images.shape == (1797, 8, 8)
    assert len(np.unique(images)) == 17
    assert (images.min(), images.max()) == (0, 255)
    assert set(labels) == set(range(10))


def write_idx(path: Path, values: np.ndarray, kind: int = 8) -> None:
    head = bytes([0, 0, kind, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


def test_idx_files(tmp_path: Path) -> None:
    images = np.arange(2 * 28 * 28).reshape(2, 28, 28).astype(np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    with pytest.raises(SystemExit, match="no such file; install Debian's dataset-fashion-mnist"):
        fashion_mnist(tmp_path, "train")
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([7, 2]))
    read, labels = fashion_mnist(tmp_path, "train")
    np.testing.assert_array_equal(read, images)
    assert labels.tolist() == [7, 2]
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([7, 2]), kind=9)
    with pytest.raises(SystemExit, match="not an IDX file of unsigned bytes"):
        fashion_mnist(tmp_path, "train")


def test_figures_on_a_case_counted_by_hand() -> None:
    splits = {
        "test": {
            "logits": np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]),
            "labels": np.array([0, 0, 0]),
        },
        # the largest logits 1.5 and 0.5 lie above 1 and none of 2, 1, 3
        "strange": {"logits": np.array([[1.5, 1.5], [0.5, 0.5]])},
    }
    found = figures(splits, {"test": "id", "strange": "ood"})
    assert found["accuracy"] == {"id": pytest.approx(2 / 3)}
    assert found["auroc"]["strange"]["max_logit"] == pytest.approx(5 / 6)
    assert found["auroc"]["strange"]["msp"] == 1.0


def test_the_model_gives_the_shipped_logits_from_the_shipped_images(
    shipped: Path, facts: dict[str, Any]
) -> None:
    import torch

    from data.build.training import build_network, run

    net = build_network(facts["model"]["layers"])
    state = load_file(shipped / facts["model"]["file"])
    net.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    assert sum(p.numel() for p in net.parameters()) == facts["model"]["parameters"]
    for entry in facts["files"]:
        if entry["role"] not in ("id", "ood"):
            continue
        with np.load(shipped / entry["file"]) as archive:
            rows = slice(0, 1000)
            logits, features = run(net, archive["thumbnails"][rows])
            # another machine sums in another order
            np.testing.assert_allclose(logits, archive["logits"][rows], rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(features, archive["features"][rows], rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_digits_can_be_rebuilt_from_scratch(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "data.build.digits", "--check"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OUTSIDE" not in done.stdout


@pytest.mark.slow
def test_another_classifier_is_noticed(checkout: Path, tmp_path: Path) -> None:
    """The check fails on figures outside the tolerance: an untrained network's."""
    script = (
        "import dataclasses, sys\n"
        "from data.build import digits\n"
        "from data.build.command import carry_out, parser\n"
        "plan = digits.plan()\n"
        "recipe = dataclasses.replace(plan.recipe, epochs=1, peak_rate=1e-4)\n"
        "plan = dataclasses.replace(plan, recipe=recipe)\n"
        "sys.exit(carry_out(plan, parser('').parse_args(['--check'])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "OUTSIDE" in done.stdout
