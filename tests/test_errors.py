"""The exceptions that flowruns raises."""

import pytest

from flowruns import errors
from flowruns.errors import CannotStart, ErrorDetail, FlowrunsError, Unavailable

ERRORS = [
    errors.Invalid(ErrorDetail(("body", "flowId"), "Field required", "missing")),
    errors.BadRequest(),
    errors.Unauthorized(),
    errors.Forbidden(ErrorDetail(("header", "host"), "no", "forbidden")),
    errors.NotFound("a1"),
    errors.PathNotFound(),
    errors.MethodNotAllowed("PATCH", "GET, HEAD"),
    errors.RequestTimeout(),
    errors.AlreadyExists("a1"),
    errors.PreconditionFailed("If-Match"),
    errors.BodyTooLarge(5),
    errors.UnsupportedMediaType(),
    errors.HeadersTooLarge(5, 3),
    errors.Unavailable("The database is full", retry_after=1),
]


def test_every_error_has_a_row_here() -> None:
    assert {type(error) for error in ERRORS} == set(FlowrunsError.__subclasses__())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_message_of_an_error_has_those_of_its_details(error: FlowrunsError) -> None:
    assert error.details
    for detail in error.details:
        assert detail.loc
        assert detail.type == detail.type.lower()
        assert detail.msg in str(error)


def test_unavailable_has_no_retry_after_by_default() -> None:
    assert Unavailable("The database is damaged").retry_after is None


def test_failed_start_is_no_response_to_a_request() -> None:
    assert not issubclass(CannotStart, FlowrunsError)
