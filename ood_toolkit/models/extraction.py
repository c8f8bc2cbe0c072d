"""An extraction as a value: what a process elsewhere needs to run a model over some rows."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ood_toolkit.errors import BadParameter, DataError, InputError
from ood_toolkit.io import file_digest
from ood_toolkit.models.images import Preparation
from ood_toolkit.models.sources import ImageSource, open_inputs
from ood_toolkit.models.torch_library import load_torch, model_digest
from ood_toolkit.outputs import Outputs

__all__ = ["Extraction", "OpenExtraction"]


@dataclass(frozen=True)
class Extraction:
    """A model, inputs, and what is kept: all by name, so that it travels in a few bytes.

    The model's code is imported and run wherever this is opened: use models that you trust.

    Parameters
    ----------
    model : str
        `package.module:name` of a model or of a function that builds it, or `onnx:FILE`.
    data : str
        Inputs, as for `ood_toolkit.datasets.open_images`.
    weights : str, optional
        A `.safetensors`, `.pt` or `.pth` file of the model's tensors, at the same path wherever
        this is opened.
    weights_sha256 : str
        Its checksum; another file is refused.  `with_checksum` fills it in.
    preparation : Preparation
        What is done to images before the model.
    batch_size : int
        Rows that the model sees at once.
    split : "train" or "test"
        Which part of the inputs, where there are both.
    device : str, optional
        Where the model runs, such as "cuda:0".
    head, features, layers
        As for `wrap`.
    channels_last : bool
        As for `WrappedClassifier.outputs`.

    Examples
    --------
    >>> Extraction("package:network", "npz:images.npz", batch_size=32).batch_size
    32
    """

    model: str
    data: str
    weights: str | None = None
    weights_sha256: str = ""
    preparation: Preparation = field(default_factory=Preparation)
    batch_size: int = 64
    split: str = "test"
    device: str | None = None
    head: str | None = None
    features: str | None = None
    layers: tuple[str, ...] = ()
    channels_last: bool = False

    @property
    def onnx_file(self) -> str | None:
        """The file, where the model is one."""
        kind, colon, path = self.model.partition(":")
        return path if kind == "onnx" and colon else None

    def with_checksum(self) -> Extraction:
        """The same, its paths absolute, with the checksum of the weights that this process sees.

        Raises
        ------
        BadParameter
            If something is given that an ONNX file has no use for.
        DataError
            If there are no such weights.
        """
        file = self.onnx_file
        if file is not None:
            unused = (self.weights, self.device, self.head, self.features)
            if any(given is not None for given in unused) or self.layers or self.channels_last:
                raise BadParameter(
                    f"{self.model}: weights, device, head, features, layers and channels_last do "
                    "not go with an ONNX file"
                )
        kept = file or self.weights
        return replace(
            self,
            model=f"onnx:{os.path.abspath(file)}" if file else self.model,
            weights=os.path.abspath(self.weights) if self.weights else None,
            weights_sha256=file_digest(kept) if kept else "",
            data=_absolute(self.data),
        )

    def open(self, threads: int = 1) -> OpenExtraction:
        """The model, built, and the inputs, opened, in this process.

        Parameters
        ----------
        threads : int
            How many the model may use; the same number gives the same bits.

        Raises
        ------
        DataError
            If the weights are another file here than the checksum says.
        """
        kept = self.onnx_file or self.weights
        if kept and self.weights_sha256 and file_digest(kept) != self.weights_sha256:
            raise DataError(kept, "", "is another file here than where the job was started")
        source = open_inputs(
            self.data, self.preparation, batch_size=self.batch_size, split=self.split
        )
        run, model = self._runner(threads)
        first = next(iter(source))
        run([first])  # which module is the head, and how images lie, is settled by the first rows
        facts = {
            "model": model,
            "weights": self.weights_sha256,
            "data": [self.data, self.split, source.rows],
            "first batch": _digest(first),
            "preparation": repr(self.preparation),
            "batch_size": self.batch_size,
            "head": self.features or self.head or "",
            "layers": list(self.layers),
            "channels_last": self.channels_last,
        }
        return OpenExtraction(source, run, facts)

    def _runner(self, threads: int) -> tuple[Callable[[Any], Outputs], str]:
        """What runs batches, and a digest of the model."""
        file = self.onnx_file
        if file is not None:
            from ood_toolkit.models.onnx_session import OnnxClassifier

            classifier = OnnxClassifier(file, threads=threads)
            return partial(classifier.outputs, progress=False), file_digest(file)
        from ood_toolkit.models.blame import blaming_model
        from ood_toolkit.models.specs import build_model
        from ood_toolkit.models.wrapping import wrap

        load_torch("running a model").set_num_threads(threads)
        built = build_model(self.model, self.weights, self.device)
        wrapped = wrap(built, head=self.head, features=self.features, layers=self.layers)
        run = partial(wrapped.outputs, progress=False, channels_last=self.channels_last)
        return blaming_model(run, self.model, built), model_digest(built)


class OpenExtraction:
    """A built model and opened inputs.

    Parameters
    ----------
    source : ImageSource
        The inputs.
    run : callable
        Batches -> their record.
    facts : dict
        JSON-ready: all that the outputs depend on.
    """

    def __init__(
        self, source: ImageSource, run: Callable[[Any], Outputs], facts: dict[str, Any]
    ) -> None:
        self._source, self._run, self.facts = source, run, facts
        self._one_at_a_time = threading.Lock()  # hooks see one batch of one thread

    @property
    def rows(self) -> int:
        """How many rows the inputs have."""
        return self._source.rows

    def outputs(self, start: int, stop: int) -> Outputs:
        """What the model says about rows start ... stop.

        Batches begin at multiples of the batch size whatever the rows, so that no bit depends
        on how the rows are shared out; rows of a batch that are another part's are left out.

        Raises
        ------
        InputError
            If the rows are not there, or the model cannot be run on them.
        """
        if not 0 <= start < stop <= self.rows:
            raise InputError(f"rows {start} to {stop - 1} are not among {self.rows}")
        size = self._source.batch_size
        first = start // size * size
        with self._one_at_a_time:
            record = self._run(self._batches(first, stop, size))
        return record.rows(slice(start - first, stop - first))

    def _batches(self, first: int, stop: int, size: int) -> Iterator[Any]:
        for begin in range(first, stop, size):
            inputs, labels = self._source.read(begin, min(self.rows, begin + size))
            yield inputs if labels is None else (inputs, labels)


def _absolute(spec: str) -> str:
    """`KIND:PATH` or `KIND:LIST@FOLDER` as any process of this machine would name it."""
    kind, _, place = spec.partition(":")
    paths = place.split("@") if kind == "imglist" else [place]
    if not all(os.path.exists(path) for path in paths):
        return spec  # no path, or one that opening it will name
    return f"{kind}:{'@'.join(map(os.path.abspath, paths))}"


def _digest(batch: Any) -> str:
    digest = hashlib.sha256()
    for array in batch if isinstance(batch, tuple) else (batch,):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
