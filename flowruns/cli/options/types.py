"""The types of option values on the command line."""

import math
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import click

from flowruns.addresses import parse_frame_ancestor, parse_origin, parse_prefix, parse_proxy, parse_url
from flowruns.settings import DEFAULTS
from flowruns.terminal.output import print_stderr

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}  # seconds


class Parsed(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """What a function returns for the text; its ValueError names the cure. Several values are separated by commas or
    spaces in an environment variable.
    """

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """*value*, parsed."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def split_envvar_value(self, rv: str) -> list[str]:
        """The values in *rv*."""
        return re.split(r"[\s,]+", rv.strip())


def _size(text: str) -> int:
    """The bytes of a number of bytes, KiB, MiB or GiB."""
    match = re.fullmatch(r"(\d{1,15})\s*(?:([KMG])(?:iB)?|B)?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size: give bytes, or for example 8MiB")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[(match[2] or "").upper()]


def _age(text: str) -> float:
    """The seconds of a number of s, m, h, d or w."""
    match = re.fullmatch(r"(\d{1,9})\s*([smhdw])", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not an age: give for example 30d, 12h or 8w")
    return float(int(match[1]) * _AGES[match[2].lower()])


def _host(text: str) -> str:
    """*text*, if it can be in a Host header."""
    if not re.fullmatch(r"[^\s/@,]+", text):
        raise ValueError(f"{text!r} is not a host: give a name or an address, for example runs.example")
    return text


SIZE, AGE, URL = Parsed("size", _size), Parsed("age", _age), Parsed("url", parse_url)

# To listen on; one of IPv6 may have the brackets that it has in a URL.
ADDRESS = Parsed("address", lambda text: text.removeprefix("[").removesuffix("]"))

HOST, PROXY, PREFIX = Parsed("host", _host), Parsed("address", parse_proxy), Parsed("path", parse_prefix)

ORIGIN, FRAME_ANCESTOR = Parsed("origin", parse_origin), Parsed("origin", parse_frame_ancestor)


class Range(click.FloatRange):
    """A number from 0, or above it if *min_open*, to *most*, and not NaN. Messages call it *noun*, its form *name*."""

    def __init__(self, noun: str, most: float, *, name: str = "float range", min_open: bool = False) -> None:
        super().__init__(0, most, min_open=min_open)
        self.noun, self.name = noun, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """*value* as a number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not {self.noun}", param, ctx)
        return number


SECONDS = Range("a number of seconds", 3600)

SPEED = Range("a number", 1_000_000, name="factor", min_open=True)


class Number(click.IntRange):
    """A whole number."""

    name = "number"


class Port(Number):
    """A port, or the value that Kubernetes sets in the variable of the same name, which is ignored."""

    def __init__(self) -> None:
        super().__init__(0, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """*value* as a port."""
        if str(value).startswith("tcp://"):
            print_stderr(
                "flowruns: FLOWRUNS_PORT is that of a Kubernetes service, and ignored; set the port with --port"
            )
            return DEFAULTS.port
        return int(super().convert(value, param, ctx))


class OneOf(click.Choice):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.2 on
    """A choice whose error message names the most similar word."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """*choice* unchanged: `token_normalize_func` is for options, and this is a word of the API."""
        return str(choice)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, if it is one of the choices."""
        try:
            return str(super().convert(value, param, ctx))
        except click.BadParameter as error:
            similar = get_close_matches(str(value), self.choices, 1)
            self.fail(error.message.rstrip(".") + "".join(f"; did you mean {word!r}?" for word in similar), param, ctx)
