"""A page of another server: on another port of the same host, which is another origin of the same site."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EMPTY = "<!doctype html><link rel=icon href=data:,>"


class OtherSite:
    """Its page is *html*, which may change."""

    def __init__(self, html: str, port: int) -> None:
        self.html = html
        self.origin = f"http://127.0.0.1:{port}"


@contextmanager
def serving_page(html: str = EMPTY) -> Iterator[OtherSite]:
    """A server of *html*."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(site.html.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = OtherSite(html, server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield site
        server.shutdown()
        thread.join()
