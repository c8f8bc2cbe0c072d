"""Which array of a file is which: canonical names, the other names they go by, and bare files."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ood_toolkit.errors import BadParameter, DataError
from ood_toolkit.io.stored import StoredArray

__all__ = ["ALIASES", "HEAD_PAIRS", "RANKS", "Chosen", "choose", "choose_head", "known_name"]

ALIASES: Mapping[str, tuple[str, ...]] = {
    "logits": ("raw_logits", "preds_logits"),
    "features": ("feats", "embeddings", "penultimate", "feat_list"),
    "labels": ("label", "targets", "y", "label_list"),
    "members": (),
    "token_logits": (),
    "token_mask": (),
    "token_ids": (),
    "thumbnails": (),
    "text": (),
}
"""Canonical names and what else a file may call them (`*_list` are OpenOOD's)."""

HEAD_PAIRS = (
    ("head_weight", "head_bias"),
    ("W", "b"),
    ("fc.weight", "fc.bias"),
    ("weight", "bias"),
)
"""Names of the last layer, as pairs: a weight never takes another pair's bias."""

RANKS: Mapping[str, int] = {
    "logits": 2,
    "features": 2,
    "members": 3,
    "token_logits": 3,
    "token_mask": 2,
    "token_ids": 2,
    "head_weight": 2,
    "head_bias": 1,
}
"""Axes of the arrays whose number of axes is fixed."""

_DATA = ("logits", "features", "members", "token_logits")
_LAYERS = ("layers/", "layers.")

Chosen = dict[str, StoredArray]
"""Canonical name -> the array that bears it."""


def known_name(key: str) -> str | None:
    """The canonical name of a file's key; None where it has none.

    >>> known_name("feats"), known_name("layers.block3"), known_name("epoch")
    ('features', 'layers/block3', None)
    """
    for prefix in _LAYERS:
        if key.startswith(prefix) and len(key) > len(prefix):
            return "layers/" + key.removeprefix(prefix)
    for name, others in ALIASES.items():
        if key == name or key in others:
            return name
    for weight, bias in HEAD_PAIRS:
        if key in (weight, bias):
            return "head_weight" if key == weight else "head_bias"
    return None


def choose(
    path: str,
    arrays: Mapping[str, StoredArray],
    keys: Mapping[str, str] | None,
    as_: str,
    unread: Collection[str] = (),
) -> Chosen:
    """Give each array its canonical name; `keys` wins over names, names over aliases.

    Names in `unread` are passed over, whatever arrays could bear them.

    Raises
    ------
    DataError
        If a given key is missing, two aliases compete, or nothing says what the arrays are.
    """
    given = {name: key for name, key in (keys or {}).items() if name not in unread}
    chosen = _given(path, arrays, given)
    free = {key: a for key, a in arrays.items() if key not in {c.key for c in chosen.values()}}
    for name, others in ALIASES.items():
        if name in chosen or name in unread:
            continue
        if name in free:
            chosen[name] = free[name]
        elif present := [other for other in others if other in free]:
            if len(present) > 1:
                raise DataError(
                    path,
                    "",
                    f"{_listed(present)} could each be the {name}; say which with "
                    f"--{name}-key (keys=)",
                )
            chosen[name] = free[present[0]]
    for key, array in free.items():
        name = known_name(key) or ""
        if name.startswith("layers/"):
            chosen.setdefault(name, array)
    if "head_weight" not in chosen:
        chosen |= choose_head(free)
    if not any(name in _DATA or name.startswith("layers/") for name in chosen):
        chosen[as_] = _bare(path, arrays, chosen)
    return chosen


def _given(path: str, arrays: Mapping[str, StoredArray], keys: Mapping[str, str]) -> Chosen:
    chosen = {}
    for name, key in keys.items():
        if known_name(name) != name:
            raise BadParameter(
                f"{name!r} is not something an outputs file holds; expected one of "
                f"{', '.join((*ALIASES, *HEAD_PAIRS[0]))} or layers/<name>"
            )
        if key not in arrays:
            raise DataError(
                path, key, f"no such array for the {name}; the file holds {_listed(arrays)}"
            )
        chosen[name] = arrays[key]
    return chosen


def choose_head(arrays: Mapping[str, StoredArray]) -> Chosen:
    """The first pair of head names whose weight is a matrix, or nothing."""
    for weight, bias in HEAD_PAIRS:
        # `weight` and `b` are common words: only a matrix can be a head.
        if weight in arrays and (weight == "head_weight" or len(arrays[weight].shape) == 2):
            chosen = {"head_weight": arrays[weight]}
            if bias in arrays:
                chosen["head_bias"] = arrays[bias]
            return chosen
    return {}


def _bare(path: str, arrays: Mapping[str, StoredArray], chosen: Chosen) -> StoredArray:
    """The one array of a file that names none, which is logits or features as the user says."""
    if "" in arrays:
        return arrays[""]
    if len(arrays) == 1 and not chosen and known_name(next(iter(arrays))) is None:
        return next(iter(arrays.values()))
    if not arrays:
        raise DataError(path, "", "holds no arrays")
    raise DataError(
        path,
        "",
        f"holds {_listed(arrays)} but no logits and no features; rename them, or say which "
        "is which with --logits-key or --features-key (keys=)",
    )


def _listed(names: Mapping[str, StoredArray] | list[str]) -> str:
    """Up to a dozen names, in the file's order."""
    shown = [repr(name) for name in names]
    return ", ".join(shown[:12]) + (f", … ({len(shown)} in all)" if len(shown) > 12 else "")
