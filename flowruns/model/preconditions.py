"""Preconditions: what a request says about the state it expects (RFC 9110 13.1)."""

import re
from typing import Literal, NamedTuple

from flowruns.errors import PreconditionFailed

# RFC 9110 8.8.3 and 13.1.1: a list of entity tags, which may hold commas themselves.
_ENTITY_TAG = re.compile(r'(?:^|,)[ \t]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?=,|$)')

Tags = frozenset[str] | Literal["*"]


class Precondition(NamedTuple):
    """The entity tags of If-Match and If-None-Match, without quotes, or `*` for any; None: not sent."""

    if_match: Tags | None = None
    if_none_match: Tags | None = None

    def require(self, tag: str | None) -> None:
        """Nothing, if a resource with *tag* (None: there is none) may be changed. Raises PreconditionFailed."""
        if self.if_match is not None and not _names(self.if_match, tag):
            raise PreconditionFailed("If-Match")
        if self.unchanged(tag):
            raise PreconditionFailed("If-None-Match")

    def unchanged(self, tag: str | None) -> bool:
        """Whether If-None-Match names *tag*: the client has this state already."""
        return self.if_none_match is not None and _names(self.if_none_match, tag)


ALWAYS = Precondition()


def parse_precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """The precondition of two header values, None where there is none."""
    if if_match is None and if_none_match is None:
        return ALWAYS
    return Precondition(_tags(if_match, weak=False), _tags(if_none_match, weak=True))


def _tags(value: str | None, *, weak: bool) -> Tags | None:
    """The tags in *value*. If-Match compares strongly, so weak ones never fit it (RFC 9110 8.8.3.2)."""
    if value is None:
        return None
    if value.strip() == "*":
        return "*"
    return frozenset(tag for mark, tag in _ENTITY_TAG.findall(value) if weak or not mark)


def _names(tags: Tags, tag: str | None) -> bool:
    return tag is not None and (tags == "*" or tag in tags)
