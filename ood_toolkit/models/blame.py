"""Errors of a model that the toolkit did not write, told apart from its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from ood_toolkit.errors import InputError, ToolkitError
from ood_toolkit.models.heads import unwrapped

if TYPE_CHECKING:
    from torch import nn

__all__ = ["blaming", "blaming_model", "told"]

Result = TypeVar("Result")


def told(error: BaseException) -> str:
    """An error's type and text on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def blaming(what: str, but: type[Exception] = ToolkitError) -> Iterator[None]:
    """Errors of code that a user named become one `InputError` that begins with `what`.

    Those that the toolkit raises on purpose, a lack of memory and `but` stay what they are.
    """
    try:
        yield
    except (ToolkitError, MemoryError, but):
        raise
    except Exception as reason:
        raise InputError(f"{what} raised {told(reason)}") from reason


def blaming_model(run: Callable[..., Result], spec: str, model: nn.Module) -> Callable[..., Result]:
    """`run`, whose errors name the model where they are raised inside a call of it.

    Parameters
    ----------
    run : callable
        Calls the model, now and then; what it raises outside such calls stays what it is.
    spec : str
        The model, as the user named it.
    model : nn.Module
        It has two hooks while `run` runs, and none afterwards.
    """

    @wraps(run)
    def blamed(*args: Any, **kwargs: Any) -> Result:
        shapes: list[tuple[int, ...]] = []  # of the call that is under way

        def before(module: nn.Module, given: Any, named: Any) -> None:
            shapes[:] = [tuple(x.shape) for x in (*given, *named.values()) if hasattr(x, "shape")]
            shapes[1:] = []  # the first says enough

        def after(*_: Any) -> None:
            shapes.clear()

        inner = unwrapped(model)
        hooks = [
            inner.register_forward_pre_hook(before, with_kwargs=True),
            inner.register_forward_hook(after),
        ]
        try:
            return run(*args, **kwargs)
        except (ToolkitError, MemoryError):
            raise
        except Exception as reason:
            if not shapes:
                raise
            remedy = (
                "lower --batch-size"
                if "OutOfMemory" in type(reason).__name__
                else ("check --channels and --size")
            )
            raise InputError(
                f"--model {spec}: the model raised {told(reason)} on a batch of shape "
                f"{shapes[0]}; {remedy}"
            ) from reason
        finally:
            for hook in hooks:
                hook.remove()

    return blamed
