"""A graph convolutional network: plain, with added nodes, with dropped edges.

    python -m benchmarks.graph_gcn FOLDER [--seeds 10]

FOLDER holds cora.npz and citeseer.npz as the graph case of the test data does.  For each seed a
two-layer GCN (Kipf & Welling 2017: 16 hidden units, dropout 0.5, Adam 0.01, weight decay 5e-4 on
the first layer, 200 epochs, no early stopping) is trained; from its logits come the nodes to add
and the edges to drop, and the network is trained anew, from the same seed, with those.

Settings are chosen by mean accuracy on the validation nodes, over the grids printed; the test
nodes are looked at once.  The last column is what choosing on the test nodes would have shown.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array, eye_array

from ood_toolkit.graph import drop_edges, label_non_uniformity, nodes_to_add

EPOCHS = 200
ADDED = (20, 40, 60, 80)
HARD, DROPPED = (10, 30, 50), (40, 100)


@dataclass(frozen=True)
class Graph:
    """Nodes with features and labels, and the public split."""

    features: csr_array
    adjacency: csr_array
    labels: np.ndarray
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def load(path: Path) -> Graph:
    z = np.load(path)
    shape = tuple(int(n) for n in z["x_shape"])
    x = csr_array((z["x_data"].astype(np.float32), z["x_indices"], z["x_indptr"]), shape=shape)
    total = np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1)
    x = diags_array(1 / total).astype(np.float32) @ x
    ends = np.concatenate([z["edges"], z["edges"][:, ::-1]]).T
    adjacency = csr_array((np.ones(ends.shape[1]), ends), shape=(shape[0], shape[0]))
    labels = z["labels"].astype(np.int64)
    test = z["test"][labels[z["test"]] >= 0]
    return Graph(csr_array(x), adjacency, labels, z["train"], z["val"], test)


def propagation(adjacency: csr_array) -> csr_array:
    """D^-1/2 (A + I) D^-1/2."""
    looped = adjacency + eye_array(adjacency.shape[0])
    scale = diags_array(1 / np.sqrt(np.asarray(looped.sum(axis=1)).ravel()))
    return csr_array((scale @ looped @ scale).astype(np.float32))


class Product(torch.autograd.Function):
    """A constant sparse matrix times a dense one; scipy's is quicker than torch's here."""

    @staticmethod
    def forward(ctx: Any, matrix: csr_array, dense: torch.Tensor) -> torch.Tensor:
        ctx.matrix = matrix
        return torch.from_numpy(matrix @ dense.detach().numpy())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, torch.from_numpy(ctx.matrix.T @ gradient.numpy())


class GCN(torch.nn.Module):
    def __init__(self, inputs: int, classes: int, hidden: int = 16) -> None:
        super().__init__()
        self.first = torch.nn.Parameter(torch.empty(inputs, hidden))
        self.second = torch.nn.Parameter(torch.empty(hidden, classes))
        self.biases = torch.nn.ParameterList([torch.zeros(hidden), torch.zeros(classes)])
        for weight in (self.first, self.second):
            torch.nn.init.xavier_uniform_(weight)

    def forward(self, x: csr_array, along: csr_array) -> torch.Tensor:
        values = torch.nn.functional.dropout(torch.from_numpy(x.data), 0.5, self.training)
        x = csr_array((values.numpy(), x.indices, x.indptr), shape=x.shape)
        h = Product.apply(along, Product.apply(x, self.first))
        h = torch.nn.functional.dropout(torch.relu(h + self.biases[0]), 0.5, self.training)
        return Product.apply(along, h @ self.second) + self.biases[1]


@contextmanager
def one_thread() -> Iterator[None]:
    """These matrices are small: more threads wait for each other, and may round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def trained(
    graph: Graph, adjacency: csr_array, nodes: np.ndarray, labels: np.ndarray, seed: int
) -> np.ndarray:
    """Logits of all nodes after training on some, with the labels given for them."""
    torch.manual_seed(seed)
    model = GCN(graph.features.shape[1], int(graph.labels.max()) + 1)
    along, target = propagation(adjacency), torch.from_numpy(labels)
    rows = torch.from_numpy(np.asarray(nodes, dtype=np.int64))
    first = [model.first, model.biases[0]]
    rest = [model.second, model.biases[1]]
    optimiser = torch.optim.Adam(
        [{"params": first, "weight_decay": 5e-4}, {"params": rest, "weight_decay": 0.0}], lr=0.01
    )
    for _ in range(EPOCHS):
        model.train()
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(graph.features, along)[rows], target)
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        return np.asarray(model(graph.features, along).double())


