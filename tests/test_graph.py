"""Uses of label non-uniformity on graphs: against searches by hand, and on Cora and Citeseer."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array, csr_matrix, random_array
from scipy.sparse.csgraph import connected_components

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.graph import drop_edges, label_non_uniformity, nodes_to_add, removable_edges


def graph_of(pairs: list[tuple[int, int]], nodes: int) -> csr_array:
    rows = [i for i, j in pairs] + [j for i, j in pairs]
    columns = [j for i, j in pairs] + [i for i, j in pairs]
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(nodes, nodes))


def edges_of(graph: csr_array) -> set[tuple[int, int]]:
    entries = graph.tocoo()
    return {(int(i), int(j)) for i, j in zip(*entries.coords, strict=True) if i < j}


def search_by_hand(pairs: set[tuple[int, int]], hard: list[int]) -> set[tuple[int, int]]:
    """Edges among the hard nodes that no breadth-first tree holds."""
    inside = {(i, j) for i, j in pairs if i in hard and j in hard}
    tree: set[tuple[int, int]] = set()
    seen: set[int] = set()
    for root in sorted(hard):
        if root in seen:
            continue
        seen.add(root)
        queue = deque([root])
        while queue:
            node = queue.popleft()
            for other in sorted(hard):
                if other not in seen and tuple(sorted((node, other))) in inside:
                    seen.add(other)
                    tree.add((min(node, other), max(node, other)))
                    queue.append(other)
    return inside - tree


@st.composite
def graphs(draw: st.DrawFn) -> tuple[csr_array, np.ndarray]:
    nodes = draw(st.integers(1, 14))
    every = [(i, j) for i in range(nodes) for j in range(i + 1, nodes)]
    pairs = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    values = draw(st.lists(st.floats(0, 3), min_size=nodes, max_size=nodes))
    return graph_of(pairs, nodes), np.c_[values, np.zeros((nodes, 2))]


@given(graphs(), st.floats(0, 100))
def test_removable_edges_are_those_found_by_hand(
    drawn: tuple[csr_array, np.ndarray], percent: float
) -> None:
    graph, logits = drawn
    easiness = label_non_uniformity(logits)
    order = sorted(range(len(logits)), key=lambda n: (easiness[n], n))
    hard = order[: int(len(logits) * percent / 100 + 1e-9)]
    found = removable_edges(graph, logits, percent)
    assert {(i, j) for i, j in found.tolist()} == search_by_hand(edges_of(graph), hard)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(found.tolist())


@given(graphs(), st.floats(0, 100), st.floats(0, 100), st.integers(0, 3))
def test_dropping_keeps_what_was_connected(
    drawn: tuple[csr_array, np.ndarray], nodes: float, edges: float, seed: int
) -> None:
    graph, logits = drawn
    less = drop_edges(graph, logits, nodes=nodes, edges=edges, seed=seed)
    gone = edges_of(graph) - edges_of(less)
    removable = removable_edges(graph, logits, nodes)
    assert edges_of(less) <= edges_of(graph)
    assert gone <= {(i, j) for i, j in removable.tolist()}
    assert len(gone) == int(len(removable) * edges / 100 + 1e-9)
    assert (less != less.T).nnz == 0
    before, after = (connected_components(g, directed=False)[1] for g in (graph, less))
    assert np.array_equal(before, after)


def test_weights_and_loops_stay() -> None:
    dense = np.array([[5.0, 2, 3], [2, 0, 4], [3, 4, 0]])
    logits = np.zeros((3, 2))
    for kind in (csr_array, csr_matrix, coo_array):
        less = drop_edges(kind(dense), logits, nodes=100, edges=100)
        expected = dense.copy()
        expected[1, 2] = expected[2, 1] = 0
        np.testing.assert_array_equal(less.toarray(), expected)
    whole = drop_edges(csr_array(dense), logits, nodes=100, edges=0)
    np.testing.assert_array_equal(whole.toarray(), dense)


def test_the_seed_chooses_among_equals() -> None:
    graph = csr_array(1 - np.eye(12))
    logits = np.zeros((12, 2))
    first, again, other = (
        edges_of(drop_edges(graph, logits, nodes=100, edges=50, seed=s)) for s in (0, 0, 1)
    )
    assert first == again != other


def test_the_easiest_nodes_are_added() -> None:
    p = np.array([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.99, 0.01], [0.5, 0.5], [0.3, 0.7]])
    unlabelled = np.array([True, True, True, False, True, True])
    nodes, labels = nodes_to_add(np.log(p), unlabelled, 60)
    assert (nodes.tolist(), labels.tolist()) == ([1, 2, 5], [0, 1, 1])
    nodes, labels = nodes_to_add(np.log(p), unlabelled, 100)
    assert nodes.tolist() == [1, 2, 5, 0, 4]
    assert nodes_to_add(np.log(p), unlabelled, 19)[0].size == 0
    assert nodes_to_add(np.log(p), np.zeros(6, dtype=bool), 100)[1].dtype == np.int64


def test_percentages_are_not_lost_to_rounding() -> None:
    """29 % of 100 nodes are 29, though 100 * 0.29 is 28.999999999999996."""
    logits = np.c_[np.arange(100.0), np.zeros(100)]
    assert len(nodes_to_add(logits, np.ones(100, dtype=bool), 29)[0]) == 29


def test_what_is_refused() -> None:
    logits = np.zeros((3, 2))
    square = csr_array(1 - np.eye(3))
    with pytest.raises(InputError, match="must be a scipy"):
        removable_edges(1 - np.eye(3), logits, 10)
    with pytest.raises(InputError, match=r"must be \(3, 3\).*got shape \(4, 4\)"):
        drop_edges(csr_array((4, 4)), logits)
    one_way = csr_array(np.array([[0, 0, 1.0], [0, 0, 0], [0, 0, 0]]))
    with pytest.raises(InputError, match="nodes 0 and 2 are joined one way only"):
        drop_edges(one_way, logits)
    for wrong in (-1, 101, np.nan):
        with pytest.raises(BadParameter, match="percentage in"):
            nodes_to_add(logits, np.ones(3, dtype=bool), wrong)
        with pytest.raises(BadParameter, match="percentage in"):
            drop_edges(square, logits, edges=wrong)
    with pytest.raises(InputError, match=r"unlabelled must be \(3,\) bool"):
        nodes_to_add(logits, [0, 1], 50)
    logits[1, 0] = np.nan
    with pytest.raises(InputError, match="row 1 holds NaN"):
        drop_edges(square, logits)


def test_a_large_graph_takes_no_loop_over_its_components() -> None:
    graph = random_array((20_000, 20_000), density=5e-5, rng=np.random.default_rng(0))
    graph = csr_array(graph + graph.T)
    logits = np.random.default_rng(1).normal(size=(20_000, 4))
    removable = removable_edges(graph, logits, 80)
    hard = np.argsort(label_non_uniformity(logits), kind="stable")[:16_000]
    induced = graph[np.sort(hard)][:, np.sort(hard)]
    induced.setdiag(0)
    induced.eliminate_zeros()
    count = connected_components(induced, directed=False)[0]
    assert len(removable) == induced.nnz // 2 - (16_000 - count)


DATA = os.environ.get("OOD_TOOLKIT_DATA")


@pytest.mark.skipif(not DATA, reason="OOD_TOOLKIT_DATA names no folder of cases")
@pytest.mark.parametrize("name", ["cora", "citeseer"])
def test_less_uniform_nodes_are_easier(name: str) -> None:
    """Accuracy of a GCN on the test nodes by quintile of label non-uniformity."""
    arrays = np.load(Path(DATA or ".") / "graph_planetoid" / f"{name}.npz")
    test, logits = arrays["test"], arrays["gcn_logits"]
    test = test[arrays["labels"][test] >= 0]
    right = logits[test].argmax(axis=1) == arrays["labels"][test]
    easiness = label_non_uniformity(logits[test])
    parts = np.array_split(np.argsort(easiness, kind="stable"), 5)
    accuracy = [right[part].mean() for part in parts]
    assert accuracy == sorted(accuracy)  # hardest fifth first
    assert accuracy[-1] > right.mean() + 0.1
    assert accuracy[-1] - accuracy[0] > 0.3
