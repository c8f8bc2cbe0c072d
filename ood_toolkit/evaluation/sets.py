"""The rows of an evaluation by what they are for: to be reported on, or to be fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.groups import check_groups
from ood_toolkit.evaluation.leakage import refuse_shared_rows, warn_of_repeated_rows
from ood_toolkit.outputs import Outputs

__all__ = ["FittedOn", "Reported", "keep_apart", "split_group"]


@dataclass(frozen=True, slots=True)
class Reported:
    """Rows that figures are reported on; nothing is ever fitted or chosen on them.

    Parameters
    ----------
    id_test : Outputs
        In-distribution test rows.
    ood : mapping of str to Outputs
        Out-of-distribution sets.
    groups : mapping of str to str
        Group of each set: "near", "far", "synthetic", any other word but "all", or "".
    shifted : mapping of str to Outputs
        Sets of the same classes under a shift of the inputs, which count as in-distribution:
        the full spectrum of OpenOOD, which calls them csid.
    id_name : str
        What the in-distribution set is called.
    """

    id_test: Outputs
    ood: Mapping[str, Outputs]
    groups: Mapping[str, str] = field(default_factory=dict)
    shifted: Mapping[str, Outputs] = field(default_factory=dict)
    id_name: str = "id"

    def inside(self) -> dict[str, Outputs]:
        """Every set that counts as in-distribution; the test rows first, under ""."""
        return {"": self.id_test, **self.shifted}

    def every(self) -> dict[str, Outputs]:
        """All sets by name, the test rows under ""."""
        return {**self.inside(), **self.ood}

    def label(self, key: str) -> str:
        """What messages call a set."""
        return key or self.id_name

    def check(self) -> None:
        """Refuse sets that cannot be reported on.

        Raises
        ------
        BadParameter
            If a group is called "all".
        InputError
            If a set is empty, a shifted and an out-of-distribution one share a name, or they
            come from different classifiers.
        """
        check_groups(self.groups.values())
        if not self.ood:
            raise InputError("an evaluation needs at least one out-of-distribution set")
        twice = [name for name in self.shifted if name in self.ood or not name]
        if twice:
            raise InputError(f"two sets are called {twice[0]!r}; give each a name of its own")
        classes = self.id_test.classes
        for key, x in self.every().items():
            name = x.source or self.label(key)
            if len(x) == 0:
                raise InputError(f"{name}: has no rows")
            if x.logits is not None and x.classes != (classes or x.classes):
                raise InputError(
                    f"{name}: {x.classes} classes, but the in-distribution rows have "
                    f"{classes}; both must come from one classifier"
                )


@dataclass(frozen=True, slots=True)
class FittedOn:
    """Rows that methods are fitted on or their parameters chosen on; never reported on.

    Parameters
    ----------
    train : Outputs, optional
        In-distribution training rows.
    validation : Outputs, optional
        Held-out in-distribution rows.
    outliers : Outputs, optional
        Validation outliers, which parameters are chosen on.
    """

    train: Outputs | None = None
    validation: Outputs | None = None
    outliers: Outputs | None = None

    def given(self) -> dict[str, Outputs]:
        """What there is, by what it is for."""
        named = {
            "the training rows": self.train,
            "the held-out rows": self.validation,
            "the validation outliers": self.outliers,
        }
        return {purpose: x for purpose, x in named.items() if x is not None}


def keep_apart(fitted_on: FittedOn, reported: Reported) -> None:
    """Refuse to report on rows that anything was fitted or chosen on.

    Raises
    ------
    InputError
        If a tenth or more of the distinct rows of one set are rows of the other.

    Warns
    -----
    ToolkitWarning
        If fewer rows are shared, or reported sets share rows with each other.
    """
    labelled = [(reported.label(key), x) for key, x in reported.every().items()]
    refuse_shared_rows(fitted_on.given(), labelled)
    warn_of_repeated_rows(labelled)


def split_group(names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Read `GROUP/NAME` keys: short name and group of each, by the key as given."""
    short = {name: name.rsplit("/", 1)[-1] for name in names}
    if len(set(short.values())) < len(short):
        short = {name: name for name in names}
    return short, {name: name.rsplit("/", 1)[0] if "/" in name else "" for name in names}
