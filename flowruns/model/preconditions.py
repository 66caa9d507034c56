"""Preconditions: If-Match and If-None-Match (RFC 9110 13.1)."""

import re
from typing import Literal, NamedTuple

from flowruns.errors import PreconditionFailed

# RFC 9110 8.8.3 and 13.1.1: a list of entity tags, which may hold commas themselves.
_ENTITY_TAG = re.compile(r'(?:^|,)[ \t]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?=,|$)')

EntityTags = frozenset[str] | Literal["*"]


class Precondition(NamedTuple):
    """The entity tags of both headers, without quotes, or `*` for any; None: the header was not sent."""

    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None

    def require(self, tag: str | None) -> None:
        """Raises PreconditionFailed unless a resource with *tag* (None: it does not exist) may be changed."""
        if self.if_match is not None and not _contains(self.if_match, tag):
            raise PreconditionFailed("If-Match")
        if self.unchanged(tag):
            raise PreconditionFailed("If-None-Match")

    def unchanged(self, tag: str | None) -> bool:
        """Whether If-None-Match contains *tag*: the client already has this state."""
        return self.if_none_match is not None and _contains(self.if_none_match, tag)


ALWAYS = Precondition()


def parse_precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """The precondition of two header values; None: the header was not sent."""
    if if_match is None and if_none_match is None:
        return ALWAYS
    return Precondition(_entity_tags(if_match, weak=False), _entity_tags(if_none_match, weak=True))


def _entity_tags(value: str | None, *, weak: bool) -> EntityTags | None:
    """The tags in *value*, without weak ones unless *weak*: If-Match compares strongly (RFC 9110 8.8.3.2)."""
    if value is None:
        return None
    if value.strip() == "*":
        return "*"
    return frozenset(tag for prefix, tag in _ENTITY_TAG.findall(value) if weak or not prefix)


def _contains(tags: EntityTags, tag: str | None) -> bool:
    return tag is not None and (tags == "*" or tag in tags)
