#!/usr/bin/env python3
"""The same test for every way to install flowruns: `smoke.py NAME DOWNLOAD DISK COMMAND…` runs COMMAND as its users do.

Prints a row of a table: the size of the file DOWNLOAD, DISK (bytes, once installed), the duration of starts and the
memory of the processes. Ends with a traceback at the first failure. Needs only the standard library.
"""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin

REAL_RUNS = Path(__file__).resolve().parents[1] / "tests" / "data" / "real_runs.ndjson"
RUNS = "/api/v1/flow-runs"
HANG = 300  # seconds after which a step is taken to hang
STARTS = 7
TIMES = {"startTime", "endTime", "timestamp"}


class Server:
    """A server that is ready; its start took *seconds*."""

    def __init__(self, command, folder, *options):
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, *options, "--port", "0", "--ready", "json", "--exit-with-stdin"],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ready = json.loads(self.process.stdout.readline() or "{}")
        self.seconds = time.perf_counter() - began
        assert self.ready.get("event") == "ready", (self.ready, self.process.stderr.read())

    def request(self, method, path, body=None, token=True, **headers):
        """The status, the headers and the body of the response."""
        if token and self.ready["token"]:
            headers["Authorization"] = f"Bearer {self.ready['token']}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.ready["url"] + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=HANG) as response:
                return response.status, response.headers, response.read()
        except HTTPError as error:
            return error.code, error.headers, error.read()

    def memory(self):
        """The resident memory of the process and its children, in MB."""
        return sum(resident(pid) for pid in family(self.process.pid)) / 1e6

    def stop(self, how, command, folder):
        """Stops the server, and checks its exit code and its output."""
        if how == "SIGTERM":
            os.kill(self.ready["pid"], signal.SIGTERM)
        elif how == "stop":
            output(command, folder, "stop", self.ready["database"])
        out, err = self.process.communicate(timeout=HANG)  # which closes standard input
        assert (self.process.returncode, out, err) == (0, "", ""), (how, self.process.returncode, out, err)


