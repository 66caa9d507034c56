"""The page for people: its files, each with the headers that tell a browser what it may do."""

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from importlib import resources
from pathlib import PurePath
from typing import NamedTuple

from flowruns.errors import PathNotFound
from flowruns.http.endpoints import Operation
from flowruns.http.requests import RequestReader
from flowruns.http.responses import Header, Response, etag

FILES = "/ui/"  # below it lies nothing but files of the package

ASSET = FILES + "assets/{version}/{name}"


class Page(NamedTuple):
    """An HTML file at a path. *base* leads from there to FILES: the page then works under any prefix, known or not."""

    file: str
    base: str


PAGES = {
    "/ui/": Page("index.html", "./"),
    "/ui/runs/{id_}": Page("index.html", "../"),
    "/ui/compare": Page("index.html", "./"),
    "/docs": Page("docs.html", "ui/"),
}

REDIRECTS = {"/": "ui/", "/ui": "ui/"}  # relative, for the same reason

MEDIA_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

_SECURITY: tuple[Header, ...] = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_ASK_AGAIN: Header = (b"cache-control", b"no-cache")

_FOR_EVER: Header = (b"cache-control", b"public, max-age=31536000, immutable")  # its path changes with its content


def is_public(path: str) -> bool:
    """Whether *path* is for callers without a token: the page asks for one, and holds no data."""
    return path.startswith(FILES) or path in REDIRECTS or path in PAGES


def routes() -> dict[str, Operation]:
    """What GET does, by path."""
    pages = {path: _page(page) for path, page in PAGES.items()}
    leads = {path: _lead(to) for path, to in REDIRECTS.items()}
    return pages | leads | {ASSET: asset}


async def asset(request: RequestReader) -> Response:
    """GET /ui/assets/{version}/{name}: a file that pages use. Raises PathNotFound."""
    parts = request.scope["path_params"]
    body = files().get(parts["name"])
    if body is None or parts["version"] != version():
        raise PathNotFound
    return _file(request, parts["name"], body, _FOR_EVER)


@cache
def files() -> Mapping[str, bytes]:
    """The files by name, read once: an open tab never sees two versions of them."""
    folder = resources.files("flowruns") / "ui"
    return {file.name: file.read_bytes() for file in folder.iterdir() if PurePath(file.name).suffix in MEDIA_TYPES}


@cache
def version() -> str:
    """A name for the content of all files."""
    digest = blake2b(digest_size=8)
    for name, body in sorted(files().items()):
        digest.update(b"%b %d\n%b" % (name.encode(), len(body), body))
    return digest.hexdigest()


def _page(page: Page) -> Operation:
    async def operation(request: RequestReader) -> Response:
        body = files()[page.file].replace(b"{base}", page.base.encode()).replace(b"{version}", version().encode())
        return _file(request, page.file, body, _ASK_AGAIN)

    return operation


def _lead(to: str) -> Operation:
    async def operation(request: RequestReader) -> Response:
        return Response(307, (*_SECURITY, _ASK_AGAIN, (b"location", to.encode()), (b"content-length", b"0")))

    return operation


def _file(request: RequestReader, name: str, body: bytes, caching: Header) -> Response:
    tag = blake2b(body, digest_size=8).hexdigest()
    headers = (*_SECURITY, caching, etag(tag))
    if request.precondition().unchanged(tag):
        return Response(304, headers)
    media_type = MEDIA_TYPES[PurePath(name).suffix]
    return Response(200, (*headers, (b"content-type", media_type), (b"content-length", b"%d" % len(body))), body)
