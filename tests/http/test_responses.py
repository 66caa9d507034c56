"""Responses: their status, their shape, their headers."""

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw
from starlette.types import ASGIApp, Message

from flowruns import errors
from flowruns.errors import ErrorDetail, FlowrunsError
from flowruns.http import responses
from flowruns.model.runs import FlowType, RunPut
from flowruns.store.reads import StoredRun
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.wire import Reply, call, scope_of

DETAIL = ErrorDetail(("body", "logs", 3, "level"), "Something is wrong", "some_type")

ERRORS: list[tuple[FlowrunsError, int, dict[bytes, bytes]]] = [
    (errors.BadRequest(), 400, {}),
    (errors.Unauthorized(), 401, {b"www-authenticate": b"Bearer"}),
    (errors.Forbidden(DETAIL), 403, {}),
    (errors.NotFound("a1"), 404, {}),
    (errors.PathNotFound(), 404, {}),
    (errors.MethodNotAllowed("PATCH", "GET, HEAD"), 405, {b"allow": b"GET, HEAD"}),
    (errors.RequestTimeout(), 408, {}),
    (errors.AlreadyExists("a1"), 409, {}),
    (errors.PreconditionFailed("If-Match"), 412, {}),
    (errors.BodyTooLarge(10), 413, {}),
    (errors.UnsupportedMediaType(), 415, {}),
    (errors.Invalid(DETAIL, DETAIL), 422, {}),
    (errors.HeadersTooLarge(10, 3), 431, {}),
    (errors.Unavailable("The database is locked", retry_after=2), 503, {b"retry-after": b"2"}),
    (errors.Unavailable("The database is damaged"), 503, {}),
]
COMMON = {
    b"content-type": b"application/json",
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-cache, no-transform",
}


def test_every_error_has_a_status_and_a_row_here() -> None:
    kinds = set(FlowrunsError.__subclasses__())
    assert set(responses.STATUS) == kinds
    assert {type(error) for error, *_ in ERRORS} == kinds


@pytest.mark.parametrize(("error", "status", "headers"), ERRORS, ids=lambda value: type(value).__name__)
async def test_error_response_has_the_one_shape(error: FlowrunsError, status: int, headers: dict[bytes, bytes]) -> None:
    reply = await call(responses.error_response(error), "GET", "/")
    assert reply.details(status)
    assert reply.json["detail"] == [
        {"loc": list(detail.loc), "msg": detail.msg, "type": detail.type} for detail in error.details
    ]
    assert dict(reply.headers) == COMMON | headers | {b"content-length": b"%d" % len(reply.body)}


@pytest.mark.parametrize(
    ("response", "status", "headers"),
    [
        (responses.json(b"{}"), 200, COMMON | {b"content-length": b"2"}),
        (responses.json(b"{}", 201, (b"x", b"y")), 201, COMMON | {b"content-length": b"2", b"x": b"y"}),
        (responses.stored(StoredRun(7, b"{}")), 200, COMMON | {b"content-length": b"2", b"etag": b'"7"'}),
        (responses.not_modified("7"), 304, {b"etag": b'"7"'}),
        (responses.no_content(), 204, {}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_head_responds_as_get_without_the_body(
    response: responses.Response, status: int, headers: dict[bytes, bytes], method: str
) -> None:
    reply: Reply = await call(response, method, "/")
    assert reply.status == status
    assert headers.items() <= dict(reply.headers).items()
    assert reply.body == (response.body if method == "GET" else b"")


@pytest.mark.parametrize("docs", [b"", b'{"id":"a"}', b'{"id":"a"},{"id":"b","args":{"x":1,"x":2}}'])
async def test_page_carries_documents_as_they_are_stored(docs: bytes) -> None:
    cursors: dict[str, Any] = {
        "current_page": "a", "current_page_backwards": "b", "previous_page": None, "next_page": "d",
    }  # fmt: skip
    reply = await call(responses.page(docs, "7", 2, **cursors), "GET", "/")
    assert reply.body.startswith(b'{"items":[' + docs + b"],")
    assert reply.json == {"items": json.loads(b"[" + docs + b"]"), "total": 2, **cursors}
    assert reply.header(b"etag") == b'"7"'


@pytest.mark.parametrize("target", [RUNS, f"{RUNS}/a1"])
async def test_large_answer_is_held_once_for_all_its_readers(
    monkeypatch: pytest.MonkeyPatch, store: Store, app: ASGIApp, target: str
) -> None:
    monkeypatch.setattr(responses, "PIECE_BYTES", 1_000)
    held: list[Any] = []
    sending: asyncio.Queue[bytes] = asyncio.Queue()
    goes_on = asyncio.Event()
    shared = responses.LargeBodies.shared

    def recorded(self: responses.LargeBodies, key: Any, body: bytes) -> Any:
        held.append(shared(self, key, body))
        return held[-1]

    monkeypatch.setattr(responses.LargeBodies, "shared", recorded)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def read_slowly() -> None:
        async def send(message: Message) -> None:
            if message.get("body"):
                sending.put_nowait(message["body"])
                await goes_on.wait()

        await app(scope_of("GET", target, [(b"host", b"localhost")]), receive, send)

    async with asyncio.TaskGroup() as readers:
        for text in ("x" * 5_000, "y" * 5_000):  # of equal length and with equal numbers, as after `clear`
            await store.clear()
            args = Raw(json.dumps({"text": text}).encode())
            await store.put("a1", RunPut(flow_id="f", flow_type=FlowType.AUTOMATION, args=args))
            for _ in range(2):
                readers.create_task(read_slowly())
                await sending.get()
        goes_on.set()
    first, again, other, other_again = (id(view.obj) for view in held)
    assert first == again != other == other_again


async def test_others_have_their_turn_between_the_pieces_of_a_large_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "PIECE_BYTES", 10)
    order: list[str] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        order.append("piece")

    async def other() -> None:
        order.append("other")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(responses.json(b"x" * 100)(scope_of("GET", "/"), receive, send))
        tasks.create_task(other())
    assert order.index("other") < len(order) - 1


def test_different_large_bodies_have_a_bound_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MAX_LARGE_BYTES", 1_000_000)
    large = responses.LargeBodies()
    body = b"x" * 600_000
    held = [large.shared(name, body) for name in ("a", "b")]
    with pytest.raises(errors.Unavailable):
        large.shared("c", body)
    assert large.shared("a", bytes(body)) is held[0]
    held.clear()
    assert len(large.shared("c", body)) == len(body)
