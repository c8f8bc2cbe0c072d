"""The commands by heading, each with its one-line help; one is imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import rich_click as click

from .examples import EXAMPLES

__all__ = ["HEADINGS", "LazyGroup", "load"]

HEADINGS = {
    "Look": {
        "methods": "List every method: what it needs, what it is fitted on, its parameters.",
        "info": "Say what FILE holds: outputs, as a file, folder or glob, a detector, "
        "calibrator or policy.",
        "warmup": "Compile the numerical code of score, fit and evaluate ahead of time.",
    },
    "Score": {
        "extract": "Run a PyTorch or ONNX classifier over data and write its outputs.",
        "score": "Score each row of one or more outputs files.",
        "fit": "Fit a method on TRAIN, labelled in-distribution outputs, and save the detector.",
        "explain": "Explain rows of FILE by the support rows nearest to them.",
    },
    "Decide": {
        "calibrate": "Fit a calibrator on VAL, labelled rows the classifier was not trained on, "
        "and save it.",
        "apply": "Write FILE again with calibrated logits, whose softmax gives the "
        "new probabilities.",
        "threshold": "Set an abstention threshold on in-distribution rows and store it in the "
        "detector.",
        "policy": "Write the rule that accepts a prediction, defers it to a person, or rejects "
        "the input.",
        "monitor": "Watch the rows of FILEs in order; exit with status 1 when they no longer "
        "look like ID.",
    },
    "Measure": {
        "evaluate": "Measure how well methods separate in-distribution from "
        "out-of-distribution rows.",
        "errors": "Measure misclassification detection on FILE, whose rows are all labelled.",
        "stress": "Check scores where they are known to fail, on FILE, in-distribution rows.",
        "benchmark": "Run methods on the benchmark NAME: known, a .toml file, or a folder of "
        "outputs.",
        "compare": "Compare results that `evaluate` or `benchmark` wrote with --json-out or "
        "--scores-out.",
        "report": "Draw results of `evaluate` or `benchmark` (--json-out): a page, or figures.",
        "convert": "Convert to and from files of OpenOOD and FD-Shifts.",
    },
}
"""The headings of the overview, and what stands under each."""

_ELSEWHERE = {"apply": "calibrate"}


def load(name: str) -> click.Command:
    """The command called `name`, from the module of that name, with an example in its help."""
    module = import_module(f".{_ELSEWHERE.get(name, name)}", __package__)
    command: click.Command = getattr(module, name)
    command.epilog = f"Example: `{EXAMPLES[name]}`"
    return command


class LazyGroup(click.RichGroup):
    """A group that shows its commands as `HEADINGS` has them, and imports the one it calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for commands in HEADINGS.values():
            for name, line in commands.items():
                self.add_command(click.RichCommand(name=name, help=line))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """What to call, with the rest of the arguments."""
        name, announced, rest = super().resolve_command(ctx, args)
        return name, load(announced.name) if announced and announced.name else None, rest
