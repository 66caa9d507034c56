"""The commands on what is in a file, as processes of their own: what they say, leave, refuse, and survive."""

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from flowruns.cli.main import main
from tests.conftest import REAL_RUNS, RUNS
from tests.processes import COMMAND, command_with, serving, started
from tests.sqlite.test_datafile import contents, holder
from tests.waits import HANG
from tests.wire import RUN, Wire

DATA_COMMANDS = ["import x", "export", "backup b.db", "check", "prune --older-than 1d", "vacuum"]


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


def clean(env: Mapping[str, str] | None = None) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNS_")} | dict(env or {})


def done(cwd: Path, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Done:
    """What a command that ends of itself has left."""
    run = subprocess.run(
        [*COMMAND, *args], cwd=cwd, input=stdin, capture_output=True, encoding="utf-8", env=clean(env), timeout=HANG
    )
    return Done(run.returncode, run.stdout, run.stderr)


def lines(count: int, start: int = 0) -> str:
    return "".join(f'{{"id":"r{n}","flowId":"f","flowType":"automation"}}\n' for n in range(start, start + count))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 346 real runs."""
    folder = tmp_path_factory.mktemp("imported")
    assert done(folder, "import", str(REAL_RUNS)) == (0, "flowruns.db: 346 created, 0 replaced\n", "")
    return folder / "flowruns.db"


@pytest.fixture
def filled(imported: Path, tmp_path: Path) -> Path:
    """The folder of a `flowruns.db` of those runs."""
    shutil.copy(imported, tmp_path)
    return tmp_path


# In and out


def test_what_is_exported_is_imported_to_the_same_bytes(filled: Path) -> None:
    assert done(filled, "export", "-o", "a.ndjson") == (0, "a.ndjson: 346 runs\n", "")
    assert (filled / "a.ndjson").stat().st_mode & 0o777 == 0o600
    exported = done(filled, "export").stdout
    assert exported == (filled / "a.ndjson").read_text()
    assert done(filled, "import", "-", "-d", "b.db", stdin=exported).code == 0
    assert done(filled, "export", env={"FLOWRUNS_DATABASE": "b.db"}).stdout == exported
    assert done(filled, "import", "a.ndjson").stdout == "flowruns.db: 0 created, 346 replaced\n"
    assert done(filled, "export").stdout == exported
    assert names(filled) == ["a.ndjson", "b.db", "flowruns.db"]


def test_several_files_are_one_import(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(lines(3))
    (tmp_path / "b").write_text("{}\n")
    assert done(tmp_path, "import", "a", "-", stdin=lines(2, 2)).stdout == "flowruns.db: 4 created, 1 replaced\n"
    run = done(tmp_path, "import", "a", "b", "-d", "new.db")
    assert run.stderr.splitlines() == [
        "b:1: body.flowId: Field required",
        "b:1: body.flowType: Field required",
        "flowruns: 2 faults in 1 line of 4; nothing was imported",
    ]
    assert (run.code, run.stdout) == (6, "")
    assert names(tmp_path) == ["a", "b", "flowruns.db"]


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ("import", 2, "FILE…"), ("import nowhere", 2, "nowhere cannot be read"), ("import .", 2, ". cannot be read"),
        ("import a -d :memory:", 5, ":memory:"), ("import a -d no/a.db", 5, "there is no folder"),
        ("export -d no.db", 5, "there is no database"), ("export no.db", 2, "name the database with --database"),
        ("export --phase 1x --created-by x", 2, "'--phase': String should match"),
        ("export -o no/x", 1, "no/x cannot be written"), ("export -o .", 1, ". cannot be written"),
        ("export -o flowruns.db", 2, "is the database itself"), ("backup flowruns.db", 2, "is the database itself"),
        ("backup flowruns.db --force", 2, "is the database itself"), ("backup no/b.db", 5, "there is no folder"),
        ("backup notes.txt", 2, "--force"), ("check -d notes.txt", 5, "not a SQLite"),
        ("check -d .", 5, "is not a file"), ("prune", 2, "--older-than"),
        ("prune --older-than 30", 2, "is not an age"), ("prune --older-than 9999999w", 2, "year 1"),
        ("vacuum -d no.db", 5, "there is no database"),
    ],
)  # fmt: skip
def test_mistake_is_one_line_and_changes_nothing(
    tmp_path: Path, args: str, code: int, told: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "a").write_text(lines(3))
    monkeypatch.chdir(tmp_path)
    assert main(["import", "a"]) == 0
    capfd.readouterr()
    before = contents(tmp_path)
    assert main(args.split()) == code
    said = capfd.readouterr()
    assert told in said.err
    assert said.err.startswith("flowruns: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert contents(tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="named pipes")
def test_export_is_written_into_a_pipe_that_has_a_name(filled: Path) -> None:
    os.mkfifo(filled / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((filled / "pipe").read_bytes()))
    reader.start()
    assert done(filled, "export", "-o", "pipe").code == 0
    reader.join()
    assert read[0].count(b"\n") == 346
    assert names(filled) == ["flowruns.db", "pipe"]


def test_pipe_that_is_closed_ends_an_export_without_a_word(filled: Path) -> None:
    with started(filled, "export") as process:  # of 300 KB, far more than a pipe holds
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0
    assert names(filled) == ["flowruns.db"]


def test_filters_have_the_names_of_the_api_and_those_of_options(filled: Path) -> None:
    by_option = done(filled, "export", "--flow-type", "scorecard", "--tag", "source:github-checks").stdout
    assert by_option == done(filled, "export", "--flowType", "scorecard", "--tag", "source:github-checks").stdout
    assert {json.loads(line)["flowType"] for line in by_option.splitlines()} == {"scorecard"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
@pytest.mark.parametrize("command", ["export", "check", "prune --older-than 1d --dry-run", "vacuum", "ls"])
def test_output_that_is_full_is_told_in_one_line(filled: Path, command: str) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run([*COMMAND, *command.split()], cwd=filled, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr.startswith("flowruns: standard output cannot be written: ")) == (1, True)
    assert run.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_output_that_is_closed_is_no_fault(filled: Path) -> None:
    for command in ("ls", "get gh-711446981", "export", "check"):
        run = subprocess.run(
            f"{shlex.join(COMMAND)} {command} >&-", shell=True, cwd=filled, stderr=subprocess.PIPE, text=True
        )
        assert "Traceback" not in run.stderr


def test_database_is_not_written_over_by_what_is_made_of_it(filled: Path) -> None:
    with serving(filled):
        before = names(filled)
        for args in (
            "export -o flowruns.db-wal", "export -o flowruns.db.lock", "export -o ./flowruns.db",
            "backup flowruns.db-shm", "backup --force flowruns.db", "backup :memory:", "backup -",
        ):  # fmt: skip
            assert done(filled, *args.split()).code == 2, args
        assert names(filled) == before


@pytest.mark.parametrize("text", ['[{"id": "a"}]', '{\n  "id": "a"\n}'])
def test_file_that_has_no_object_on_any_line_is_told_what_is_wanted(tmp_path: Path, text: str) -> None:
    told = done(tmp_path, "import", "-", stdin=text)
    assert (told.code, told.stderr.endswith("; give one JSON object a line\n")) == (6, True)
    assert done(tmp_path, "import", "-", stdin="{}").stderr.endswith("nothing was imported\n")


# Beside a server


def test_what_is_served_is_read_and_not_changed(filled: Path) -> None:
    with serving(filled) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/late", RUN).status == 201
        before = names(filled)
        assert json.loads(done(filled, "export").stdout.splitlines()[-1])["id"] == "late"
        assert done(filled, "backup", "b.db").code == 0
        assert done(filled, "check").stdout == "flowruns.db is well: 347 runs, 0 deleted, schema 2\n"
        assert done(filled, "prune", "--older-than", "0s", "--dry-run").stdout.endswith(" would be deleted\n")
        assert names(filled) == sorted([*before, "b.db"])
        for args in (["import", "-"], ["prune", "--older-than", "0s"], ["vacuum"]):
            run = done(filled, *args, stdin=lines(1))
            assert (run.code, run.stdout) == (4, "")
            assert server.url in run.stderr
            assert "stop it" in run.stderr
        assert wire.ask("GET", f"{RUNS}?size=1").json["total"] == 347
        assert done(filled, "backup", "flowruns.db", "-d", "b.db", "--force").code == 4
        server.process.terminate()
        server.process.wait()
    assert names(filled) == ["b.db", "flowruns.db"]
    assert done(filled, "check", "-d", "b.db").stdout == "b.db is well: 347 runs, 0 deleted, schema 2\n"


def test_what_a_killed_server_had_acknowledged_is_exported(filled: Path) -> None:
    with serving(filled) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/late", RUN).status == 201
        server.process.kill()
        server.process.wait()
    assert json.loads(done(filled, "export").stdout.splitlines()[-1])["id"] == "late"
    assert done(filled, "check").stdout == "flowruns.db is well: 347 runs, 0 deleted, schema 2\n"


def test_server_does_not_start_on_a_file_that_is_being_imported_into(tmp_path: Path) -> None:
    with started(tmp_path, "import", "-") as importing:
        assert importing.stdin
        importing.stdin.write(lines(1000))
        importing.stdin.flush()
        while not (tmp_path / "flowruns.db.lock").exists():
            assert importing.poll() is None
        run = done(tmp_path, "--port", "0")
        assert (run.code, "an import" in run.stderr) == (4, True)
        importing.stdin.close()
        assert importing.wait() == 0


def test_backup_under_sixteen_writers_has_every_write_that_was_acknowledged_before(tmp_path: Path) -> None:
    stop = threading.Event()
    acknowledged: list[list[str]] = [[] for _ in range(16)]

    def write(number: int, url: str) -> None:
        with Wire(url) as wire:
            while not stop.is_set():
                id = f"w{number}-{len(acknowledged[number])}"
                assert wire.ask("PUT", f"{RUNS}/{id}", RUN).status == 201
                acknowledged[number].append(id)

    with serving(tmp_path) as server:
        writers = [threading.Thread(target=write, args=(number, server.url)) for number in range(16)]
        for writer in writers:
            writer.start()
        try:
            for round in range(3):
                while min(map(len, acknowledged)) < 10 * (round + 1):
                    assert all(writer.is_alive() for writer in writers)
                before = {id for ids in acknowledged for id in list(ids)}
                assert done(tmp_path, "backup", f"{round}.db").code == 0
                with closing(sqlite3.connect(tmp_path / f"{round}.db")) as copy:
                    assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
                    assert before <= {id for (id,) in copy.execute("select id from run")}
                assert done(tmp_path, "check", "-d", f"{round}.db").code == 0
        finally:
            stop.set()
            for writer in writers:
                writer.join()


# Copies


def test_backup_is_private_and_replaces_a_file_only_if_told(filled: Path) -> None:
    assert re.fullmatch(r"b\.db: 0\.\d MB\n", done(filled, "backup", "b.db").stdout)
    assert (filled / "b.db").stat().st_mode & 0o777 == 0o600
    assert dump(filled / "b.db") == dump(filled / "flowruns.db")
    assert done(filled, "backup", "b.db").code == 2
    assert done(filled, "backup", "b.db", "--force").code == 0
    assert names(filled) == ["b.db", "flowruns.db"]


def test_backup_does_not_come_to_lie_beside_the_log_of_another_database(filled: Path) -> None:
    (filled / "b.db-wal").write_bytes(b"something")
    run = done(filled, "backup", "b.db")
    assert run.code == 1
    assert "b.db-wal belongs to another database" in run.stderr
    assert names(filled) == ["b.db-wal", "flowruns.db"]


def test_backup_on_a_file_that_is_claimed_is_refused(filled: Path) -> None:
    with holder(filled / "b.db"):
        assert done(filled, "backup", "b.db").code == 4


# Check, prune, vacuum


def test_check_names_what_is_wrong_and_ends_with_5(filled: Path) -> None:
    with closing(sqlite3.connect(filled / "flowruns.db")) as connection:
        connection.executescript("update clock set runs = 1")
    run = done(filled, "check")
    assert (run.code, run.stdout) == (5, "clock: its number of runs is not theirs (1)\n")
    assert "flowruns.db is damaged" in run.stderr


def test_pruned_runs_are_gone_and_vacuum_gives_back_their_room(filled: Path) -> None:
    assert done(filled, "prune", "--older-than", "1d").stdout == "flowruns.db: 0 runs deleted\n"
    dry = done(filled, "prune", "--older-than", "0s", "--keep-failed", "--dry-run").stdout
    assert dry == "flowruns.db: 254 runs would be deleted, 92 failed ones kept\n"
    assert done(filled, "check").stdout.startswith("flowruns.db is well: 346 runs, 0 deleted")
    assert done(filled, "prune", "--older-than", "0s", "--keep-failed").stdout == dry.replace("would be ", "")
    assert done(filled, "check").stdout.startswith("flowruns.db is well: 92 runs, 254 deleted")
    before = (filled / "flowruns.db").stat().st_size
    assert re.fullmatch(r"flowruns\.db: \d\.\d MB, was \d\.\d MB\n", done(filled, "vacuum").stdout)
    assert (filled / "flowruns.db").stat().st_size < before
    assert done(filled, "check").code == 0
    assert names(filled) == ["flowruns.db"]


# Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("database", ["flowruns.db", "new.db"])
def test_interrupted_import_leaves_the_database_as_it_was_and_no_half_file(
    filled: Path, database: str, number: int
) -> None:
    before = dump(filled / "flowruns.db")
    with started(filled, "import", "-", "-d", database) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(lines(10_000))  # far more than a pipe holds: most of it has been read
        process.stdin.flush()
        process.send_signal(number)
        assert process.stderr.read() == "flowruns: interrupted, and nothing was changed\n"
        assert process.wait() == 130
    assert names(filled) == ["flowruns.db"]
    assert dump(filled / "flowruns.db") == before


@pytest.fixture(scope="module")
def large(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database on which commands take a while."""
    folder = tmp_path_factory.mktemp("large")
    shutil.copy(imported, folder)
    assert done(folder, "import", "-", stdin=lines(20_000)).code == 0
    return folder / "flowruns.db"


@pytest.mark.parametrize(
    ("args", "begun"), [("export -o out", "part"), ("backup out", "part"), ("prune --older-than 0s", "lock"),
                        ("vacuum", "lock")]
)  # fmt: skip
def test_interrupted_command_has_done_all_or_nothing(large: Path, tmp_path: Path, args: str, begun: str) -> None:
    shutil.copy(large, tmp_path)
    with started(tmp_path, *args.split()) as process:
        assert process.stdout
        assert process.stderr
        while process.poll() is None and not any(name.endswith(begun) for name in names(tmp_path)):
            pass
        process.send_signal(signal.SIGINT)
        said, told, code = process.stderr.read(), process.stdout.read(), process.wait()
    if code == 0:  # it was quicker than we
        assert told
        return
    assert (code, said) == (130, "flowruns: interrupted, and nothing was changed\n")
    assert names(tmp_path) == ["flowruns.db"]
    assert dump(tmp_path / "flowruns.db") == dump(large)


# A terminal


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    import pty

    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


DRAWING = command_with("flowruns.terminal.progress", _REDRAW_SECONDS=0.0)  # each step, however quick it is


def seen(folder: Path, args: list[str], env: Mapping[str, str]) -> bytes:
    """What a terminal got on stderr."""
    with terminal() as (ours, theirs):
        process = subprocess.Popen(
            [*DRAWING, *args], cwd=folder, env=clean(env), stdout=subprocess.DEVNULL, stderr=theirs
        )
        os.close(theirs)
        got = b""
        try:
            while data := os.read(ours, 65536):
                got += data
        except OSError:  # Linux says so that nobody has its other end
            pass
        assert process.wait() == 0
        return got


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_progress_is_shown_on_a_terminal_and_gone_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "many").write_text(lines(3_000))
    shown = seen(tmp_path, ["import", "many"], {"TERM": "xterm"})
    assert re.search(rb"importing  \[.*\] +\d+%  [\d,]+ runs, [\d,]+/s, \d:\d\d left", shown)
    assert b"\x1b[32m" in shown
    assert shown.endswith(b"\r\x1b[K")
    assert b"\x1b[32m" not in seen(tmp_path, ["import", "many"], {"TERM": "xterm", "NO_COLOR": "1"})
    assert seen(tmp_path, ["import", "many"], {"TERM": "dumb"}) == b""
