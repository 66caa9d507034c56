"""If-Match and If-None-Match."""

import pytest

from flowruns.errors import PreconditionFailed
from flowruns.model.preconditions import ALWAYS, parse_precondition

NO_RUN = None


# RFC 9110 13.1.1 and 13.1.2; the state is the run's tag, None where there is no run.
@pytest.mark.parametrize(
    ("if_match", "if_none_match", "tag", "fails"),
    [
        (None, None, "1", None),
        (None, None, NO_RUN, None),
        ('"1"', None, "1", None),
        ('"2"', None, "1", "If-Match"),
        ('"1"', None, NO_RUN, "If-Match"),
        ('"2", "1"', None, "1", None),
        ('"2","1"', None, "1", None),
        ('"2",, "3"', None, "3", None),
        ("*", None, "1", None),
        (" * ", None, "1", None),
        ("*", None, NO_RUN, "If-Match"),
        ('W/"1"', None, "1", "If-Match"),  # compared strongly
        ('W/"1", "1"', None, "1", None),
        ('"11"', None, "1", "If-Match"),
        ('""', None, "1", "If-Match"),
        ("", None, "1", "If-Match"),
        ("1", None, "1", "If-Match"),  # not a tag without its quotes
        ('"*"', None, "1", "If-Match"),  # a tag like any other
        ('w/"1"', None, "1", "If-Match"),  # RFC 9110 8.8.3: the mark is case-sensitive
        ("W/*", None, "1", "If-Match"),
        (None, '"1"', "1", "If-None-Match"),
        (None, '"2"', "1", None),
        (None, 'W/"1"', "1", "If-None-Match"),  # compared weakly
        (None, '"2", W/"1"', "1", "If-None-Match"),
        (None, "*", "1", "If-None-Match"),
        (None, "*", NO_RUN, None),
        (None, '"1"', NO_RUN, None),
        (None, "", "1", None),
        (None, "1", "1", None),
        (None, '"*"', "1", None),
        ('"2"', '"1"', "1", "If-Match"),
        ('"1"', '"1"', "1", "If-None-Match"),
        ('"1"', '"2"', "1", None),
    ],
)
def test_preconditions_hold_as_the_rfc_says(
    if_match: str | None, if_none_match: str | None, tag: str | None, fails: str | None
) -> None:
    condition = parse_precondition(if_match, if_none_match)
    if fails is None:
        condition.require(tag)
        return
    with pytest.raises(PreconditionFailed) as failed:
        condition.require(tag)
    [detail] = failed.value.details
    assert detail.loc == ("header", fails.lower())


@pytest.mark.parametrize(
    ("if_none_match", "tag", "unchanged"),
    [(None, "1", False), ('"1"', "1", True), ('W/"1"', "1", True), ("*", "1", True), ('"2"', "1", False)],
)
def test_unchanged_if_the_client_has_this_state(if_none_match: str | None, tag: str, unchanged: bool) -> None:
    assert parse_precondition(None, if_none_match).unchanged(tag) is unchanged


def test_no_header_is_no_condition() -> None:
    assert parse_precondition(None, None) is ALWAYS
