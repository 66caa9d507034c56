"""What we raise on purpose."""

import pytest

from flowruns import errors
from flowruns.errors import CannotStart, ErrorDetail, FlowrunsError, Unavailable

MADE = [
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
    assert {type(error) for error in MADE} == set(FlowrunsError.__subclasses__())


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_error_says_what_its_faults_say(error: FlowrunsError) -> None:
    assert error.details
    for fault in error.details:
        assert fault.loc
        assert fault.type == fault.type.lower()
        assert fault.msg in str(error)


def test_what_waiting_does_not_cure_says_so() -> None:
    assert Unavailable("The database is damaged").retry_after is None


def test_failed_start_is_no_answer_to_a_request() -> None:
    assert not issubclass(CannotStart, FlowrunsError)
