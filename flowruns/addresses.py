"""The forms of addresses in settings: origins of web pages, prefixes of paths, proxies, and URLs of servers."""

import re
from contextlib import suppress
from urllib.parse import quote, unquote, urlsplit

_UNIX = "unix://"

_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")

_DEFAULT_PORTS = {"http": 80, "https": 443}

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[\w.~-]+)*", re.ASCII)  # no empty segments: `//x` would be a host


def parse_origin(text: str) -> str:
    """The origin *text* as browsers send it (RFC 6454 6.2): in lower case, without a default port. Raises ValueError,
    which names the cure, for what no browser sends.
    """
    lower = text.lower().removesuffix("/")
    if lower in ("null", "file:/", "file://"):  # sandboxed frames and files; files in Electron
        return lower if lower == "null" else "file://"
    match = _ORIGIN.fullmatch(lower)
    if match and int(match["port"] or 0) <= 65535:
        return without_default_port(match["scheme"], lower)
    raise ValueError(f"{text!r} is not an origin: {_origin_cure(lower)}")


def _origin_cure(lower: str) -> str:
    if "*" in lower:
        return "give each origin by itself, for example https://portal.example"
    if not lower.isascii():
        return "browsers send the host in ASCII (xn--…); give that"
    if found := _ORIGIN.match(lower):
        if lower[found.end() :][:1] in ("/", "?", "#"):
            return f"browsers send it without a path; give {found[0]}"
    elif _ORIGIN.fullmatch(f"http://{lower}"):
        return f"give http://{lower} or https://{lower}"
    return "give for example https://portal.example"


def without_default_port(scheme: str, address: str) -> str:
    """*address*, a URL or an authority, without the port that is the default of *scheme*."""
    port = _DEFAULT_PORTS.get(scheme)
    match = re.search(r":0*(\d+)\Z", address, re.ASCII)
    if match is None:
        return address
    return address[: match.start()] + ("" if int(match[1]) == port else f":{match[1]}")


def parse_frame_ancestor(text: str) -> str:
    """*text* as a source of `frame-ancestors` (CSP 3): an origin, or `self`. Raises ValueError."""
    if text.strip("'").lower() == "self":
        return "'self'"
    if (origin := parse_origin(text)) == "null":
        raise ValueError("'null' cannot be named in frame-ancestors: give the origin of the page around it")
    return "file:" if origin == "file://" else origin


def parse_prefix(text: str) -> str:
    """The prefix of paths *text*, which begins with a slash, without one at its end. Raises ValueError."""
    prefix = text.removesuffix("/")
    if _PREFIX.fullmatch(prefix):
        return prefix
    raise ValueError(f"{text!r} is not a prefix of paths: give for example /portal")


def parse_proxy(text: str) -> str:
    """*text*, if it is an address or a network of proxies, or `*`. Raises ValueError."""
    if text != "*":
        from ipaddress import ip_network  # slow to import, and seldom needed

        try:
            ip_network(text)
        except ValueError:
            cure = "give an address or a network, for example 127.0.0.1 or 10.0.0.0/8, or * for all"
            raise ValueError(f"{text!r} is not the address of a proxy: {cure}") from None
    return text


def parse_url(text: str) -> str:
    """*text*, the URL of a server, in its usual form. Raises ValueError, which does not repeat what may be a secret."""
    if "@" in text or "#" in text:
        raise ValueError("the address of a server has no user, password or fragment; pass a token as such")
    if (path := socket_path(text)) is not None and path.startswith("/"):
        return unix_url(path)
    with suppress(ValueError):  # invalid port or IP address
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
        if valid and re.fullmatch(r"[\x21-\x7e]+", text):
            _check_ip_address(parts.hostname or "")
            return parts.geturl()
    raise ValueError(f"{text!r} is not a server address: use for example http://127.0.0.1:8000, or unix:///run/f.sock")


def _check_ip_address(host: str) -> None:
    """Raises ValueError if *host* looks like an IP address and is none."""
    if re.fullmatch(r"[\d.]+|.*:.*", host):
        from ipaddress import ip_address  # slow to import, and rarely needed

        ip_address(host)


def tcp_url(host: str, port: int) -> str:
    """The URL of a server; an IPv6 address is bracketed."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def unix_url(path: str) -> str:
    """The URL of a server at the Unix socket *path*, an absolute path: `unix:///run/flowruns.sock`."""
    return _UNIX + quote(path)


def socket_path(url: str) -> str | None:
    """The path of the Unix socket in *url*, None if it is another URL. Besides `unix://` it takes `http+unix://` with
    the path percent-encoded in place of the host, which is the form of other clients.
    """
    path = url.removeprefix("http+").removeprefix(_UNIX) if url.startswith((_UNIX, "http+" + _UNIX)) else None
    return unquote(path) if path else None
