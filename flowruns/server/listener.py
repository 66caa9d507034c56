"""The listening socket."""

import errno
import socket

from flowruns.errors import PortTaken

BACKLOG = 2048

REACHED_AT = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # an address that is every address


def listen(host: str, port: int) -> socket.socket:
    """A listening socket: from here on the port is ours, and clients wait instead of failing. Raises PortTaken."""
    shown = url(host, port).removeprefix("http://")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named: asyncio sets TCP_NODELAY on no other, and each answer then takes 40 ms.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}") from None
    try:
        # On Windows SO_REUSEADDR would let two servers share a port, and nothing less than its opposite forbids it.
        once = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, once, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        cure = "; `flowruns --port 0` takes a free port" if error.errno == errno.EADDRINUSE else ""
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}{cure}") from None
    return listener


def url(host: str, port: int) -> str:
    """The address of a server as clients write it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
