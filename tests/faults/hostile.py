"""Requests that no honest client sends, among honest ones: each gets a right answer, and nothing else happens."""

import math
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from msgspec import Raw, Struct
from msgspec.json import decode

from tests.benchmarks.processes import Server
from tests.conftest import RUNS
from tests.faults import check_duration, progress
from tests.faults.clients import BODIES, asked, damages
from tests.faults.drafts import BEARER, TOKEN, USER, put
from tests.faults.hostile_clients import Worker
from tests.processes import ended, serving
from tests.waits import FOREVER
from tests.wire import Wire

NAME = "runs.db"
WORKERS = 4
_ORDINARY = 200  # honest GETs before and after
_MAX_GET_SECONDS = 0.5  # promised


def run(rounds: int, seed: int) -> str:
    """Sends so many requests over a few connections at a time."""
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder:
        file = Path(folder) / NAME
        tokens = {"FLOWRUNS_TOKENS": f"{TOKEN}={USER}"}
        with serving(file.parent, NAME, env=tokens, seconds=FOREVER) as server:
            before = ordinary(server.url, 201)
            workers = [Worker(f"w{number}", seed, server.url) for number in range(WORKERS)]
            began = time.perf_counter()
            _work(workers, rounds)
            seconds = time.perf_counter() - began
            assert server.process.poll() is None, f"the process ended with {server.process.poll()}"
            after = ordinary(server.url, 200)
            there = looked_through(server.url, workers)
            memory = Server(server.url.removeprefix("http://"), server.process.pid, 0).rss()
            assert (wrong := damages(file)) == [], f"the database is damaged: {wrong}"
            server.process.send_signal(signal.SIGTERM)
            code, said = ended(server.process)
            other = [line for line in said.splitlines() if " WARNING refused " not in line]  # origins, once each
            assert (code, other) == (0, []), f"it ended with {code}, and wrote to stderr: {said!r}"
        left = sorted(os.listdir(folder))
        assert left == [NAME], f"left were {left}"
    statuses = sum((worker.statuses for worker in workers), Counter[int]())
    counts = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    refusals = sum(count for status, count in statuses.items() if status >= 400)
    return (
        f"hostile: {sum(worker.sent for worker in workers):,} requests in {seconds:.0f} s,"
        f" {statuses.total():,} responses, {refusals:,} of them errors, all in the one error shape,"
        f" {sum(count for status, count in statuses.items() if status >= 500)} of 5xx ({counts});"
        f" {there:,} runs as they were acknowledged, 0 others; nothing on stderr but refused origins; {memory:.0f} MB;"
        f" p99 of a GET {before:.1f} ms before, {after:.1f} ms after"
    )


def _work(workers: list[Worker], rounds: int) -> None:
    """Lets all *workers* work at once. Raises what one of them raises, when all have ended."""
    over = threading.Event()
    with ThreadPoolExecutor(len(workers)) as pool:
        working = {pool.submit(worker.work, math.ceil(rounds / len(workers)), over) for worker in workers}
        while wait(working, timeout=0.2).not_done:
            progress(f"hostile: {sum(worker.sent for worker in workers):,} of {rounds:,} requests")
    for one in working:
        one.result()


class Page(Struct):
    """A page whose runs are as they were sent."""

    items: list[Raw]
    total: int
    next_page: str | None


class Id(Struct):
    """What a run is known by."""

    id: str


def looked_through(url: str, workers: list[Worker]) -> int:
    """How many runs there are: all that were acknowledged, as they were, alone and in pages, and no others."""
    found: dict[str, bytes] = {}
    cursor: str | None = ""
    while cursor is not None:
        with Wire(url) as wire:
            reply = wire.ask("GET", f"{RUNS}?size=100" + (cursor and f"&cursor={cursor}"), None, BEARER.decode())
        assert reply.status == 200, f"a page is {reply.status}: {reply.body[:500]!r}"
        page = decode(reply.body, type=Page)
        for doc in page.items:
            found[decode(doc, type=Id).id] = bytes(doc)
        cursor = page.next_page
    assert page.total == len(found), f"there are {len(found):,} runs in pages, where the total is {page.total:,}"
    replies = asked(url, [f"{RUNS}/{id}" for id in found], BEARER.decode())
    for id, reply in zip(found, replies, strict=True):
        assert (reply.status, reply.body) == (200, found[id]), f"{id} alone is another than in its page"
    known = {id: doc for worker in workers for id, doc in worker.runs.items()}
    assert not (gone := known.keys() - found.keys()), f"acknowledged, but not there: {sorted(gone)[:20]}"
    others = {id for id in known if known[id] != found[id]}
    assert not others, f"not as they were acknowledged: {sorted(others)[:20]}"
    strangers = found.keys() - known.keys() - {id for worker in workers for id in worker.unknown} - {"ordinary"}
    assert not strangers, f"there, but refused or deleted: {sorted(strangers)[:20]}"
    return len(found)


def ordinary(url: str, status: int) -> float:
    """What 99 of 100 honest GETs take at the most, in ms, of a run whose PUT is answered with *status*."""
    took = []
    with Wire(url) as wire:
        wire.send(put("ordinary", BODIES[0] | {"id": "ordinary"}).asked().data)
        assert (reply := wire.reply()).status == status, f"an honest PUT is {reply.status}"
        for _ in range(_ORDINARY):
            began = time.perf_counter()
            reply = wire.ask("GET", f"{RUNS}/ordinary", None, BEARER.decode())
            took.append((time.perf_counter() - began) * 1000)
            assert reply.status == 200, f"an honest GET is {reply.status}"
    took.sort()
    check_duration(took[-1] / 1000, _MAX_GET_SECONDS, "a correct GET")
    return took[len(took) * 99 // 100 - 1]
