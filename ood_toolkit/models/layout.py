"""Where the numbers of an image lie in memory: channels last, where a model takes them so.

On the CPU most layers of a convolutional network are quicker when the channels of one place lie
side by side, pooling above all, forward and backward.  The numbers are the same; sums are taken
in another order, so that answers may differ in the last digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Size, Tensor

__all__ = ["Layout", "channels_last"]

_ROWS = 2
_SAME = 1e-3


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
            self._taken[shape] = self._is_harmless(inputs[:_ROWS].detach())
        return channels_last(inputs) if self._taken[shape] else inputs

    def _is_harmless(self, images: Tensor) -> bool:
        import torch

        expected = self._logits(images)
        try:
            found = self._logits(channels_last(images))
        except RuntimeError:  # the model asks for the other layout
            return False
        scale = float(expected.abs().max()) or 1.0
        return bool(torch.allclose(found, expected, rtol=0.0, atol=_SAME * scale))


def _are_images(inputs: Any) -> bool:
    import torch

    return (
        isinstance(inputs, torch.Tensor)
        and inputs.dim() == 4
        and inputs.is_floating_point()
        and inputs.device.type == "cpu"
        and len(inputs) > 0
    )
