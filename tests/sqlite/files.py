"""The contents of a folder, and another process that has a database."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.databases import read_only

HOLDER = """
import sys
from pathlib import Path
from flowruns.sqlite.lockfile import locked
with locked(Path(sys.argv[1]), "the other one"):
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(path: Path, program: str = HOLDER) -> Iterator[subprocess.Popen[str]]:
    """Another process whose *program* is ready with *path*; by default it has locked it."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The files in *folder*, with the times of their last writes."""
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


unwritable = read_only  # a test is skipped where that is not possible
