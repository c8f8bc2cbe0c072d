"""Where the numbers of an image lie in memory: channels last, where a model takes them so.

On the CPU most layers of a convolutional network are quicker when the channels of one place lie
side by side, pooling above all, forward and backward.  The numbers are the same; sums are taken
in another order, so that answers may differ in the last digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import InputError
from ood_toolkit.models.batches import row_count
from ood_toolkit.models.torch_library import tree_map

if TYPE_CHECKING:
    from torch import Size, Tensor

    from ood_toolkit.models.network import Network, Pass

__all__ = ["Layout", "channels_last", "laying_out"]

_ROWS = 2
_SAME = 1e-3
_ROUNDING = 8.0


def channels_last(images: Tensor) -> Tensor:
    """The same (N, C, H, W) images, the channels of a place side by side in memory."""
    import torch

    if images.shape[1] > 1:
        return images.contiguous(memory_format=torch.channels_last)
    # of one channel both orders are the same numbers: only the strides tell torch which is meant
    height, width = images.shape[2:]
    strides = (height * width, 1, width, 1)
    return images.contiguous().as_strided(images.shape, strides)


class Layout:
    """Lays images on the CPU out channels last, where a model gives the same answer to them.

    Asked once for each shape of image, with two rows: some models refuse the layout (`view` of
    maps), and code of their own may misread it.

    Parameters
    ----------
    logits : callable
        A batch of inputs -> (N, C) logits, no gradients recorded.
    """

    def __init__(self, logits: Callable[[Any], Tensor]) -> None:
        self._logits = logits
        self._taken: dict[Size, bool] = {}

    def __call__(self, inputs: Any) -> Any:
        """The inputs, channels last where that is possible and known to be harmless."""
        if not _are_images(inputs):
            return inputs
        shape = inputs.shape[1:]
        if shape not in self._taken:
            images = inputs[:_ROWS].detach()
            self._taken[shape] = not _objection(self._logits, images, channels_last(images))
        return channels_last(inputs) if self._taken[shape] else inputs


def _are_images(inputs: Any) -> bool:
    import torch

    return (
        isinstance(inputs, torch.Tensor)
        and inputs.dim() == 4
        and inputs.is_floating_point()
        and inputs.device.type == "cpu"
        and len(inputs) > 0
    )


def laying_out(network: Network, run: Callable[[Any], Pass]) -> Callable[[Any], Pass]:
    """`run`, of inputs whose tensors of four axes were laid out channels last.

    All else stays as it is.  For each shape of images the logits of both layouts are compared
    once: of two rows, or of the whole batch where inputs are several, since nobody knows which
    of these have rows.  A model that does not give the same answer is refused.
    """
    import torch

    taken: set[tuple[Size, ...]] = set()

    def laid_out(inputs: Any) -> Pass:
        inputs = network.moved(inputs)
        shapes: list[Size] = []

        def laid(tensor: Tensor) -> Tensor:
            if tensor.dim() != 4:
                return tensor
            shapes.append(tensor.shape[1:])
            return channels_last(tensor)

        changed = tree_map(laid, inputs)
        asked = tuple(shapes)
        if asked and asked not in taken and row_count(inputs):
            few = slice(_ROWS)
            one = isinstance(inputs, torch.Tensor)
            pair = (inputs[few], changed[few]) if one else (inputs, changed)
            objection = _objection(network.logits, *pair)
            if objection:
                raise InputError(f"the model {objection}; leave channels_last out")
            taken.add(asked)
        return run(changed)

    return laid_out


def _objection(logits: Callable[[Any], Tensor], plain: Any, laid: Any) -> str:
    """What a model does otherwise with inputs laid out channels last; empty where nothing."""
    import torch

    expected = logits(plain)
    try:
        found = logits(laid)
    except RuntimeError as reason:
        return f"does not run on channels-last inputs ({' '.join(str(reason).split())})"
    scale = float(expected[expected.isfinite()].abs().amax()) if expected.isfinite().any() else 1.0
    allowed = _tolerance(expected, plain) * (scale or 1.0)
    if torch.allclose(found, expected, rtol=0.0, atol=allowed, equal_nan=True):
        return ""
    return (
        "gives other logits for the same inputs channels last: a layer of it reads memory as it "
        "lies"
    )


def _tolerance(logits: Tensor, inputs: Any) -> float:
    """Largest difference relative to the largest logit that rounding explains."""
    import torch

    found = [logits.dtype]
    tree_map(lambda tensor: found.append(tensor.dtype), inputs)
    kind = logits.device.type
    if torch.is_autocast_enabled(kind):
        found.append(torch.get_autocast_dtype(kind))
    coarsest: float = max(torch.finfo(each).eps for each in found if each.is_floating_point)
    return max(_SAME, _ROUNDING * coarsest)
