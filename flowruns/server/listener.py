"""The listening socket."""

import errno
import socket

from flowruns.errors import PortTaken

BACKLOG = 2048

LOCAL_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # of a wildcard address, for clients


def listen(host: str, port: int) -> socket.socket:
    """A listening socket: from now on clients can connect, and wait. Raises PortTaken."""
    shown = url(host, port).removeprefix("http://")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With an explicit protocol: asyncio sets TCP_NODELAY only then, and each response takes 40 ms without it.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}") from None
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
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}{cure}") from None
    return listener


def url(host: str, port: int) -> str:
    """The URL of a server; an IPv6 address is bracketed."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
