"""Cursors: a position between two runs and a direction to read in (`flowruns/docs/api.md`, "Pages")."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct as Layout
from typing import NamedTuple

MAX_POSITION = 2**62  # above every change number

MAX_PAGE_SIZE = 100  # runs

_LAYOUT = Layout(">?q")

_DIGEST_SIZE = 12  # 21 bytes with the layout: base64 without padding or spare bits


class Cursor(NamedTuple):
    """A position between two runs. *toward_newer* reads the runs with numbers from *position* up, else those below."""

    position: int
    toward_newer: bool


class PageRequest(NamedTuple):
    """A request for a page: at most *size* runs, starting at *cursor*, oldest first if *ascending*."""

    cursor: Cursor | None = None
    size: int = 50
    ascending: bool = False

    @property
    def start(self) -> Cursor:
        """The cursor, or that of the first page."""
        if self.cursor is not None:
            return self.cursor
        return Cursor(0, toward_newer=True) if self.ascending else Cursor(MAX_POSITION, toward_newer=False)


FIRST_PAGE = PageRequest()

_CACHED = 1024  # texts of cursors: clients ask for the same pages again


class PageLinks(NamedTuple):
    """The four cursors of a page."""

    current: Cursor
    current_backwards: Cursor
    previous: Cursor | None
    next: Cursor | None


def page_links(
    page_request: PageRequest, lowest: int | None, highest: int | None, *, older: bool, newer: bool
) -> PageLinks:
    """The cursors of a page whose runs have the numbers *lowest* to *highest* (None: it is empty). *older* and *newer*
    tell whether runs exist below and above it. Cursors hold numbers, not rows, so they outlive deleted runs.
    """
    start = page_request.start
    below = Cursor(start.position if lowest is None else lowest, toward_newer=False)
    above = Cursor(start.position if highest is None else highest + 1, toward_newer=True)
    if page_request.ascending:
        backwards = Cursor(above.position, toward_newer=False)
        return PageLinks(start, backwards, below if older else None, above if newer else None)
    backwards = Cursor(below.position, toward_newer=True)
    return PageLinks(start, backwards, above if newer else None, below if older else None)


class CursorCodec:
    """Encodes cursors as opaque text, signed with *key* and bound to the filters and the order of their page."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.write = lru_cache(_CACHED)(self._write)

    def _write(self, cursor: Cursor, fingerprint: bytes) -> str:
        """*cursor* as text that can only be read with the same *fingerprint*."""
        packed = _LAYOUT.pack(cursor.toward_newer, cursor.position)
        return urlsafe_b64encode(packed + self._digest(packed, fingerprint)).decode()

    @staticmethod
    def parse(text: str) -> Cursor:
        """The cursor encoded in *text*, of whatever filters. Raises ValueError if it cannot be one."""
        try:
            data = urlsafe_b64decode(text.encode("ascii"))
            toward_newer, position = _LAYOUT.unpack(data[:-_DIGEST_SIZE])
        except Exception:  # not base64, or of another length
            raise ValueError("not a cursor") from None
        return Cursor(position, toward_newer)

    def read(self, text: str, fingerprint: bytes) -> Cursor:
        """The cursor encoded in *text*. Raises ValueError if it is damaged or belongs to other filters."""
        cursor = self.parse(text)
        # Comparing the text, not the digest, accepts one spelling only of each cursor.
        if not compare_digest(self.write(cursor, fingerprint).encode(), text.encode()):
            raise ValueError("damaged, or of other filters")
        return cursor

    def _digest(self, packed: bytes, fingerprint: bytes) -> bytes:
        return blake2b(packed + fingerprint, key=self._key, digest_size=_DIGEST_SIZE).digest()
