"""The files that a killed server leaves, and those after an interrupted checkpoint."""

import asyncio
import os
import subprocess
from pathlib import Path

from msgspec import Raw
from msgspec.json import encode

from flowruns.model.runs import FlowType, RunPut
from flowruns.sqlite.identity.pages import read_wal_header
from flowruns.store.store import Store

PAGE_SIZE = 4096
_FRAME = 24 + PAGE_SIZE


async def put(store: Store, *ids: str) -> None:
    """Writes runs, each in a transaction of its own."""
    for id in ids:
        await store.put(
            id, RunPut(flow_id="deploy", flow_type=FlowType.AUTOMATION, outputs=Raw(encode({"of": id * 100})))
        )


async def filled(path: Path, *ids: str) -> Path:
    """The database *path* after these writes, closed."""
    async with Store.open(path) as store:
        await put(store, *ids)
    return path


async def killed(path: Path, folder: Path, *ids: str) -> Path:
    """The database in *folder* as a process leaves it that is killed after these writes to *path*."""
    os.mkdir(folder)
    async with Store.open(path) as store:
        await put(store, *ids)
        # By another process, as to close them here ends SQLite's locks.
        files = [path, f"{path}-wal", f"{path}.lock"]
        await asyncio.to_thread(subprocess.run, ["cp", *files, folder], check=True)
    return folder / path.name


def frames(file: Path) -> list[tuple[int, bytes]]:
    """The page number and the page of each frame in the WAL of *file*."""
    header = read_wal_header(file.with_name(file.name + "-wal"))
    data = file.with_name(file.name + "-wal").read_bytes()[32:]
    found = [data[start : start + _FRAME] for start in range(0, len(data), _FRAME)]
    assert header
    return [(int.from_bytes(frame[:4]), frame[24:]) for frame in found if frame[8:16] == header.salts]


def write_page(file: Path, number: int, page: bytes) -> None:
    """Writes a page as a checkpoint does."""
    with file.open("r+b") as opened:
        opened.seek((number - 1) * PAGE_SIZE)
        opened.write(page)
