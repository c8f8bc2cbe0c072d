"""Post-hoc uncertainty and out-of-distribution detection for trained classifiers.

Everything public is loaded when it is first used, so that importing the package, and the
command line's help, stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ood_toolkit import metrics as metrics
    from ood_toolkit.api import detector, evaluate, evaluate_errors, methods, score
    from ood_toolkit.datasets import load_benchmark
    from ood_toolkit.decision import Threshold
    from ood_toolkit.detectors import (
        GEN,
        KNN,
        MSP,
        CosinePrototype,
        Energy,
        Entropy,
        Gini,
        KLFromUniform,
        KLMatching,
        LabelNonUniformity,
        LogitMargin,
        Mahalanobis,
        MahalanobisPP,
        Margin,
        MarginalMahalanobis,
        MaxLogit,
        ODINTemperature,
        ReAct,
        RelativeMahalanobis,
        Renyi,
        SoftmaxCentroid,
        StandardizedMaxLogit,
        ViM,
        load_scorer,
    )
    from ood_toolkit.errors import (
        BadParameter,
        DataError,
        InputError,
        MissingDependency,
        ToolkitError,
        ToolkitWarning,
        UnknownName,
    )
    from ood_toolkit.io import load, load_scores, save_outputs, save_scores
    from ood_toolkit.outputs import Head, Outputs

_HOME = {
    "api": ("detector", "evaluate", "evaluate_errors", "methods", "score"),
    "datasets": ("load_benchmark",),
    "decision": ("Threshold",),
    "detectors": (
        "GEN",
        "KNN",
        "MSP",
        "CosinePrototype",
        "Energy",
        "Entropy",
        "Gini",
        "KLFromUniform",
        "KLMatching",
        "LabelNonUniformity",
        "LogitMargin",
        "Mahalanobis",
        "MahalanobisPP",
        "Margin",
        "MarginalMahalanobis",
        "MaxLogit",
        "ODINTemperature",
        "ReAct",
        "RelativeMahalanobis",
        "Renyi",
        "SoftmaxCentroid",
        "StandardizedMaxLogit",
        "ViM",
        "load_scorer",
    ),
    "errors": (
        "BadParameter",
        "DataError",
        "InputError",
        "MissingDependency",
        "ToolkitError",
        "ToolkitWarning",
        "UnknownName",
    ),
    "io": ("load", "load_scores", "save_outputs", "save_scores"),
    "outputs": ("Head", "Outputs"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["metrics", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ood_toolkit")
    if name == "metrics":
        return importlib.import_module("ood_toolkit.metrics")
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"ood_toolkit.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ood_toolkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
