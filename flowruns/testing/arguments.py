"""Checks of the arguments that a test passes: each mistake is one line that names the cure."""

import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar

__tracebackhide__ = True  # pytest shows the line of the test instead

P = ParamSpec("P")

T = TypeVar("T")

_ALIASES = {"code": "status", "count": "times", "n": "times", "timeout": "seconds", "after": "retry_after"}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """*function*, whose TypeError for an unknown, missing or surplus argument names the argument that was meant."""
    parameters = signature(function)
    names = [name for name in parameters.parameters if name != "self"]
    has_others = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.parameters.values())

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in names and not has_others:  # else *function* checks them itself
                raise TypeError(f"{function.__name__}() has no argument {name!r}{cure(name, names)}")
        try:
            parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__name__}({', '.join(names)}): {error}") from None
        return function(*args, **kwargs)

    return call


def check_number(name: str, value: Any, least: int, *, whole: bool = False, most: float = math.inf) -> None:
    """Raises TypeError or ValueError, which name the argument, unless *value* is a number from *least* to *most*."""
    wanted = f"{name} must be {'a whole number' if whole else 'a number'}"
    wanted += f", {least} or more" if most == math.inf else f" from {least} to {most}"
    if not isinstance(value, int if whole else int | float) or isinstance(value, bool):
        raise TypeError(f"{wanted}, not {value!r}")
    if not least <= value <= most or value == math.inf:
        raise ValueError(f"{wanted}, not {value!r}")


def cure(name: str, known: Sequence[str]) -> str:
    """The end of a message about the unknown *name*: the one of *known* that was meant, or all of them."""
    meant = _ALIASES.get(name)
    close = [meant] if meant in known else get_close_matches(name, known, 1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f", only {', '.join(known)}"