Train = Callable[[int, np.ndarray], np.ndarray]


def variants(graph: Graph) -> dict[str, dict[str, Train]]:
    """Name -> setting -> how a network is trained anew, from a seed and the plain logits."""
    unlabelled = np.ones(len(graph.labels), dtype=bool)
    unlabelled[graph.train] = False

    def enlarged(logits: np.ndarray, percent: float) -> tuple[np.ndarray, np.ndarray]:
        nodes, labels = nodes_to_add(logits, unlabelled, percent)
        return (
            np.concatenate([graph.train, nodes]),
            np.concatenate([graph.labels[graph.train], labels]),
        )

    def fewer(logits: np.ndarray, hard: float, edges: float, seed: int) -> csr_array:
        return drop_edges(graph.adjacency, logits, nodes=hard, edges=edges, seed=seed)

    own = graph.train, graph.labels[graph.train]
    added: dict[str, Train] = {
        f"added {a} %": lambda s, z, a=a: trained(graph, graph.adjacency, *enlarged(z, a), s)
        for a in ADDED
    }
    dropped: dict[str, Train] = {
        f"dropped {d} % among {h} %": lambda s, z, h=h, d=d: trained(
            graph, fewer(z, h, d, s), *own, s
        )
        for h, d in itertools.product(HARD, DROPPED)
    }
    both: dict[str, Train] = {
        f"added {a} %, dropped 40 % among 30 %": lambda s, z, a=a: trained(
            graph, fewer(z, 30, 40, s), *enlarged(z, a), s
        )
        for a in ADDED
    }
    return {"added nodes": added, "dropped edges": dropped, "both": both}


def accuracy(graph: Graph, logits: np.ndarray, nodes: np.ndarray) -> float:
    return float((logits[nodes].argmax(axis=1) == graph.labels[nodes]).mean())


def quintiles(graph: Graph, logits: np.ndarray) -> list[float]:
    """Accuracy on the test nodes, the fifth with the smallest non-uniformity first."""
    order = graph.test[np.argsort(label_non_uniformity(logits[graph.test]), kind="stable")]
    return [accuracy(graph, logits, part) for part in np.array_split(order, 5)]


def shown(values: list[float]) -> str:
    percent = 100 * np.array(values)
    spread = percent.std(ddof=1) if len(percent) > 1 else 0.0
    return f"{percent.mean():6.2f} ± {spread:4.2f}"


def run(name: str, graph: Graph, seeds: int) -> None:
    plain = [
        trained(graph, graph.adjacency, graph.train, graph.labels[graph.train], seed)
        for seed in range(seeds)
    ]
    fifths = np.mean([quintiles(graph, logits) for logits in plain], axis=0)
    print(f"{name}: {len(graph.labels)} nodes, {graph.adjacency.nnz // 2} edges, {seeds} seeds")
    print("accuracy by fifths of label non-uniformity, smallest first:")
    print("  " + "  ".join(f"{100 * value:.1f}" for value in fifths))
    width = 38
    print(f"{'':<14} {'chosen on validation nodes':<{width}} {'validation':>14} {'test':>14}"
          f" {'best on test':>14}")  # fmt: skip
    val, test = ([accuracy(graph, z, n) for z in plain] for n in (graph.val, graph.test))
    print(f"{'plain':<14} {'':<{width}} {shown(val):>14} {shown(test):>14} {shown(test):>14}")
    for variant, settings in variants(graph).items():
        logits = {
            setting: [train(seed, plain[seed]) for seed in range(seeds)]
            for setting, train in settings.items()
        }
        on_val, on_test = (
            {s: [accuracy(graph, z, nodes) for z in found] for s, found in logits.items()}
            for nodes in (graph.val, graph.test)
        )
        chosen = max(on_val, key=lambda s: np.mean(on_val[s]))
        peeked = max(on_test, key=lambda s: np.mean(on_test[s]))
        print(f"{variant:<14} {chosen:<{width}} {shown(on_val[chosen]):>14}"
              f" {shown(on_test[chosen]):>14} {shown(on_test[peeked]):>14}")  # fmt: skip
    print(flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--graphs", nargs="+", default=["cora", "citeseer"])
    arguments = parser.parse_args()
    for name in arguments.graphs:
        run(name, load(arguments.folder / f"{name}.npz"), arguments.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
