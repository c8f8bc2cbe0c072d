"""The public functions that join files, detectors and evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ood_toolkit import detectors as _detectors
from ood_toolkit.detectors.catalogue import make_detector, method_of, registered
from ood_toolkit.detectors.planner import (
    FEW_ROWS,
    fit_method,
    prepared,
    score_few,
    score_together,
    scorer_of_name,
)
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.evaluation import (
    Cache,
    Convention,
    Evaluation,
    FittedOn,
    Harness,
    NoCache,
    Reported,
    Tuning,
    evaluate_errors,
    run_record,
    split_group,
)
from ood_toolkit.given import as_outputs, each_once, expect_outputs, expect_records, expect_sets
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector, Scorer

__all__ = ["detector", "evaluate", "evaluate_errors", "methods", "score"]

Methods = str | Detector | Scorer | Sequence[str | Detector | Scorer]


def methods() -> tuple[_detectors.Method, ...]:
    """The catalogue: one record per method.

    Returns
    -------
    tuple of Method
        With `.name`, `.family`, `.needs`, `.train`, `.fits`, `.parameters`, `.reference`,
        `.laws` and `.summary`.

    Examples
    --------
    >>> "energy" in [method.name for method in methods()]
    True
    """
    return registered()


def detector(name: str, /, **parameters: Any) -> Detector:
    """A detector by its catalogue name.

    Parameters
    ----------
    name : str
        As `methods` lists it.
    **parameters
        Hyper-parameters of that detector.

    Returns
    -------
    Detector
        A frozen dataclass whose `fit` returns a scorer.

    Raises
    ------
    UnknownName
        If the method or a parameter does not exist; the message suggests the nearest.
    BadParameter
        If a value has the wrong type or lies outside what the method takes.

    Examples
    --------
    >>> detector("energy", temperature=2.0)
    Energy(temperature=2.0)
    """
    return make_detector(name, parameters)


def score(
    x: Outputs | Array,
    methods: Methods,
    *,
    train: Outputs | None = None,
    id_val: Outputs | None = None,
) -> dict[str, Array]:
    """Score rows with one or many methods, reading the logits once for all of them.

    Parameters
    ----------
    x : Outputs or (N, C) array or tensor of float
        What to score; an array is taken as logits.
    methods : str, detector or scorer, or a sequence of them
        Names, detectors to be fitted, or scorers already fitted.
    train, id_val : Outputs, optional
        In-distribution outputs that methods are fitted on.

    Returns
    -------
    dict of str to (N,) array of float64
        By method name, in the order given; larger = more in-distribution.

    Raises
    ------
    UnknownName
        If a method does not exist.
    InputError
        If a method is given twice or lacks what it needs, or a row holds NaN or infinity where it
        may not, or values so large that a score would be NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> scores = ood.score(np.array([[2.0, 1.0, 0.1]]), ["msp", "energy"])
    >>> {name: values.round(3).tolist() for name, values in scores.items()}
    {'msp': [0.659], 'energy': [2.417]}
    """
    record = as_outputs(x)
    if train is not None or id_val is not None:  # one row's score takes some microseconds
        expect_records(train=train, id_val=id_val)
    listed = [methods] if isinstance(methods, str) or not isinstance(methods, Sequence) else methods
    names = tuple(item for item in listed if isinstance(item, str))
    if len(names) == len(listed) and record.logits is not None and len(record) <= FEW_ROWS:
        at_once = prepared(names)
        if at_once is not None:
            return score_few(record, at_once)
    asked: list[Detector | Scorer] = [
        (scorer_of_name(item) or make_detector(item)) if isinstance(item, str) else item
        for item in listed
    ]
    named = each_once((_name(a) if isinstance(a, Scorer) else method_of(a).name, a) for a in asked)
    return score_together(
        record,
        {n: a if isinstance(a, Scorer) else fit_method(a, train, id_val) for n, a in named.items()},
    )


def evaluate(
    methods: str | Detector | Sequence[str | Detector],
    *,
    id: Outputs,
    ood: Mapping[str, Outputs],
    train: Outputs | None = None,
    id_val: Outputs | None = None,
    fpr_rule: str = "id_positive",
    tpr: float = 0.95,
    aupr: str = "step",
    id_subset: str = "all",
    bootstrap: int = 1000,
    seed: int = 0,
    id_name: str = "",
    groups: Mapping[str, str] | None = None,
    skip_unmet: bool | None = None,
    tune: str | Outputs = "none",
    shifted: Mapping[str, Outputs] | None = None,
    cache: str | os.PathLike[str] | None = None,
    compare: bool = True,
    pictures: bool = False,
    memory: int | None = None,
    workers: int | None = None,
    keep_scores: bool = False,
    progress: Callable[[str], None] = lambda label: None,
) -> Evaluation:
    """Measure how well detectors separate in-distribution from out-of-distribution rows.

    Parameters
    ----------
    methods : str, detector, or sequence of them
        Names, detectors, or "all": every method for which the sets hold what it needs.
    id : Outputs
        In-distribution test rows; labels give the accuracy and open-set metrics.
    ood : mapping of str to Outputs
        Out-of-distribution sets by name; "near/NAME" puts a set in the group "near".  Their
        labels are ignored.
    train, id_val : Outputs, optional
        What methods are fitted on.
    fpr_rule : str
        "id_positive" (default), "ood_positive", "openood", "odin", "nearest_id" or
        "nearest_ood": how the false-positive rate at `tpr` is defined.
    tpr : float
        In (0, 1].
    aupr : "step" or "trapezoid"
        Estimator of the area under the precision-recall curve.
    id_subset : "all" or "correct"
        Whether misclassified in-distribution rows count.
    bootstrap, seed : int
        Resamples behind the intervals of AUPR, 0 for none of these; and their seed.
    id_name, groups : str, and mapping of str to str, optional
        Name of the in-distribution set; group of each other set, instead of its prefix.
    skip_unmet : bool, optional
        Whether a method that lacks something it needs is skipped instead of failing; by default
        only with "all".
    tune : "none", "id" or Outputs
        Which rows choose hyper-parameters: none, in-distribution ones, or these outliers;
        `ood_toolkit.tune` says how.
    shifted : mapping of str to Outputs, optional
        Covariate-shifted sets of the same classes, counted as in-distribution: the full spectrum
        of OpenOOD.
    cache : path-like, optional
        Folder that keeps scores: a later run computes only what changed, a killed one continues.
    compare : bool
        Whether every pair of methods is tested for a difference.
    pictures : bool
        Whether histograms, curves and extreme rows are collected for a report.
    memory : int, optional
        Bytes that fitting, ranking and comparing methods may take; by default half of what is free.
    workers : int, optional
        Processes that fit and score methods in parallel, with the same results; by default one per
        processor, if work and memory allow.
    keep_scores : bool
        Whether the result holds the scores of every row, as `.scores`.
    progress : callable, optional
        Called with a label after each step.

    Returns
    -------
    Evaluation
        `.results`, `.means()`, `.to_json()`, `.table()`, `.plot()`; shown as a table.

    Raises
    ------
    InputError
        If a method is there twice, a set is empty, a row holds NaN, a rule does not exist, or
        rows that methods are fitted or tuned on are among those that are reported.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> rng = np.random.default_rng(0)
    >>> id = ood.Outputs(logits=4 * np.eye(3)[rng.integers(0, 3, 50)] + rng.normal(size=(50, 3)))
    >>> far = ood.Outputs(logits=rng.normal(size=(40, 3)))
    >>> result = ood.evaluate("energy", id=id, ood={"far/noise": far}, bootstrap=0)
    >>> result.results[0].group, result.results[0].auroc > 0.9
    ('far', True)
    """
    if bootstrap < 0:
        raise BadParameter(f"bootstrap must be at least 0, got {bootstrap}")
    if workers is not None and workers < 1:
        raise BadParameter(f"workers must be at least 1, got {workers}")
    expect_outputs(id, "id")
    expect_records(train=train, id_val=id_val, tune=None if isinstance(tune, str) else tune)
    expect_sets(ood=ood, shifted=shifted or {})
    listed: Sequence[str | Detector]
    listed = [methods] if isinstance(methods, str) or not isinstance(methods, Sequence) else methods
    everything = list(listed) == ["all"]
    if everything:
        listed = [row.name for row in registered()]
    made = [make_detector(item) if isinstance(item, str) else item for item in listed]
    called = each_once((method_of(d).name, d) for d in made)
    short, found = split_group(list(ood))
    if groups is not None:
        found = {name: groups.get(name, "") for name in ood}
    inside, named = shifted or {}, {short[name]: x for name, x in ood.items()}
    tuning = Tuning("ood", tune) if isinstance(tune, Outputs) else Tuning(tune)
    harness = Harness(
        Reported(
            id, named, {short[key]: group for key, group in found.items()}, inside, id_name or "id"
        ),
        FittedOn(train, id_val, tuning.outliers),
        Convention(tpr, fpr_rule, aupr, id_subset),
        bootstrap,
        seed,
        tuning,
        NoCache() if cache is None else Cache(cache),
        compare,
        pictures,
        memory,
        workers,
        keep_scores,
        progress,
    )
    result = harness.run(called, skip_unmet=everything if skip_unmet is None else skip_unmet)
    run = run_record(harness.inputs(), choices={"bootstrap": bootstrap, "seed": seed})
    return replace(result, run=run, whole_catalogue=everything)


def _name(scorer: Scorer) -> str:
    name = getattr(scorer, "name", None)
    if not isinstance(name, str):
        raise InputError(f"{type(scorer).__name__} has no name to list its scores under")
    return name
