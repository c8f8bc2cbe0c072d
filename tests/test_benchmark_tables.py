"""The long runs behind pages: each on something small, and what the pages show of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import ood_toolkit as ood
from benchmarks import open_cases
from docs import open_cases as pages
from docs.long_output import pasted
from tests.cases import mostly_right

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Test data of one case, whose training rows are rows of its test file."""
    case = tmp_path / "small"
    case.mkdir()
    x = mostly_right(160, seed=1)
    np.savez(case / "id_test.npz", logits=x.logits, features=x.features, labels=x.labels)
    np.savez(case / "head.npz", W=x.head.weight, b=x.head.bias)
    for name, seed in (("far", 2), ("gauss", 3)):
        y = mostly_right(40, seed=seed, spread=0.6)
        np.savez(case / f"ood_{name}.npz", logits=y.logits, features=y.features)
    for name in ("cifar10_resnet20", "cifar10_ensemble"):
        (tmp_path / name).mkdir()
    spec = {"train": "id_test.npz", "train_rows": [60, 160], "id": "id_test.npz",
            "id_rows": [0, 60], "head": "head.npz"}  # fmt: skip
    (tmp_path / "cases.json").write_text(json.dumps({"small": spec}))
    return tmp_path


def test_every_method_has_figures_or_a_reason(folder: Path, tmp_path: Path) -> None:
    case = next(open_cases.cases(folder, tmp_path))
    assert case.ood.keys() == {"far", "synthetic/gauss"}
    found = open_cases.summary(
        *(open_cases.evaluated(case, tune, tmp_path) for tune in ("none", "id"))
    )
    names = {row.name for row in ood.methods()}
    assert found["mean"].keys() | found["absent"].keys() == names
    assert "members" in found["absent"]["vote_entropy"]
    assert (found["rows"], found["sets"]) == (60, {"far": 40, "gauss": 40})
    inside, outside = ood.load(case.id), ood.load(case.ood["far"])
    expected = ood.metrics.auroc(*(ood.score(x, "energy")["energy"] for x in (inside, outside)))
    assert found["mean"]["energy"] == found["auroc"]["energy"]["far"] == round(expected, 4)
    assert "percentile" in found["tuned"]["dice"]["parameters"]
    for table in (pages._means_table, pages._tuned_table, pages._cases_table, pages._absent):
        assert "small" in table({"small": found})
    assert open_cases.moved({"small": found}, {"small": found}) == []
    changed = {"small": {"mean": {"energy": found["mean"]["energy"] + 0.001}}}
    assert open_cases.moved({"small": found}, changed) == [
        f"small: energy: {found['mean']['energy']} is now {changed['small']['mean']['energy']}"
    ]


def test_a_method_without_a_word_is_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(open_cases.cases(folder, tmp_path))
    rows = ood.methods()
    silent = [*rows, type("Row", (), {"name": "silent_method"})()]
    monkeypatch.setattr(ood, "methods", lambda: silent)
    with pytest.raises(SystemExit, match="neither figures nor a reason for silent_method"):
        open_cases.evaluated(case, "none", tmp_path)
    (folder / "small" / "head.npz").unlink()
    with pytest.raises(SystemExit, match="small: status 3: Error: "):
        open_cases.evaluated(case, "none", tmp_path)


def test_the_table_names_methods_of_the_catalogue() -> None:
    found = pages.results()
    assert set(found) >= {"cifar10_resnet20", "clinc150_minilm", "imagenet_lite0"}
    names = {row.name for row in ood.methods()}
    for case in found.values():
        assert case["failed"] == []
        assert set(case["mean"]) | set(case["absent"]) <= names
        assert all(0 <= value <= 1 for value in case["mean"].values())
    text = (ROOT / "docs" / "open-cases.md").read_text(encoding="utf-8")
    assert pages._means_table(found) in text
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    assert pages._tuned_table(found) in text


def test_where_a_method_stands_among_the_others() -> None:
    auroc = {"a": {"x": 0.9, "y": 0.2}, "b": {"x": 0.8, "y": 0.3}, "c": {"y": 0.1}}
    cases = {"case": {"sets": {"x": 5, "y": 5}, "auroc": auroc}}
    assert pages.standing("a", cases) == (
        "On the [open cases](open-cases.md) it is strongest on `case` against x (AUROC 90.00 %, "
        "ahead of 1 of 1), weakest on `case` against y (AUROC 20.00 %, ahead of 1 of 2)."
    )
    assert pages.standing("d", cases) == ""


def test_output_is_pasted_below_its_command(tmp_path: Path) -> None:
    text = "a\n\n```console\n$ echo one; echo two\nold\n```\n\nz\n"
    assert pasted(text, tmp_path) == text.replace("old", "one\ntwo")


def two_communities() -> object:
    """Sixty nodes in two groups, joined more within than between."""
    torch = pytest.importorskip("torch")
    from benchmarks.graph_gcn import Graph

    assert torch
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    chance = np.where(labels[:, None] == labels, 0.25, 0.05)
    upper = np.triu(rng.random((60, 60)) < chance, 1)
    features = rng.normal(size=(60, 5)).astype(np.float32) + labels[:, None]
    nodes = np.arange(60)
    return Graph(
        csr_array(features.astype(np.float32)),
        csr_array((upper | upper.T).astype(float)),
        labels,
        nodes[:6],
        nodes[6:20],
        nodes[20:],
    )


def test_the_graph_network_learns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from benchmarks import graph_gcn

    for name, value in (("EPOCHS", 40), ("ADDED", (20,)), ("HARD", (50,)), ("DROPPED", (40,))):
        monkeypatch.setattr(graph_gcn, name, value)
    graph = two_communities()
    logits = graph_gcn.trained(graph, graph.adjacency, graph.train, graph.labels[graph.train], 0)
    again = graph_gcn.trained(graph, graph.adjacency, graph.train, graph.labels[graph.train], 0)
    assert np.array_equal(logits, again)
    assert graph_gcn.accuracy(graph, logits, graph.test) > 0.8
    graph_gcn.run("two", graph, 2)
    said = capsys.readouterr().out
    assert re.search(r"^plain .* ± ", said, re.M)
    for variant in ("added nodes", "dropped edges", "both"):
        assert re.search(rf"^{variant} .* ± .* ± .* ± ", said, re.M)


def test_the_sparse_product_has_the_right_gradient() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.graph_gcn import Product

    matrix = csr_array(np.array([[1.0, 0, 2], [0, 3, 0]]))
    dense = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: Product.apply(matrix, d), (dense,))


def test_the_page_shows_both_graphs() -> None:
    text = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
    for name in ("cora: 2708 nodes", "citeseer: 3327 nodes"):
        block = text[text.index(name) :].split("\n\n")[0]
        for variant in ("plain", "added nodes", "dropped edges", "both"):
            assert re.search(rf"^{variant} .*\d ± ", block, re.M), (name, variant)
