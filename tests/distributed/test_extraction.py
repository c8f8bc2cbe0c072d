"""A model on each worker: shards of the same bytes, whoever makes them and whatever happens."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ood_toolkit.distributed import Outcome, connected, extract, extraction
from ood_toolkit.errors import BadParameter, DataError, InputError
from ood_toolkit.io import load
from ood_toolkit.models import wrap
from ood_toolkit.models.extraction import Extraction
from ood_toolkit.models.images import Preparation
from ood_toolkit.models.sources import open_inputs
from tests.cli.running import tool
from tests.distributed import networks

ROWS, SHARD, BATCH = 230, 50, 16  # a batch begins in one shard and ends in the next
pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("extraction")
    random = np.random.default_rng(8)
    images = random.integers(0, 256, (ROWS, 8, 8, 3), dtype=np.uint8)
    np.savez(place / "images.npz", images=images, labels=np.arange(ROWS) % 4)
    save_file(networks.network().state_dict(), place / "weights.safetensors")
    return place


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with connected("local:2") as found:
        yield found


@pytest.fixture(scope="module")
def job(folder: Path) -> Extraction:
    data = f"npz:{folder / 'images.npz'}"
    weights = str(folder / "weights.safetensors")
    return Extraction("tests.distributed.networks:by_chance", data, weights, batch_size=BATCH)


def digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            name = path.relative_to(folder).as_posix()
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run(client: Any, job: Extraction, output: Path | str, **more: Any) -> Outcome:
    return extract(client, job, str(output), shard_rows=SHARD, **more)


@pytest.fixture(scope="module")
def expected(folder: Path, client: Any, job: Extraction) -> dict[str, str]:
    """What two workers make of it."""
    assert not run(client, job, folder / "by two").failed
    found = digests(folder / "by two")
    assert list(found) == [f"{number:08d}.safetensors" for number in range(5)]
    return found


def test_shards_load_as_one_record_of_the_models_own_outputs(
    folder: Path, expected: dict[str, str], job: Extraction
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        source = open_inputs(job.data, Preparation(), batch_size=BATCH)
        alone = wrap(networks.network()).outputs(source, progress=False)
    finally:
        torch.set_num_threads(threads)
    x = load(folder / "by two")
    assert x.head is not None
    for name in ("logits", "features", "labels"):
        np.testing.assert_array_equal(getattr(x, name), getattr(alone, name))


def test_one_worker_on_the_command_line(folder: Path, expected: dict[str, str]) -> None:
    out = folder / "by one"
    arguments = ["extract", "--model", "tests.distributed.networks:network", "--weights",
                 folder / "weights.safetensors", "--data", f"npz:{folder / 'images.npz'}",
                 "--batch-size", str(BATCH), "--shard-rows", str(SHARD), "-o", out,
                 "--dask", "local:1"]  # fmt: skip
    done = tool(*arguments, "--json")
    assert done.status == 0, done.err
    assert done.document["rows"] == ROWS
    assert done.document["features"] == 192
    assert digests(out) == expected
    # truncated between two runs: that shard alone is made again
    victim = out / "00000003.safetensors"
    victim.write_bytes(victim.read_bytes()[:-5])
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.safetensors")}
    done = tool(*arguments, "--resume")
    assert done.status == 0, done.err
    assert "1 shards had changed and were made again" in done.err
    assert digests(out) == expected
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("*.safetensors")}
    assert [name for name in after if after[name] != before[name]] == [victim.name]
    serial = tool(*arguments[:-2])
    assert serial.status == 3
    assert "was begun with --dask" in serial.error


def test_another_job_does_not_go_on_with_it(
    folder: Path, client: Any, job: Extraction, expected: dict[str, str]
) -> None:
    with pytest.raises(DataError, match="run is there that differs in plan and shard_rows;"):
        extract(client, job, str(folder / "by two"), shard_rows=60)
    assert digests(folder / "by two") == expected


def test_a_worker_that_is_killed(
    folder: Path, client: Any, job: Extraction, expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("ood_toolkit.distributed.extraction.make_shard", networks.shard_killed_once)
    assert not run(client, job, folder / "killed out").failed
    assert (folder / "killed").exists()
    assert digests(folder / "killed out") == expected


def test_a_shard_that_kills_every_worker(
    folder: Path, job: Extraction, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "poison"
    with connected("local:2") as client:
        with monkeypatch.context() as poison:
            poison.setattr("ood_toolkit.distributed.extraction.make_shard", networks.shard_poisoned)
            failed = run(client, job, out).failed
        assert [part.number for part in failed] == [networks.POISON]
        missing = f"{networks.POISON:08d}.safetensors"
        assert digests(out) == {k: v for k, v in expected.items() if k != missing}
        manifest = json.loads((out / "manifest.json").read_text())
        assert [entry["part"] for entry in manifest["failed"]] == [networks.POISON]
        assert not run(client, job, out).failed
    assert digests(out) == expected


def test_workers_that_build_different_models_are_refused(
    folder: Path, client: Any, job: Extraction
) -> None:
    guessing = replace(job, weights=None)
    client.wait_for_workers(2, timeout=300)  # one that was killed before may not be back yet
    with pytest.raises(InputError, match=r"workers have another model; give the model its --weigh"):
        run(client, guessing, folder / "by chance")


@pytest.mark.parametrize("format", ["zarr", "parquet", "npz"])
def test_other_formats(
    folder: Path, client: Any, job: Extraction, format: str, expected: dict[str, str]
) -> None:
    job = replace(job, head="fc")
    out = folder / f"as {format}"
    if format == "parquet":  # holds no head
        with pytest.raises(InputError, match="cannot hold head"):
            run(client, job, out / "*.parquet")
        return
    assert not run(client, job, out / f"*.{format}").failed
    np.testing.assert_array_equal(load(out).features, load(folder / "by two").features)
    assert not run(client, job, out / f"*.{format}").remade
    assert sorted(p.name for p in out.iterdir())[-1] == "manifest.json"


def test_a_store(folder: Path, client: Any, job: Extraction, expected: dict[str, str]) -> None:
    (folder / "bucket").mkdir()
    url = f"dir://shards::file://{folder / 'bucket'}"
    assert not run(client, job, url).failed
    assert digests(folder / "bucket" / "shards") == expected
    assert not [n for n in os.listdir(folder / "bucket" / "shards") if n.startswith(".")]


def test_threads_of_the_libraries_on_a_worker(
    folder: Path, client: Any, job: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ood_toolkit.io.part_folder import FolderStore
    from ood_toolkit.io.parts import Part

    (folder / "threads").mkdir()
    wanted = job.with_checksum()
    store = FolderStore(str(folder / "threads"))
    arguments = ("other key", wanted, {}, Part(0, 0, 0, 5), store, "npz")
    assert client.submit(networks.threads_of, *arguments).result() == (1, 1, 1, 1)


def test_what_is_no_folder_of_shards(folder: Path, client: Any, job: Extraction) -> None:
    with pytest.raises(BadParameter, match="workers write shards"):
        run(client, job, folder / "x.safetensors")
    with pytest.raises(BadParameter, match="parts are written as safetensors, npz"):
        run(client, job, folder / "x" / "*.csv")
    (folder / "mine").mkdir()
    (folder / "mine" / "00000000.safetensors").write_bytes(b"precious")
    with pytest.raises(DataError, match="is there without a manifest"):
        run(client, job, folder / "mine")
    assert (folder / "mine" / "00000000.safetensors").read_bytes() == b"precious"
    (folder / "serial").mkdir()
    (folder / "serial" / ".extract.json").write_text("{}")
    with pytest.raises(DataError, match="was begun without --dask"):
        run(client, job, folder / "serial")


def test_channels_last(
    folder: Path, client: Any, job: Extraction, expected: dict[str, str]
) -> None:
    """Told apart from a run in the other layout; logits within rtol 1e-5 of its."""
    quick = replace(job, channels_last=True)
    assert not run(client, quick, folder / "channels last").failed
    logits = load(folder / "by two").logits
    np.testing.assert_allclose(load(folder / "channels last").logits, logits, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="differs in channels_last"):
        run(client, job, folder / "channels last")


def test_onnx(folder: Path, client: Any) -> None:
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, onnx.numpy_helper
    weight = np.random.default_rng(0).normal(size=(4, 192)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["logits"], transB=1),
        ],
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 4])],
        [numbers.from_array(weight, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "small.onnx")
    data = f"npz:{folder / 'images.npz'}"
    job = Extraction(f"onnx:{folder / 'small.onnx'}", data, batch_size=BATCH)
    assert not run(client, job, folder / "by onnx").failed
    x = load(folder / "by onnx")
    assert len(x) == ROWS
    assert x.features is not None
    np.testing.assert_allclose(x.logits, x.features @ weight.T, rtol=1e-4, atol=1e-4)
    with pytest.raises(BadParameter, match="do not go with an ONNX file"):
        run(client, replace(job, weights="w.pt"), folder / "never")
    with pytest.raises(BadParameter, match="do not go with an ONNX file"):
        run(client, replace(job, channels_last=True), folder / "never")


def test_threads_of_a_worker_share_one_model() -> None:
    """Tasks come to all of them at once."""
    built: list[int] = []

    class Slow:
        def open(self, threads: int) -> object:
            time.sleep(0.05)
            built.append(threads)
            return object()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: extraction._opened("a job", Slow()), range(4)))
    assert len(built) == 1
    assert len(set(map(id, found))) == 1
