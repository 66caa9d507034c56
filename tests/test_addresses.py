"""The forms of addresses: what browsers and proxies send is understood, anything else is refused with the cure."""

from collections.abc import Callable

import pytest

from flowruns.addresses import (
    parse_frame_ancestor,
    parse_origin,
    parse_prefix,
    parse_proxy,
    socket_path,
    tcp_url,
    unix_url,
)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://portal.example", "https://portal.example"), ("https://portal.example/", "https://portal.example"),
        ("HTTPS://Portal.Example:443", "https://portal.example"), ("http://portal.example:80/", "http://portal.example"),
        ("http://portal.example:443", "http://portal.example:443"), ("http://localhost:3000", "http://localhost:3000"),
        ("https://portal.example:0443", "https://portal.example"), ("http://[::1]:5173", "http://[::1]:5173"),
        ("null", "null"), ("Null", "null"), ("file://", "file://"), ("file:///", "file://"), ("app://.", "app://."),
        ("tauri://localhost", "tauri://localhost"), ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)  # fmt: skip
def test_origins_are_written_as_browsers_send_them(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("*", "give each origin by itself"), ("https://*.portal.example", "give each origin by itself"),
        ("portal.example", "give http://portal.example or https://portal.example"),
        ("localhost:3000", "give http://localhost:3000 or https://localhost:3000"),
        ("https://portal.example/app", "without a path; give https://portal.example"),
        ("https://portal.example?x", "without a path; give https://portal.example"),
        ("https://bücher.example", "in ASCII"),
        ("https://user@portal.example", "for example"), ("https://", "for example"),
        ("https://portal.example:99999", "for example"),
        ("https://portal.example:x", "for example"), ("", "for example"),
        ("https://portal.example\n", "for example"), ("https://a b", "for example"),
    ],
)  # fmt: skip
def test_what_no_browser_sends_is_refused_with_the_cure(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match="is not an origin: ") as caught:
        parse_origin(text)
    assert cure in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frame_ancestors_are_sources_of_the_content_security_policy() -> None:
    for text, source in (("self", "'self'"), ("'self'", "'self'"), ("file://", "file:"), ("HTTP://A:80/", "http://a")):
        assert parse_frame_ancestor(text) == source


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_prefix, "", ""), (parse_prefix, "/", ""), (parse_prefix, "/portal/", "/portal"),
        (parse_prefix, "/a/b.c-d_e~", "/a/b.c-d_e~"), (parse_proxy, "*", "*"), (parse_proxy, "::1", "::1"),
        (parse_proxy, "10.0.0.0/8", "10.0.0.0/8"),
    ],
)  # fmt: skip
def test_prefixes_and_proxies(parse: Callable[[str], str], text: str, value: str) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_frame_ancestor, "null"), (parse_frame_ancestor, "*"), (parse_prefix, "portal"),
        (parse_prefix, "//evil.example"), (parse_prefix, "/a//b"), (parse_prefix, "/.."), (parse_prefix, "/a/../b"),
        (parse_prefix, "/a b"), (parse_prefix, "/a%2f"), (parse_prefix, "/a?b"), (parse_prefix, "/a\n"),
        (parse_prefix, "/ä"), (parse_proxy, "localhost"), (parse_proxy, "10.0.0.1/8"), (parse_proxy, ""),
    ],
)  # fmt: skip
def test_other_prefixes_and_proxies_are_refused(parse: Callable[[str], str], text: str) -> None:
    with pytest.raises(ValueError, match="give "):
        parse(text)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("::1", "http://[::1]:80"),
        ("2001:db8::1", "http://[2001:db8::1]:80"),
    ],
)
def test_url_brackets_ipv6(host: str, shown: str) -> None:
    assert tcp_url(host, 80) == shown


@pytest.mark.parametrize("path", ["/run/flowruns.sock", "/tmp/a b/100%/ä#?.sock"])
def test_a_path_survives_in_the_url_of_a_unix_socket(path: str) -> None:
    assert socket_path(unix_url(path)) == path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("unix:///run/flowruns.sock", "/run/flowruns.sock"), ("http+unix://%2Frun%2Fa.sock", "/run/a.sock"),
        ("http://127.0.0.1:8000", None), ("unix://", None), ("", None),
    ],
)  # fmt: skip
def test_forms_of_unix_sockets(url: str, path: str | None) -> None:
    assert socket_path(url) == path
