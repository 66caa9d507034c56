"""The positions of pages on bare numbers, and cursors as text."""

import random
import re

import pytest

from flowruns.model.cursors import FIRST_PAGE, MAX_POSITION, Cursor, CursorCodec, PageLinks, PageRequest, page_links

KEY = bytes(range(32))
CURSORS = [
    Cursor(position, toward_newer)
    for position in (0, 1, 7, 2**31, MAX_POSITION, 2**63 - 1)
    for toward_newer in (False, True)
]


def page(runs: set[int], page_request: PageRequest) -> tuple[list[int], PageLinks]:
    """A page of numbers, as the query of the store would read it."""
    position, toward_newer = page_request.start
    side = [n for n in sorted(runs, reverse=not toward_newer) if (n >= position if toward_newer else n < position)][
        : page_request.size
    ]
    items = sorted(side, reverse=not page_request.ascending)
    lowest, highest = (min(items), max(items)) if items else (None, None)
    older = any(n < (position if lowest is None else lowest) for n in runs)
    newer = any(n >= (position if highest is None else highest + 1) for n in runs)
    return items, page_links(page_request, lowest, highest, older=older, newer=newer)


def test_first_page_starts_at_its_end_of_the_list() -> None:
    assert PageRequest().start == Cursor(MAX_POSITION, toward_newer=False)
    assert PageRequest(ascending=True).start == Cursor(0, toward_newer=True)
    assert PageRequest(Cursor(5, toward_newer=True)).start == Cursor(5, toward_newer=True)
    assert PageRequest(None, 50, False) == FIRST_PAGE


@pytest.mark.parametrize("ascending", [False, True])
def test_walk_yields_every_lasting_run_once_whatever_is_created_or_deleted(
    ascending: bool, chance: random.Random
) -> None:
    for _ in range(200):
        runs = set(chance.sample(range(1, 100), chance.randrange(60)))
        began, deleted, seen, newest = frozenset(runs), set[int](), [], 100
        page_request = PageRequest(None, chance.randint(1, 9), ascending)
        while True:
            items, found = page(runs, page_request)
            seen += items
            if found.next is None:
                break
            for _ in range(chance.randrange(3)):
                gone = chance.choice([*sorted(runs), 0])
                runs.discard(gone)
                deleted.add(gone)
            if not ascending:  # oldest first, a walk would meet the newer ones too
                runs.update(range(newest, newest := newest + chance.randrange(3)))
            page_request = PageRequest(found.next, chance.randint(1, 9), ascending)
        assert seen == sorted(set(seen), reverse=not ascending)
        assert began - deleted <= set(seen) <= began


@pytest.mark.parametrize("ascending", [False, True])
def test_walk_back_yields_the_same_in_reverse(ascending: bool, chance: random.Random) -> None:
    for _ in range(200):
        runs = set(chance.sample(range(1, 100), chance.randrange(1, 60)))
        cursor = (
            Cursor(0, toward_newer=True) if not ascending else Cursor(MAX_POSITION, toward_newer=False)
        )  # the far end
        page_request, seen = PageRequest(cursor, chance.randint(1, 9), ascending), list[int]()
        while True:
            items, found = page(runs, page_request)
            seen = items + seen
            if found.previous is None:
                break
            page_request = PageRequest(found.previous, chance.randint(1, 9), ascending)
        assert seen == sorted(runs, reverse=not ascending)


@pytest.mark.parametrize("ascending", [False, True])
def test_cursors_of_a_page_give_it_again_from_both_ends(ascending: bool, chance: random.Random) -> None:
    for _ in range(500):
        runs = set(chance.sample(range(1, 40), chance.randrange(30)))
        start = chance.choice([None, Cursor(chance.randrange(42), toward_newer=chance.random() < 0.5)])
        page_request = PageRequest(start, chance.randint(1, 9), ascending)
        items, found = page(runs, page_request)
        assert page(runs, page_request._replace(cursor=found.current))[0] == items
        backwards = page(runs, page_request._replace(cursor=found.current_backwards))[0]
        if items:
            assert backwards[-1] == items[-1]
        if len(items) == page_request.size:
            assert backwards == items


@pytest.mark.parametrize("ascending", [False, True])
def test_neighbours_of_a_page_touch_it(ascending: bool, chance: random.Random) -> None:
    for _ in range(500):
        runs = set(chance.sample(range(1, 40), chance.randrange(30)))
        page_request = PageRequest(
            Cursor(chance.randrange(42), toward_newer=chance.random() < 0.5), chance.randint(1, 9), ascending
        )
        items, found = page(runs, page_request)
        before, after = (
            page(runs, page_request._replace(cursor=cursor))[0] if cursor else []
            for cursor in (found.previous, found.next)
        )
        whole = sorted(runs, reverse=not ascending)
        together = before + items + after
        assert together == [n for n in whole if n in together]
        if together:
            first = whole.index(together[0])
            assert whole[first : first + len(together)] == together
        assert bool(before) == (found.previous is not None)
        assert bool(after) == (found.next is not None)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("cursor", [Cursor(5, toward_newer=False), Cursor(50, toward_newer=True)])
def test_empty_page_beyond_an_end_leads_back(cursor: Cursor, ascending: bool) -> None:
    runs = {10, 20, 30}
    items, found = page(runs, PageRequest(cursor, 2, ascending))
    [back] = [cursor for cursor in (found.previous, found.next) if cursor]
    assert items == []
    assert sorted(page(runs, PageRequest(back, 9, ascending))[0]) == [10, 20, 30]


def test_page_of_nothing_leads_nowhere() -> None:
    assert page(set(), FIRST_PAGE) == (
        [],
        PageLinks(FIRST_PAGE.start, Cursor(MAX_POSITION, toward_newer=True), None, None),
    )


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("fingerprint", [b"", b"desc", b"[('phase', ['a'])]asc" * 50])
def test_cursor_is_read_as_it_was_written(cursor: Cursor, fingerprint: bytes) -> None:
    text = CursorCodec(KEY).write(cursor, fingerprint)
    assert re.fullmatch("[A-Za-z0-9_-]+", text)  # needs no escape in a query
    assert CursorCodec(KEY).read(text, fingerprint) == cursor  # another server, after a restart


def test_cursor_belongs_to_its_filters_and_its_database() -> None:
    text = CursorCodec(KEY).write(Cursor(7, toward_newer=True), b"desc")
    with pytest.raises(ValueError, match="filters"):
        CursorCodec(KEY).read(text, b"asc")
    with pytest.raises(ValueError, match="damaged"):
        CursorCodec(bytes(32)).read(text, b"desc")


def test_cursor_with_one_changed_character_is_refused() -> None:
    codec = CursorCodec(KEY)
    text = codec.write(Cursor(7, toward_newer=True), b"")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, was in enumerate(text):
        for letter in alphabet.replace(was, ""):
            with pytest.raises(ValueError, match="damaged"):
                codec.read(text[:place] + letter + text[place + 1 :], b"")


@pytest.mark.parametrize("change", ["{}=", "{}\n", " {}", "{}{}", "{}A", "={}", "{}é", "%00{}"])
def test_cursor_has_one_spelling(change: str) -> None:
    codec = CursorCodec(KEY)
    text = codec.write(Cursor(7, toward_newer=True), b"")
    with pytest.raises(ValueError, match="cursor|damaged"):
        codec.read(change.format(text, text), b"")


@pytest.mark.parametrize("text", ["", "x", "é", "null", "AAAA", "A" * 28, "_" * 28, "\x00", "A" * 100_000, "\ud800"])
def test_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match="cursor|damaged"):
        CursorCodec(KEY).read(text, b"")
