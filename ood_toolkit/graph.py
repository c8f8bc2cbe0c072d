"""Node classifiers on graphs: nodes to learn from, and edges to do without.

Both uses of label non-uniformity: how far the softmax of a node lies from uniform says how easy
the node is.  The easiest unlabelled nodes can join the training set with their predicted labels;
among the hardest ones, edges can be dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.detectors.nonuniformity import LabelNonUniformity
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.outputs import Array, Outputs

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["drop_edges", "label_non_uniformity", "nodes_to_add", "removable_edges"]


def label_non_uniformity(logits: Any) -> Array:
    """Wasserstein-1 distance of each node's softmax to the uniform distribution.

    Parameters
    ----------
    logits : (N, C) array of float
        One row a node.

    Returns
    -------
    (N,) array of float64
        In [0, 1 - 1/C]; larger = an easier node.

    References
    ----------
    Ji et al., "Leveraging Label Non-Uniformity for Node Classification in Graph Neural
    Networks", ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> label_non_uniformity(np.log([[0.5, 0.5], [0.9, 0.1]])).round(3)
    array([0. , 0.4])
    """
    return LabelNonUniformity().fit().score(Outputs(logits=logits))


def nodes_to_add(logits: Any, unlabelled: Any, percent: float) -> tuple[Array, Array]:
    """The easiest unlabelled nodes, and the labels they are predicted to have.

    Parameters
    ----------
    logits : (N, C) array of float
        One row a node.
    unlabelled : (N,) array of bool
        The nodes that may be added.
    percent : float
        In [0, 100]: share of the unlabelled nodes to add, rounded down to whole nodes.

    Returns
    -------
    nodes : (K,) array of int
        Easiest first; of equal ones the lower number first.
    labels : (K,) array of int
        Their predicted classes.

    Raises
    ------
    InputError
        If the shapes disagree or a row of logits cannot be scored.

    References
    ----------
    Ji et al., ICML 2023, algorithm 1; they search the percentage over 0, 10, ..., 100.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.log([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.99, 0.01]])
    >>> nodes, labels = nodes_to_add(logits, np.array([True, True, True, False]), 67)
    >>> nodes, labels
    (array([1, 2]), array([0, 1]))
    """
    _require_percent("percent", percent)
    easiness = label_non_uniformity(logits)
    mask = np.asarray(unlabelled)
    if mask.dtype != np.bool_ or mask.shape != easiness.shape:
        raise InputError(
            f"unlabelled must be ({len(easiness)},) bool, got {mask.dtype} of shape {mask.shape}"
        )
    candidates = np.flatnonzero(mask)
    order = np.argsort(-easiness[candidates], kind="stable")
    nodes = candidates[order[: _whole(len(candidates), percent)]]
    predictions = row_statistics(np.asarray(logits)[nodes], (PREDICTION,))[PREDICTION]
    return nodes, predictions.astype(np.int64)


def removable_edges(adjacency: Any, logits: Any, percent: float) -> Array:
    """Edges among the hardest nodes without which those stay as connected as they were.

    The hardest nodes are those with the smallest label non-uniformity.  In the graph that they
    induce, a breadth-first spanning tree of each component, from its lowest node and along
    neighbours in ascending order, is kept; every other edge in it is removable.

    Parameters
    ----------
    adjacency : (N, N) sparse array
        Undirected: an entry at (i, j) has one at (j, i).  Self-loops are no edges.
    logits : (N, C) array of float
        One row a node.
    percent : float
        In [0, 100]: share of the nodes that count as hard, rounded down to whole nodes.

    Returns
    -------
    (E, 2) array of int64
        Lower node first, in ascending order.

    Raises
    ------
    InputError
        If the adjacency is not square, not symmetric, or of another number of nodes.

    References
    ----------
    Ji et al., ICML 2023, algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> triangle = csr_array(1 - np.eye(3))
    >>> removable_edges(triangle, np.zeros((3, 2)), 100)
    array([[1, 2]])
    """
    _require_percent("percent", percent)
    easiness = label_non_uniformity(logits)
    graph = _pattern(adjacency, len(easiness))
    hard = np.sort(np.argsort(easiness, kind="stable")[: _whole(len(easiness), percent)])
    induced = graph[hard][:, hard]
    edges, tree = _upper_edges(induced), _upper_edges(_spanning_forest(induced))
    size = np.int64(max(len(hard), 1))
    kept = np.isin(edges @ [size, 1], tree @ [size, 1])
    return np.asarray(hard[edges[~kept]], dtype=np.int64).reshape(-1, 2)


def drop_edges(
    adjacency: Any,
    logits: Any,
    *,
    nodes: float = 30.0,
    edges: float = 40.0,
    seed: int = 0,
) -> csr_array:
    """The graph without a random part of the edges among its hardest nodes.

    Parameters
    ----------
    adjacency : (N, N) sparse array
        Undirected; weights and self-loops are kept as they are.
    logits : (N, C) array of float
        One row a node.
    nodes : float
        In [0, 100]: share of the nodes that count as hard.
    edges : float
        In [0, 100]: share of the `removable_edges` that are dropped.
    seed : int
        Of the choice among them.

    Returns
    -------
    (N, N) csr_array
        A new graph; the hardest nodes are connected among themselves where they were before.

    Raises
    ------
    InputError
        If the adjacency is not square, not symmetric, or of another number of nodes.

    References
    ----------
    Ji et al., ICML 2023, algorithm 2; the defaults are theirs for Cora.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> square = csr_array(1 - np.eye(4))
    >>> drop_edges(square, np.zeros((4, 2)), nodes=100, edges=100).nnz // 2
    3
    """
    from scipy.sparse import csr_array

    _require_percent("edges", edges)
    removable = removable_edges(adjacency, logits, nodes)
    count = _whole(len(removable), edges)
    chosen = np.random.default_rng(seed).choice(len(removable), size=count, replace=False)
    dropped = removable[chosen]
    both = np.concatenate([dropped, dropped[:, ::-1]])
    graph = csr_array(adjacency).tocoo()
    size = np.int64(max(graph.shape[0], 1))
    entries = np.stack(graph.coords, axis=1).astype(np.int64)
    kept = ~np.isin(entries @ [size, 1], both @ [size, 1])
    rows, columns = entries[kept].T
    return csr_array((graph.data[kept], (rows, columns)), shape=graph.shape)


def _pattern(adjacency: Any, nodes: int) -> csr_array:
    """Where there is an edge: 1, symmetric, without a diagonal, in ascending order."""
    from scipy import sparse
    from scipy.sparse import csr_array

    known: bool = sparse.issparse(adjacency)
    if not known:
        raise InputError("adjacency must be a scipy.sparse array; csr_array(matrix) makes one")
    if adjacency.shape != (nodes, nodes):
        raise InputError(
            f"adjacency must be ({nodes}, {nodes}), a row for each row of logits, got shape "
            f"{adjacency.shape}"
        )
    entries = csr_array(adjacency).tocoo()
    rows, columns = entries.coords
    there = (entries.data != 0) & (rows != columns)
    ones = np.ones(int(there.sum()), dtype=np.int8)
    graph = csr_array((ones, (rows[there], columns[there])), shape=adjacency.shape)
    graph.sum_duplicates()
    graph.data[:] = 1
    lonely = (graph - graph.T).tocoo()
    lonely.eliminate_zeros()
    if lonely.nnz:
        i, j = (int(coordinate[0]) for coordinate in lonely.coords)
        raise InputError(
            f"adjacency: nodes {i} and {j} are joined one way only; add the transpose for an "
            "undirected graph"
        )
    return graph


def _spanning_forest(graph: csr_array) -> csr_array:
    """Breadth-first trees of all components, each from its lowest node; entries parent, child."""
    from scipy.sparse import block_array, csr_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    size = graph.shape[0]
    if size == 0:
        return graph
    count, component = connected_components(graph, directed=False)
    roots = np.unique(component, return_index=True)[1]
    # one search from a node that is joined to every root: components do not meet
    above = np.zeros((1, size), dtype=np.int8)
    above[0, roots] = 1
    joined: Any = block_array([[graph, csr_array(above.T)], [csr_array(above), None]], format="csr")
    parent = breadth_first_order(joined, size, directed=False)[1][:size]
    child = np.flatnonzero(parent < size)
    assert len(child) == size - count
    return csr_array((np.ones(len(child)), (parent[child], child)), shape=graph.shape)


def _upper_edges(graph: csr_array) -> Array:
    """(E, 2) node pairs, lower first, ascending, each edge once."""
    ends = np.stack(graph.tocoo().coords, axis=1).astype(np.int64)
    return np.unique(np.sort(ends, axis=1), axis=0).reshape(-1, 2)


def _whole(count: int, percent: float) -> int:
    """So many of a hundred, rounded down; a product of rounded factors is not lost."""
    return int(count * percent / 100.0 + 1e-9)


def _require_percent(name: str, value: float) -> None:
    if not 0.0 <= value <= 100.0:
        raise BadParameter(f"{name} is a percentage in [0, 100], got {value}")
