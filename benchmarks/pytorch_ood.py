"""Rank agreement with pytorch-ood 0.4.0 on the same arrays.

    python -m benchmarks.pytorch_ood FOLDER

FOLDER holds train.npz, id_test.npz, head.npz and ood_*.npz, as the CIFAR-10 case of the test
data does.  Runs in the environment that `make peers` builds; pytorch-ood is no dependency.
Prints Spearman's correlation of the scores of all test rows, the difference in AUROC, the
share of tied rows on both sides, and, for the peer's logit scores, the correlation when it is
given float64 logits: where that is 1, the difference is its float32 softmax saturating.  Its
GEN also replaces probabilities below 1e-7, which changes ranks in any type.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import ood_toolkit as ood

# Its torchvision does not import beside a CPU build of torch unless these are declared.
_operators = torch.library.Library("torchvision", "DEF")
_operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from pytorch_ood import detector as peer  # noqa: E402


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def peer_logit_scores(z: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    """Our name of each shared logit method -> what the peer answers."""
    return {
        "msp": lambda: peer.MaxSoftmax.score(z),
        "max_logit": lambda: peer.MaxLogit.score(z),
        "energy": lambda: peer.EnergyBased.score(z),
        "entropy": lambda: peer.Entropy.score(z),
        "gen": lambda: peer.GEN.score(z),
    }


def peer_scores(train: ood.Outputs, x: ood.Outputs) -> dict[str, Callable[[], torch.Tensor]]:
    """Our name of each shared method -> what the peer answers (higher = out of distribution)."""
    f, y = tensor(x.features), torch.from_numpy(train.labels)
    train_f = tensor(train.features)
    weight, bias = tensor(train.head.weight), tensor(train.head.bias)
    react = peer.ReAct(None, lambda maps: maps.flatten(1) @ weight.T + bias)
    dims = ood.ViM().fit(train).report()["principal"]
    z = tensor(x.logits)
    return peer_logit_scores(z) | {
        "kl_matching": lambda: (
            peer.KLMatching(None).fit_logits(tensor(train.logits)).predict_logits(z)
        ),
        "mahalanobis": lambda: peer.Mahalanobis(None).fit_features(train_f, y).predict_features(f),
        "relative_mahalanobis": lambda: peer.RMD(None).fit_features(train_f, y).predict_features(f),
        "knn": lambda: peer.KNN(None, k=50).fit_features(train_f, y).predict_features(f),
        "vim": lambda: (
            peer.ViM(None, dims, weight, bias).fit_features(train_f, y).predict_features(f)
        ),
        "react": lambda: react.fit_feature_maps(train_f[:, :, None, None], y).predict_feature_maps(
            f[:, :, None, None]
        ),
    }


def main(folder: str) -> int:
    root = Path(folder)
    head = str(root / "head.npz")
    train = ood.load(root / "train.npz", head=head)
    test = ood.load(root / "id_test.npz", head=head)
    sets = [ood.load(p, head=head, labels=False) for p in sorted(root.glob("ood_*.npz"))]
    x = ood.Outputs(
        logits=np.concatenate([s.logits for s in (test, *sets)]),
        features=np.concatenate([s.features for s in (test, *sets)]),
        head=test.head,
    )
    peers = peer_scores(train, x)
    ours = ood.score(x, list(peers), train=train)
    print(f"{len(test)} in-distribution rows, {len(x) - len(test)} others")
    wide = peer_logit_scores(torch.from_numpy(x.logits.astype(np.float64)))
    heads = ("Spearman", "AUROC ours", "difference", "ties ours", "ties peer", "float64")
    print(f"{'method':<22}" + "".join(f"{h:>12}" for h in heads))
    for name, answer in peers.items():
        theirs = -answer().double().numpy()
        rho = float(spearmanr(ours[name], theirs).statistic)
        aurocs = [ood.metrics.auroc(s[: len(test)], s[len(test) :]) for s in (ours[name], theirs)]
        ties = [1 - len(np.unique(s)) / len(s) for s in (ours[name], theirs)]
        again = ""
        if name in wide:
            again = f"{spearmanr(ours[name], -wide[name]().numpy()).statistic:12.7f}"
        print(
            f"{name:<22}{rho:>12.7f}{aurocs[0]:>12.5f}{aurocs[0] - aurocs[1]:>12.6f}"
            f"{ties[0]:>12.4f}{ties[1]:>12.4f}{again}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