def family(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def resident(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def output(command, folder, *args, code=0, stdin=None):
    """The stdout of a command; its stderr if it is expected to fail."""
    run = subprocess.run([*command, *args], cwd=folder, input=stdin, capture_output=True, text=True, timeout=HANG)
    assert run.returncode == code, (args, run.returncode, run.stdout, run.stderr)
    return run.stdout if code == 0 else run.stderr


@contextmanager
def serving(command, folder, *options, how="stdin"):
    server = Server(command, folder, *options)
    try:
        yield server
        server.stop(how, command, folder)
    finally:
        server.process.kill()


def in_utc(value, name=""):
    """*value* with its date-times as the API writes them."""
    if isinstance(value, dict):
        return {key: one if key in ("args", "outputs") else in_utc(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [in_utc(one) for one in value]
    if name in TIMES and value is not None:
        return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return value


def commands_are_right(command, folder):
    assert re.fullmatch(r"flowruns \d+\.\d+\.\d+\S*\n", output(command, folder, "--version"))
    assert output(command, folder, "--nonsense", code=2).startswith("flowruns: ")
    assert "flowruns export" in output(command, folder, "export", "--help")  # a command that a start does not import
    assert RUNS in output(command, folder, "docs", "api")
    assert os.listdir(folder) == []


def starts(command, folder):
    """Seconds of the first start, and the median of starts on an existing file."""
    taken = []
    for number in range(1 + STARTS):
        with serving(command, folder, "starts.db", how=("stdin", "SIGTERM", "stop")[number % 3]) as server:
            taken.append(server.seconds)
        assert os.listdir(folder) == ["starts.db"]
    os.unlink(folder / "starts.db")
    return taken[0], statistics.median(taken[1:])


def runs_come_back(server, runs):
    assert json.loads(server.request("GET", "/health")[2])["status"] == "ok"
    assert server.request("GET", RUNS, token=False)[0] == 401
    for run in runs:
        assert server.request("PUT", f"{RUNS}/{run['id']}", json.dumps(run).encode())[0] == 201
    for run in runs:
        found = json.loads(server.request("GET", f"{RUNS}/{run['id']}")[2])
        assert {name: found[name] for name in run} == in_utc(run)
    walked, cursor = [], ""
    while cursor is not None:
        page = json.loads(server.request("GET", f"{RUNS}?size=100&cursor={cursor}")[2])
        walked += [run["id"] for run in page["items"]]
        cursor = page["next_page"]
    assert walked == [run["id"] for run in runs][::-1]
    status, _, body = server.request("PUT", f"{RUNS}/wrong", b'{"flowId": 1}')
    assert (status, [one["loc"] for one in json.loads(body)["detail"]]) == (
        422, [["body", "flowId"], ["body", "flowType"]],
    )  # fmt: skip


def changes_are_streamed(server, first):
    headers = {
        "Accept": "text/event-stream", "Last-Event-ID": "0", "Authorization": f"Bearer {server.ready['token']}",
    }  # fmt: skip
    request = urllib.request.Request(server.ready["url"] + RUNS, headers=headers)
    with urllib.request.urlopen(request, timeout=HANG) as stream:
        next(line for line in stream if line == b"event: run\n")
        line = next(line for line in stream if line.startswith(b"data: "))
    assert json.loads(line.removeprefix(b"data: "))["id"] == first


def pages_are_whole(server):
    for path in ("/ui/", "/docs"):
        status, headers, html = server.request("GET", path, token=False)
        assert (status, headers.get_content_type()) == (200, "text/html")
        base = re.search(rb'<base href="([^"]+)"', html)[1].decode()
        found = re.findall(rb'(?:src|href)="(assets/[^"]+)"', html)
        assert len(found) > 2, html
        for name in found:
            url = urljoin(urljoin(path, base), name.decode())
            status, headers, body = server.request("GET", url, token=False)
            assert (status, bool(body)) == (200, True), url
    openapi = json.loads(server.request("GET", "/openapi.json")[2])
    assert openapi["paths"].keys() >= {RUNS, f"{RUNS}/{{id_}}"}


def files_go_in_and_out(command, folder, runs):
    output(command, folder, "export", "-d", "runs.db", "-o", "one.ndjson")
    output(command, folder, "import", "-d", "two.db", "one.ndjson")
    assert output(command, folder, "export", "-d", "two.db") == (folder / "one.ndjson").read_text()
    assert f"is ok: {len(runs)} runs" in output(command, folder, "check", "-d", "two.db")
    assert runs[-1]["id"] in output(command, folder, "ls", "-d", "two.db", "--limit", "1")


def demo_is_alive(command, folder):
    with serving(command, folder, "--demo") as server:
        assert json.loads(server.request("GET", "/health")[2])["runs"] > 90


def main():
    name, download, disk, *command = sys.argv[1:]
    runs = [json.loads(line) for line in REAL_RUNS.read_bytes().splitlines()]
    folder = Path(tempfile.mkdtemp(prefix="smoke é "))
    try:
        commands_are_right(command, folder)
        first, median = starts(command, folder)
        with serving(command, folder, "runs.db", "--token", "auto") as server:
            idle = server.memory()
            runs_come_back(server, runs)
            changes_are_streamed(server, runs[0]["id"])
            pages_are_whole(server)
            assert runs[-1]["id"] in output(command, folder, "ls", "--limit", "1", "-d", "runs.db")  # by the server
            loaded = server.memory()
        assert os.listdir(folder) == ["runs.db"]
        files_go_in_and_out(command, folder, runs)
        demo_is_alive(command, folder)
    finally:
        shutil.rmtree(folder)
    size = os.path.getsize(download) / 1e6
    print(
        f"| {name} | {size:.1f} | {int(disk) / 1e6:.1f} | {first:.2f} | {median:.2f} | {idle:.0f} | {loaded:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
