"""Files to import that are no plain lines of JSON."""

import gzip
import io
import json
import random
import re
from typing import Any

import pytest

from flowruns.errors import InputRefused
from flowruns.store.import_formats import ArrayFile, LineReader, Utf16Lines, unzipped
from flowruns.store.transfer import read_lines


class Pieces:
    """A file that returns random pieces."""

    def __init__(self, data: bytes, chance: random.Random) -> None:
        self._data = data
        self._chance = chance

    def readline(self, limit: int, /) -> bytes:
        size = self._chance.choice((1, 2, 3, 10, 1000))
        piece, self._data = self._data[:size], self._data[size:]
        return piece


def value(chance: random.Random, depth: int = 0) -> Any:
    kinds = ["text", "number", "null", *["list", "object"] * (depth < 4)]
    match chance.choice(kinds):
        case "text":
            return "".join(chance.choices('a",[]{}:\\\n\u2028é\U0001f600', k=chance.randrange(6)))
        case "number":
            return chance.randrange(10**6)
        case "list":
            return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case "object":
            return {str(value(chance, 9)): value(chance, depth + 1) for _ in range(chance.randrange(4))}
    return None


def test_random_arrays_are_split_into_their_items_wherever_their_pieces_end(chance: random.Random) -> None:
    for _ in range(300):
        expected = [value(chance) for _ in range(chance.randrange(6))]
        text = json.dumps(expected, indent=chance.choice((None, 0, 2)), ensure_ascii=chance.random() < 0.5)
        data = b"\n" * chance.randrange(3) + text.encode() + b"\r\n" * chance.randrange(3)
        items = list(ArrayFile(Pieces(data, chance)).items())
        assert [json.loads(item) for _, item in items] == expected
        lines = data.split(b"\n")
        for number, item in items:
            assert item.split(b"\n")[0] in lines[number - 1]


def refusal(file: LineReader | ArrayFile) -> str:
    with pytest.raises(InputRefused) as caught:
        list(read_lines([("a", file)]))
    return str(caught.value)


ARRAY = b'[\n{"a": "]"},\n[1, 2]\n]\n'


@pytest.mark.parametrize("size", range(1, len(ARRAY) - 1))
def test_array_that_is_cut_off_is_refused(size: int) -> None:
    message = refusal(ArrayFile(io.BytesIO(ARRAY[:size])))
    assert re.fullmatch(
        r"a: line \d begins an item without an end; the JSON array is cut off; nothing was imported", message
    )


def test_what_follows_an_array_is_refused() -> None:
    assert refusal(ArrayFile(io.BytesIO(ARRAY + b"\n[]"))).startswith("a: line 6 follows the end of the JSON array")


def test_places_without_a_value_are_items() -> None:
    assert [item for _, item in ArrayFile(io.BytesIO(b"[1,,2,]")).items()] == [b"1", b"", b"2", b""]
    assert list(ArrayFile(io.BytesIO(b" [ \n ] ")).items()) == []


@pytest.mark.parametrize("place", [9, 15, -9, -1])
def test_gzip_that_is_damaged_or_cut_off_is_refused(place: int) -> None:
    whole = gzip.compress(b'{"id":"a"}\n' * 100)
    message = "cannot be read: the gzip file is damaged or cut off; nothing was imported"
    assert message in refusal(unzipped(io.BytesIO(whole[:place])))
    if place == -9:
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        assert message in refusal(unzipped(io.BytesIO(damaged)))


@pytest.mark.parametrize("data", [b"\xff\xfea", b"\xff\xfea\0\n\0\x00\xd8"])
def test_utf_16_that_is_none_is_refused(data: bytes) -> None:
    assert "cannot be read: it is not UTF-16; nothing was imported" in refusal(Utf16Lines(io.BytesIO(data)))


def test_lines_of_utf_16_end_at_newlines_alone() -> None:
    text = "a\u2028b\u0085c\rd\n"
    assert Utf16Lines(io.BytesIO(text.encode("utf-16"))).readline(100) == text.encode()
