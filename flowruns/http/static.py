"""Serves the files of the page, with the headers that restrict what browsers let it do."""

import gzip
import re
from collections.abc import Collection, Mapping
from functools import cache, partial
from hashlib import blake2b
from importlib import resources
from pathlib import PurePath
from typing import NamedTuple

from flowruns.errors import PathNotFound
from flowruns.http.accept import accepts_gzip
from flowruns.http.endpoints import Operation
from flowruns.http.requests import RequestReader
from flowruns.http.responses import Header, Response, etag

FILES = "/ui/"  # every path below it is a file of the package

ASSET = FILES + "assets/{version}/{name}"

# A comment, up to the end of its line, which stays: line numbers stay those of the source. One behind code of a script
# has no quote, with which a string would end.
_COMMENTS = {
    ".js": re.compile(rb"^\t*(?://|/\*\*| \*).*$| // [^\"'`\n]*$", re.MULTILINE),
    ".css": re.compile(rb" ?/\*.*\*/$", re.MULTILINE),
}

_ENTRY = re.compile(rb'<script type="module" src="assets/\{version\}/(.+?)"')

_IMPORT = re.compile(rb' from "\./(.+?)"')


class Page(NamedTuple):
    """An HTML file. *base* leads from its path to FILES, so that the page works under any prefix, known or not."""

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
    ]
)

NO_CACHE: Header = (b"cache-control", b"no-cache")

_IMMUTABLE: Header = (b"cache-control", b"public, max-age=31536000, immutable")  # its path changes with its content

_VARY: Header = (b"vary", b"accept-encoding")

_compressed = cache(partial(gzip.compress, mtime=0))  # once for each file: there are few of them


def is_public(path: str) -> bool:
    """Whether *path* needs no token: the page holds no data, and asks the user for a token."""
    return path.startswith(FILES) or path in REDIRECTS or path in PAGES


def security_headers(frame_ancestors: Collection[str]) -> tuple[Header, ...]:
    """The headers of every file. *frame_ancestors* are the origins whose pages may show it in a frame."""
    ancestors = " ".join(sorted(frame_ancestors)) or "'none'"
    return (
        (b"content-security-policy", f"{_POLICY}; frame-ancestors {ancestors}".encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
    )


def routes(frame_ancestors: Collection[str] = ()) -> dict[str, Operation]:
    """The GET operations by path."""
    security = security_headers(frame_ancestors)
    pages = {path: partial(_page, page, security) for path, page in PAGES.items()}
    redirects = {path: partial(_redirect, to, security) for path, to in REDIRECTS.items()}
    return {**pages, **redirects, ASSET: partial(_asset, security)}


@cache
def files() -> Mapping[str, bytes]:
    """The files by name, read once, so that no page mixes two versions of them; scripts and styles without comments."""
    folder = resources.files("flowruns") / "ui"
    bodies = {file.name: file.read_bytes() for file in folder.iterdir() if PurePath(file.name).suffix in MEDIA_TYPES}
    sent = {name: _without_comments(name, body) for name, body in bodies.items()}
    return {name: body.replace(b"{preloads}", _preloads(body, sent)) for name, body in sent.items()}


def _preloads(page: bytes, sent: Mapping[str, bytes]) -> bytes:
    """Links to the modules that the script of *page* imports, directly or not: the browser requests all at once."""
    first = new = found = set(_ENTRY.findall(page))
    while new:
        new = {name for script in new for name in _IMPORT.findall(sent[script.decode()])} - found
        found = found | new
    link = b'<link rel="modulepreload" href="assets/{version}/%b">'
    return b"\n".join(link % name for name in sorted(found - first))


def _without_comments(name: str, body: bytes) -> bytes:
    comment = _COMMENTS.get(PurePath(name).suffix)
    return comment.sub(b"", body) if comment else body


@cache
def version() -> str:
    """A hash of the content of all files."""
    digest = blake2b(digest_size=8)
    for name, body in sorted(files().items()):
        digest.update(b"%b %d\n%b" % (name.encode(), len(body), body))
    return digest.hexdigest()


async def _asset(security: tuple[Header, ...], request: RequestReader) -> Response:
    """GET /ui/assets/{version}/{name}: a script, style sheet or image. It raises PathNotFound."""
    parts = request.scope["path_params"]
    body = files().get(parts["name"])
    if body is None or parts["version"] != version():
        raise PathNotFound
    return _file(request, parts["name"], body, (*security, _IMMUTABLE))


async def _page(page: Page, security: tuple[Header, ...], request: RequestReader) -> Response:
    body = files()[page.file].replace(b"{base}", page.base.encode()).replace(b"{version}", version().encode())
    return _file(request, page.file, body, (*security, NO_CACHE))


async def _redirect(to: str, security: tuple[Header, ...], request: RequestReader) -> Response:
    return Response(307, (*security, NO_CACHE, (b"location", to.encode()), (b"content-length", b"0")))


def _file(request: RequestReader, name: str, body: bytes, headers: tuple[Header, ...]) -> Response:
    encoding: tuple[Header, ...] = ()
    if accepts_gzip(request.header(b"accept-encoding") or ""):
        body, encoding = _compressed(body), ((b"content-encoding", b"gzip"),)
    tag = blake2b(body, digest_size=8).hexdigest()  # each encoding has its own (RFC 9110 8.8.3.3)
    headers = (*headers, _VARY, etag(tag))
    if request.precondition().unchanged(tag):
        return Response(304, headers)
    media_type = MEDIA_TYPES[PurePath(name).suffix]
    length = b"%d" % len(body)
    return Response(200, (*headers, *encoding, (b"content-type", media_type), (b"content-length", length)), body)
