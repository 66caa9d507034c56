"""Cursors: where a page was cut, and which way it is read from there (contract, "Pages")."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct as Layout
from typing import NamedTuple

MOST = 2**62  # above every change number

LARGEST_PAGE = 100  # runs

_LAYOUT = Layout(">?q")

_DIGEST_SIZE = 12  # 21 bytes with the layout: base64 without padding or spare bits


class Cursor(NamedTuple):
    """A cut between two runs, and the side that is read: *up* the runs from number *cut* on, else those below."""

    cut: int
    up: bool


class Window(NamedTuple):
    """The rows that a page wants: at most *size*, from *cursor* on, oldest first if *ascending*."""

    cursor: Cursor | None = None
    size: int = 50
    ascending: bool = False

    @property
    def start(self) -> Cursor:
        """The cursor, that of the first page if there is none."""
        if self.cursor is not None:
            return self.cursor
        return Cursor(0, up=True) if self.ascending else Cursor(MOST, up=False)


FIRST = Window()


class Links(NamedTuple):
    """The four cursors of a page."""

    current: Cursor
    current_backwards: Cursor
    previous: Cursor | None
    next: Cursor | None


def links(window: Window, lowest: int | None, highest: int | None, *, older: bool, newer: bool) -> Links:
    """The cursors of the page with the runs from *lowest* to *highest* (None: it is empty), when there are
    *older* runs below it and *newer* ones above. They name numbers, not rows: runs may come and go.
    """
    start = window.start
    below = Cursor(start.cut if lowest is None else lowest, up=False)
    above = Cursor(start.cut if highest is None else highest + 1, up=True)
    if window.ascending:
        end_read_back = Cursor(above.cut, up=False)
        return Links(start, end_read_back, below if older else None, above if newer else None)
    end_read_back = Cursor(below.cut, up=True)
    return Links(start, end_read_back, above if newer else None, below if older else None)


class CursorCodec:
    """Cursors as opaque text, signed by *key* together with the filters and the order they belong to."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, cursor: Cursor, fingerprint: bytes) -> str:
        """*cursor* as text that only *fingerprint* reads."""
        place = _LAYOUT.pack(cursor.up, cursor.cut)
        return urlsafe_b64encode(place + self._digest(place, fingerprint)).decode()

    def read(self, text: str, fingerprint: bytes) -> Cursor:
        """The cursor that was written as *text*. Raises ValueError if it is damaged or belongs to other filters."""
        try:
            data = urlsafe_b64decode(text.encode("ascii"))
            up, cut = _LAYOUT.unpack(data[: _LAYOUT.size])
        except Exception:  # whatever is wrong, it was not written here
            raise ValueError("not a cursor") from None
        cursor = Cursor(cut, up)
        # Written again and compared: no second spelling of the same cursor passes.
        if not compare_digest(self.write(cursor, fingerprint).encode(), text.encode()):
            raise ValueError("damaged, or of other filters")
        return cursor

    def _digest(self, place: bytes, fingerprint: bytes) -> bytes:
        return blake2b(place + fingerprint, key=self._key, digest_size=_DIGEST_SIZE).digest()
