"""The format of a stream."""

from collections.abc import Iterable

import pytest

from flowruns.client.streams import Event, EventParser
from tests.streams import Events


def parsed(chunks: Iterable[bytes]) -> list[Event]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b":\n", []),
        (b":\n\n", [("open", None, b"")]),
        (b":\nid: 7\n\n", [("open", 7, b"")]),
        (b":\nid: 7\n\nid: 9\nevent: run\ndata: {\ndata:  }\n\n", [("open", 7, b""), ("run", 9, b"{\n }")]),
        (b":\n\nevent: run\ndata:x\r\n\r\n", [("open", None, b""), ("run", None, b"x")]),
        (b":\n\nevent: run\ndata: cut o", [("open", None, b"")]),
        (b":\n\nevent: run\ndata: cut off\n", [("open", None, b"")]),
        (b":\n\nid: x\nevent: bye\ndata: {}\n\nevent: run\ndata: {}\n\n", [("open", None, b"")]),
        (b":\r\nid: 7\r\n\r\nid: 8\revent: run\rdata: a\rdata:\r\r", [("open", 7, b""), ("run", 8, b"a\n")]),
        (":\n\nevent: run\ndata: \u2028\x85\n\n".encode(), [("open", None, b""), ("run", None, "\u2028\x85".encode())]),
        (b":\n\nretry: 5\nunknown\nid:8\n\n", [("open", None, b"")]),
    ],
)
def test_stream_is_parsed_as_the_standard_says(text: bytes, expected: list[tuple[str, int | None, bytes]]) -> None:
    pieces = ([text], text.splitlines(keepends=True), [text[index : index + 1] for index in range(len(text))])
    for chunks in pieces:
        assert [tuple(event) for event in parsed(chunks) if event.kind] == expected


def test_parser_agrees_with_the_parser_of_the_tests() -> None:
    position = b"id: %d\nevent: position\ndata: {}\n\n"
    text = b'%bid: 2\nevent: run\ndata: {"a":\ndata: 1}\n\n%bid: 4\nevent: deleted\ndata: {}\n\n'
    text = text % (position % 1, position % 3)
    known = Events()
    known.feed(text)
    found = [event for event in parsed([text]) if event.kind not in ("open", "")]
    assert [(event.position, event.kind, event.data.decode()) for event in found] == [
        tuple(event) for event in known.events
    ]
