"""`--show-config`: what a command would work with, and where each value comes from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import rich_click as click

from .console import print_json, print_table

__all__ = ["config_option"]

Command = TypeVar("Command", bound=Callable[..., Any])
Setting = tuple[str, Any, str]
"""Name, value, and where the value comes from."""

_HIDDEN = {"help", "debug", "show_config"}
_THREADS = ("OOD_TOOLKIT_THREADS", "NUMBA_NUM_THREADS")


def config_option(command: Command) -> Command:
    """Add --show-config, with which the command shows its settings and does nothing else."""

    @wraps(command)
    def shown_or_run(show_config: bool, **values: Any) -> Any:
        if show_config:
            return _show(click.get_current_context())
        return command(**values)

    return click.option(
        "--show-config",
        is_flag=True,
        help="Show each setting and where it comes from, and do nothing else.",
    )(shown_or_run)


def _show(ctx: click.Context) -> None:
    settings = [*_options(ctx), *_parameters(ctx), _threads()]
    if ctx.params.get("as_json"):
        document = {name: {"value": value, "from": origin} for name, value, origin in settings}
        print_json({"schema": 1, "settings": document})
        return
    rows = [[name, _words(value), origin] for name, value, origin in settings]
    print_table(["setting", "value", "from"], rows, left=["setting", "value", "from"])


def _options(ctx: click.Context) -> Iterator[Setting]:
    """Arguments and options: the command line wins over the environment, that over defaults."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name in _HIDDEN:
            continue
        source = ctx.get_parameter_source(name)
        origin = {
            click.core.ParameterSource.COMMANDLINE: "command line",
            click.core.ParameterSource.ENVIRONMENT: f"environment {parameter.envvar}",
        }.get(source, "default")  # type: ignore[arg-type]
        value = ctx.params.get(name)
        option = isinstance(parameter, click.Option)
        shown = max(parameter.opts, key=len) if option else parameter.metavar or name.upper()
        yield shown, list(value) if isinstance(value, tuple) else value, origin


def _parameters(ctx: click.Context) -> Iterator[Setting]:
    """Hyper-parameters of the methods: --set wins over defaults, a later one over an earlier."""
    from .method_names import detectors_of, listed, parameters_by_method, split_methods

    chosen = ctx.params.get("methods", ctx.params.get("method"))
    names = split_methods([chosen] if isinstance(chosen, str) else chosen or ())
    if not names:
        return
    from ood_toolkit.detectors.catalogue import parameter_values

    names = listed(names)
    settings = ctx.params["settings"]
    given = parameters_by_method(settings, names)
    if ctx.command.name == "calibrate":
        from ood_toolkit.calibration import make_calibrator

        made: list[Any] = [make_calibrator(name, given[name]) for name in names]
    else:
        made = detectors_of(names, settings)
    for name, method in zip(names, made, strict=True):
        for key, value in parameter_values(method).items():
            yield f"{name}.{key}", value, "--set" if key in given[name] else "default"


def _threads() -> Setting:
    from ood_toolkit.kernels.threads import thread_count

    named = [name for name in _THREADS if os.environ.get(name)]
    origin = f"environment {named[0]}" if named else "processors of this process"
    return "threads", thread_count(), origin


def _words(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return str(value)
