"""The rules of a script: which runs they fit."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from flowruns.model.python_values import parse
from flowruns.model.runs import RunPut
from flowruns.player.placeholders import value_at
from flowruns.player.steps import Step


class Rule(NamedTuple):
    """Fits the runs in *phase* that all its conditions hold for; *phases* are those that its steps set before the end.

    Conditions may have `*` for any text. Those on *args* have dotted names: `image.tag`.
    """

    steps: Sequence[Step]
    phase: str = "pending"
    flows: Sequence[str] = ()
    flow_types: Sequence[str] = ()
    tags: Mapping[str, str] = {}
    args: Mapping[str, Any] = {}
    phases: Sequence[str] = ()

    def fits(self, body: RunPut) -> bool:
        """Whether the conditions hold, but for the phase."""
        return (
            (not self.flows or any(_like(body.flow_id, flow) for flow in self.flows))
            and (not self.flow_types or body.flow_type in self.flow_types)
            and all(
                any(tag.key == key and _like(tag.value, value) for tag in body.tags or [])
                for key, value in self.tags.items()
            )
            and (not self.args or self._fits_args(parse(body.args) or {}))
        )

    def _fits_args(self, args: Any) -> bool:
        return all(_equals(value_at(args, name), value) for name, value in self.args.items())

    def __str__(self) -> str:
        return " or ".join(self.flows) or "all flows"


def leaves(args: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested tables, by their dotted names."""
    for name, value in args.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _equals(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(value, str) and _like(value, wanted)
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _like(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))
