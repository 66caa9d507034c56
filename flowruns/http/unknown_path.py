"""The response for a path without a route: JSON for programs, a small page for browsers."""

from urllib.parse import quote

from flowruns.errors import PathNotFound
from flowruns.http.accept import prefers_html
from flowruns.http.requests import header_values
from flowruns.http.responses import Header, Response, Scope, error_response
from flowruns.http.static import NO_CACHE, version
from flowruns.settings import RUNS

_MAX_DEPTH = 32  # segments of a path; a path of thousands would make a response larger than the request

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<base href="{base}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not found · flowruns</title>
<link rel="icon" href="ui/assets/{version}/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="ui/assets/{version}/page.css">
</head>
<body>
<main class="state">
<h1>404: there is nothing at this path</h1>
<p><a href="ui/">Runs</a>: the page that shows them.</p>
<p><a href="docs">API</a>: its documentation.</p>
<p><code>{runs}</code>: the runs for programs, as JSON.</p>
</main>
</body>
</html>
"""


def path_not_found(error: PathNotFound, scope: Scope, security: tuple[Header, ...]) -> Response:
    """404: a page with the headers *security* if a browser requests one, else *error* as JSON."""
    accept = b",".join(header_values(scope, b"accept")).decode("latin-1")
    if scope["method"] not in ("GET", "HEAD") or not prefers_html(accept):
        return error_response(error)
    body = _PAGE.format(base=_base(scope), version=version(), runs=RUNS).encode()
    headers = (
        *security,
        NO_CACHE,
        (b"vary", b"accept"),
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    )
    return Response(404, headers, body)


def _base(scope: Scope) -> str:
    """The root of the application, relative to the requested path: it holds under any prefix, known or not."""
    prefix = quote(scope.get("root_path", ""))
    path = (scope.get("raw_path") or quote(scope["path"]).encode()).removeprefix(prefix.encode())
    depth = path.count(b"/") - 1
    return prefix + "/" if depth > _MAX_DEPTH else "../" * depth or "./"
