"""Cursors: where a page was cut, and which way it is read from there (contract, "Pages")."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct as Layout
from typing import NamedTuple

MAX_POSITION = 2**62  # above every change number

MAX_PAGE_SIZE = 100  # runs

_LAYOUT = Layout(">?q")

_DIGEST_SIZE = 12  # 21 bytes with the layout: base64 without padding or spare bits


class Cursor(NamedTuple):
    """A position between two runs: *toward_newer* reads the runs from number *position* on, else those below it."""

    position: int
    toward_newer: bool


class PageRequest(NamedTuple):
    """The rows that a page wants: at most *size*, from *cursor* on, oldest first if *ascending*."""

    cursor: Cursor | None = None
    size: int = 50
    ascending: bool = False

    @property
    def start(self) -> Cursor:
        """The cursor, that of the first page if there is none."""
        if self.cursor is not None:
            return self.cursor
        return Cursor(0, toward_newer=True) if self.ascending else Cursor(MAX_POSITION, toward_newer=False)


FIRST_PAGE = PageRequest()


class PageLinks(NamedTuple):
    """The four cursors of a page."""

    current: Cursor
    current_backwards: Cursor
    previous: Cursor | None
    next: Cursor | None


def page_links(
    page_request: PageRequest, lowest: int | None, highest: int | None, *, older: bool, newer: bool
) -> PageLinks:
    """The cursors of the page with the runs from *lowest* to *highest* (None: it is empty), when there are
    *older* runs below it and *newer* ones above. They name numbers, not rows: runs may come and go.
    """
    start = page_request.start
    below = Cursor(start.position if lowest is None else lowest, toward_newer=False)
    above = Cursor(start.position if highest is None else highest + 1, toward_newer=True)
    if page_request.ascending:
        end_read_back = Cursor(above.position, toward_newer=False)
        return PageLinks(start, end_read_back, below if older else None, above if newer else None)
    end_read_back = Cursor(below.position, toward_newer=True)
    return PageLinks(start, end_read_back, above if newer else None, below if older else None)


class CursorCodec:
    """Cursors as opaque text, signed by *key* together with the filters and the order they belong to."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, cursor: Cursor, fingerprint: bytes) -> str:
        """*cursor* as text that only *fingerprint* reads."""
        place = _LAYOUT.pack(cursor.toward_newer, cursor.position)
        return urlsafe_b64encode(place + self._digest(place, fingerprint)).decode()

    def read(self, text: str, fingerprint: bytes) -> Cursor:
        """The cursor that was written as *text*. Raises ValueError if it is damaged or belongs to other filters."""
        try:
            data = urlsafe_b64decode(text.encode("ascii"))
            toward_newer, position = _LAYOUT.unpack(data[: _LAYOUT.size])
        except Exception:  # whatever is wrong, it was not written here
            raise ValueError("not a cursor") from None
        cursor = Cursor(position, toward_newer)
        # Written again and compared: no second spelling of the same cursor passes.
        if not compare_digest(self.write(cursor, fingerprint).encode(), text.encode()):
            raise ValueError("damaged, or of other filters")
        return cursor

    def _digest(self, place: bytes, fingerprint: bytes) -> bytes:
        return blake2b(place + fingerprint, key=self._key, digest_size=_DIGEST_SIZE).digest()
