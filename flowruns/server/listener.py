"""The listening sockets: of a host and a port, or of a path."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from flowruns.addresses import tcp_url, unix_url
from flowruns.errors import PortTaken
from flowruns.server.unix_socket import listen_at
from flowruns.settings import Settings

BACKLOG = 2048

_LOCALHOST = "127.0.0.1", "::1"  # clients of `localhost` use either, and some try only the first that they find

_LOCAL_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}  # for clients

_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

_ATTEMPTS = 20  # to find a port that is free in both families


class Listening(NamedTuple):
    """Listening sockets, and the URL at which clients of this machine reach them."""

    sockets: list[socket.socket]
    url: str


@contextmanager
def listening(settings: Settings) -> Iterator[Listening]:
    """While entered, sockets listen as *settings* say: from now on clients can connect, and wait. Raises PortTaken."""
    with ExitStack() as stack:
        if settings.uds is not None:
            path = Path(settings.uds).expanduser().absolute()
            sockets = [stack.enter_context(listen_at(path, BACKLOG))]
            url = unix_url(str(path))
        else:
            both = settings.host.lower() == "localhost"
            sockets = listen_on_localhost(settings.port) if both else [listen(settings.host, settings.port)]
            for listener in sockets:
                stack.enter_context(listener)
            host = _LOCAL_ADDRESS.get(settings.host.lower(), settings.host)
            url = tcp_url(host, sockets[0].getsockname()[1])
        yield Listening(sockets, url)


def listen_on_localhost(port: int) -> list[socket.socket]:
    """Listening sockets of both families on one port; without that of IPv6 where the machine has none. Raises
    PortTaken.
    """
    for attempt in range(_ATTEMPTS):
        first = listen(_LOCALHOST[0], port)
        try:
            return [first, listen(_LOCALHOST[1], first.getsockname()[1])]
        except PortTaken as error:
            if error.errno in _NO_IPV6:
                return [first]
            first.close()
            if port != 0 or attempt == _ATTEMPTS - 1:
                raise PortTaken(f"{error}, `--host {_LOCALHOST[0]}` listens there alone", error.errno) from None
    raise AssertionError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken."""
    shown = tcp_url(host, port).removeprefix("http://")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With an explicit protocol: asyncio sets TCP_NODELAY only then, and each response takes 40 ms without it.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}", error.errno) from None
    try:
        # On Windows SO_REUSEADDR lets two servers share a port, and only SO_EXCLUSIVEADDRUSE prevents it.
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException as error:
        listener.close()
        if not isinstance(error, OSError):
            raise
        cure = "; `flowruns --port 0` takes a free port" if error.errno == errno.EADDRINUSE else ""
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}{cure}", error.errno) from None
    return listener
