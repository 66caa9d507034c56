"""The real proxies, with the configurations of the page `proxies`, on free ports and with a certificate of their own.

Around each configuration is what its Debian package has in other files, and compression of all types, which a site may
have: it must not reach the answers of flowruns.
"""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx

from flowruns.cli.docs import page
from tests.faults import Impossible
from tests.waits import HANG, eventually

HOST = "portal.example"
_ATTEMPTS = 5  # another program may take the free port first
_MODULES = Path("/usr/lib/apache2/modules")  # of Debian
_LOADED = [
    "mpm_event", "authz_core", "ssl", "socache_shmcb", "http2", "proxy", "proxy_http", "headers", "filter", "deflate",
    "env",
]  # fmt: skip
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0  # then workers would be another user, who cannot read the files
_WORKERS = ("-g", "user root;") if IS_ROOT else ()


class Program(NamedTuple):
    """A proxy: its *command*, and what is around the configuration of the page."""

    package: str
    language: str  # of its block on the page
    command: tuple[str, ...]
    frame: str


PROGRAMS = {
    "nginx": Program("nginx-light", "nginx", ("nginx", "-p", "{folder}", "-c", "{file}", *_WORKERS), """\
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;
{block}
}}
"""),
    "caddy": Program("caddy", "caddy", ("caddy", "run", "--adapter", "caddyfile", "--config", "{file}"), """\
{{
    admin off
    auto_https off
    skip_install_trust
    grace_period 1s
    log {{
        level ERROR
    }}
}}
(compressed) {{
    encode gzip
}}
{block}
"""),
    "haproxy": Program("haproxy", "haproxy", ("haproxy", "-db", "-f", "{file}"), """\
{block}
    compression algo gzip
"""),
    "apache": Program("apache2-bin", "apache", ("apache2", "-f", "{file}", "-DFOREGROUND"), "\n".join([
        "ServerRoot {folder}", "DefaultRuntimeDir {folder}", "PidFile {folder}/pid", "ErrorLog /dev/stderr",
        "ServerName localhost", "Listen {port}", "User www-data", "Group www-data",
        *(f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _LOADED),
        "SetOutputFilter DEFLATE", "{block}", "",
    ])),
}  # fmt: skip

# The address of the server on the page, and the socket /run/f.sock instead.
_TCP = {"nginx": "http://127.0.0.1:8000/", "caddy": "127.0.0.1:8000", "haproxy": "127.0.0.1:8000",
        "apache": "http://127.0.0.1:8000/"}  # fmt: skip
SOCKETS = {"nginx": "http://unix:/run/f.sock:/", "caddy": "unix//run/f.sock", "haproxy": "unix@/run/f.sock",
           "apache": "unix:/run/f.sock|http://localhost/"}  # fmt: skip


class Proxy(NamedTuple):
    """A proxy that serves `https://portal.example:PORT/portal/`, at a port of this machine."""

    name: str
    port: int
    certificate: Path

    @property
    def origin(self) -> str:
        """The origin of pages that it serves."""
        return f"https://{HOST}:{self.port}"

    def client(self, **headers: str) -> httpx.Client:
        """A client of what is below the prefix."""
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        transport = _ToLoopback(verify=trusted)
        return httpx.Client(base_url=f"{self.origin}/portal", transport=transport, headers=headers, timeout=HANG)


class _ToLoopback(httpx.HTTPTransport):
    """Connects to this machine, whatever the name of the host."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = HOST
        request.url = request.url.copy_with(host="127.0.0.1")  # the header Host keeps the name
        return super().handle_request(request)


def documented_sockets() -> str:
    """The forms of sockets that the page has."""
    return page("proxies").partition("## A Unix socket")[2].replace("\\|", "|")


def _path(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def proxied(name: str, server: str, host: str = HOST) -> Iterator[Proxy]:
    """The proxy *name* for *host* in front of *server*, the URL of one or the path of a socket. Raises Impossible if it
    is not installed.
    """
    _check_installed(name)
    with TemporaryDirectory(prefix="flowruns-") as temporary:  # not pytest's: Apache's workers are another user
        folder = Path(temporary)
        folder.chmod(0o755)
        certificate = _certificate(folder)
        for _ in range(_ATTEMPTS):
            port = _free_port()
            with _started(name, folder, port, server.removeprefix("http://"), host) as process:
                eventually(partial(_has_started, process, port))
                if process.poll() is None:
                    yield Proxy(name, port, certificate)
                    return
        raise AssertionError(f"{name} does not start: {(folder / 'stderr').read_text()}")


def _check_installed(name: str) -> None:
    program = PROGRAMS[name]
    for command in (program.command[0], "openssl"):
        if _path(command) is None:
            raise Impossible(f"{command} is missing: apt-get install {program.package} openssl")
    if name == "apache" and not all((_MODULES / f"mod_{module}.so").exists() for module in _LOADED):
        raise Impossible("modules of Apache are missing: apt-get install apache2-bin")


@contextmanager
def _started(name: str, folder: Path, port: int, server: str, host: str) -> Iterator[subprocess.Popen[bytes]]:
    program = PROGRAMS[name]
    file = folder / "configuration"
    block = _block(program.language, folder, port, server).replace(HOST, host)
    file.write_text(program.frame.format(folder=folder, port=port, block=block))
    command = [part.format(folder=folder, file=file) for part in program.command]
    command[0] = _path(command[0]) or command[0]
    own = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (
        (folder / "stderr").open("wb") as stderr,
        subprocess.Popen(command, env=os.environ | own, stdout=stderr, stderr=stderr) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(HANG)
            process.kill()


def _block(language: str, folder: Path, port: int, server: str) -> str:
    """The block of the page in *language*, for this machine."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page("proxies"), re.MULTILINE | re.DOTALL)
    block = block.replace("/etc/ssl/portal.example", str(folder / "portal"))
    if server.startswith("/"):
        block = block.replace(_TCP[language], SOCKETS[language].replace("/run/f.sock", server))
    block = block.replace("127.0.0.1:8000", server)
    if language == "caddy":
        return block.replace(f"{HOST} {{", f"{HOST}:{port} {{\n    import compressed", 1)
    return re.sub(r"\b443\b", str(port), block)


def _certificate(folder: Path) -> Path:
    """A new self-signed certificate, for a day."""
    certificate, key = folder / "portal.crt", folder / "portal.key"
    if not certificate.exists():
        openssl = _path("openssl")
        assert openssl
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "1", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1", "-keyout", key,
             "-out", certificate],
            check=True, capture_output=True, timeout=HANG,
        )  # fmt: skip
        (folder / "portal.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _has_started(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether *process* accepts connections at *port*, or has ended."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=HANG):
        return True
    return process.poll() is not None
