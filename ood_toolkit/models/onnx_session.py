"""ONNX files run by onnxruntime: logits, features and head, for people without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError, InputError, MissingDependency
from ood_toolkit.models.places import make_sink
from ood_toolkit.models.progress import Progress, reporting, rows_in
from ood_toolkit.models.sinks import Part
from ood_toolkit.outputs import Array, Head, Outputs

__all__ = ["OnnxClassifier"]

_HEAD_OPERATORS = ("Gemm", "MatMul")


class OnnxClassifier:
    """A classifier in an ONNX file, whose first output are its logits.

    Parameters
    ----------
    path : str or Path
        The file.  Where its logits come out of a matrix product with constant weights, what
        enters the product are the features and its weights the head.
    threads : int, optional
        How many it may use; by default what onnxruntime takes.

    Raises
    ------
    DataError
        If the file is no sound ONNX model.
    MissingDependency
        If onnx or onnxruntime is not installed.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as reason:
            raise MissingDependency("onnx and onnxruntime", "onnx", f"running {path}") from reason
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):
            raise DataError(self.path, "", "there is no such file")
        try:
            model = onnx.load(self.path)
            self._logits = model.graph.output[0].name
            found = _linear_head(model.graph)
            self.head: Head | None
            self._features, self.head = found if found else ("", None)
            if self._features:
                model.graph.output.append(onnx.ValueInfoProto(name=self._features))
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = threads or 0
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as reason:  # noqa: BLE001 - both libraries raise their own kinds
            text = " ".join(str(reason).split())[:200]
            raise DataError(
                self.path, "", f"is not an ONNX model that can be run ({text})"
            ) from None
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def run(self, inputs: Array | Sequence[Array]) -> Part:
        """Logits, and features where they were found, of one batch."""
        given = inputs if isinstance(inputs, tuple | list) else [inputs]
        if len(given) != len(self._inputs):
            raise InputError(
                f"{self.path}: takes {', '.join(self._inputs)}, got {len(given)} arrays"
            )
        wanted = [self._logits, *([self._features] if self._features else [])]
        named = dict(zip(self._inputs, (np.ascontiguousarray(a) for a in given), strict=True))
        try:
            answers = self._session.run(wanted, named)
        except Exception as reason:  # noqa: BLE001 - onnxruntime raises its own kinds
            text = " ".join(str(reason).split())[:300]
            raise InputError(f"{self.path}: cannot be run on these inputs ({text})") from None
        part = {"logits": answers[0]}
        if self._features:
            part["features"] = answers[1]
        if part["logits"].ndim != 2:
            raise InputError(
                f"{self.path}: output {self._logits} must be (N, C), got {part['logits'].shape}"
            )
        return part

    def outputs(
        self,
        loader: Any,
        *,
        to: str | Path | None = None,
        shard_rows: int = 10_000,
        progress: Progress = None,
    ) -> Outputs:
        """What the classifier says about every batch of arrays, or pairs with labels.

        Parameters are as those of `WrappedClassifier.outputs`.
        """
        made_of = {"model": self.path, "size": os.path.getsize(self.path)}
        sink = make_sink(to, shard_rows, lambda: made_of)
        head = (
            {}
            if self.head is None
            else {
                "head_weight": self.head.weight,
                "head_bias": self.head.bias,
            }
        )
        done, skip = 0, sink.begin(head)
        try:
            with reporting(progress, rows_in(loader)) as tell:
                for batch in loader:
                    inputs, labels = batch if isinstance(batch, tuple) else (batch, None)
                    rows = len(inputs)
                    begin = min(rows, max(0, skip - done))
                    if begin < rows:
                        part = dict(self.run(inputs))
                        if labels is not None:
                            part["labels"] = np.asarray(labels, dtype=np.int64)
                        sink.add({key: array[begin:] for key, array in part.items()})
                    done += rows
                    tell(done)
            return sink.finish(head)
        except BaseException:
            sink.discard()
            raise


def _linear_head(graph: Any) -> tuple[str, Head] | None:
    """Name of what enters the last matrix product, and its constant weights; None if none."""
    from onnx import numpy_helper

    constants = {entry.name: entry for entry in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    node = made_by.get(graph.output[0].name)
    bias: Array | None = None
    if node is not None and node.op_type == "Add":
        known = [name for name in node.input if name in constants]
        other = [name for name in node.input if name not in constants]
        if len(known) != 1:
            return None
        bias, node = numpy_helper.to_array(constants[known[0]]), made_by.get(other[0])
    if node is None or node.op_type not in _HEAD_OPERATORS or node.input[1] not in constants:
        return None
    weight = numpy_helper.to_array(constants[node.input[1]])
    settings = {entry.name: entry for entry in node.attribute}
    if node.op_type == "Gemm":
        if any(settings[k].f != 1.0 for k in ("alpha", "beta") if k in settings):
            return None
        if not ("transB" in settings and settings["transB"].i):
            weight = weight.T
        if len(node.input) > 2 and node.input[2] in constants:
            bias = numpy_helper.to_array(constants[node.input[2]])
    else:
        weight = weight.T
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    return node.input[0], Head(np.ascontiguousarray(weight), bias)
