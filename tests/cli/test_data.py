"""The commands on what is in a file, as processes of their own: what they say, leave, refuse, and survive."""

import bz2
import gzip
import json
import lzma
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flowruns.cli.main import main
from tests.cli.terminals import in_terminal, posix, shown
from tests.cli.test_main import one_line, sql
from tests.conftest import REAL_RUNS, RUNS
from tests.processes import COMMAND, command_with, done, ended, serving, started
from tests.sqlite.files import another_process, contents
from tests.waits import HANG
from tests.wire import RUN, Wire

DATA_COMMANDS = ["import x", "export", "backup b.db", "check", "prune --older-than 1d", "vacuum"]


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
        "flowruns: 2 errors in 1 line of 4; nothing was imported",
    ]
    assert (run.code, run.stdout) == (6, "")
    assert names(tmp_path) == ["a", "b", "flowruns.db"]


@pytest.mark.parametrize(
    ("args", "code", "output"),
    [
        ("import", 2, "FILE…"), ("import nowhere", 2, "nowhere cannot be read"), ("import .", 2, ". cannot be read"),
        ("import a -d :memory:", 5, ":memory:"), ("import a -d no/a.db", 5, "there is no folder"),
        ("export -d no.db", 5, "there is no database"), ("export no.db", 2, "name the database with -d FILE"),
        ("export --phase 1x --created-by x", 2, "'--phase': String should match"),
        ("export -o no/x", 1, "no/x cannot be written"), ("export -o .", 1, ". cannot be written"),
        ("export -o flowruns.db", 2, "is the database itself"), ("backup flowruns.db", 2, "is the database itself"),
        ("backup flowruns.db --force", 2, "is the database itself"), ("backup no/b.db", 5, "there is no folder"),
        ("backup notes.txt", 2, "--force"), ("check -d notes.txt", 5, "not a SQLite"),
        ("check -d .", 5, "is not a file"), ("prune", 2, "--older-than"),
        ("prune --older-than 30", 2, "is not an age"), ("prune --older-than 9999999w", 2, "year 1"),
        ("vacuum -d no.db", 5, "there is no database"), ("restore", 2, "FILE"), ("restore no.db", 5, "no.db"),
        ("restore flowruns.db", 2, "is the database itself"), ("restore :memory:", 2, "a backup is a file"),
        ("restore flowruns.db -d :memory:", 2, "a backup is a file"), ("restore - -d new.db", 2, "a backup is a file"),
        ("restore flowruns.db -d no/b.db", 5, "there is no folder"), ("restore a -d b.db", 5, "not a SQLite"),
    ],
)  # fmt: skip
def test_mistake_is_one_line_and_changes_nothing(
    tmp_path: Path,
    args: str,
    code: int,
    output: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "a").write_text(lines(3))
    assert main(["import", "a"]) == 0
    capfd.readouterr()
    before = contents(tmp_path)
    assert main(args.split()) == code
    err = capfd.readouterr()
    assert output in err.err
    assert err.err.startswith("flowruns: ")
    assert err.err.count("\n") == 1
    assert err.out == ""
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


def test_filters_have_the_names_of_the_api_and_those_of_options(filled: Path) -> None:
    by_option = done(filled, "export", "--flow-type", "scorecard", "--tag", "source:github-checks").stdout
    assert by_option == done(filled, "export", "--flowType", "scorecard", "--tag", "source:github-checks").stdout
    assert {json.loads(line)["flowType"] for line in by_option.splitlines()} == {"scorecard"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
@pytest.mark.parametrize(
    "command",
    ["export", "check", "prune --older-than 1d --dry-run", "vacuum", "ls", "--help", "ls --help", "--version", "status",
     "status --json"],
)  # fmt: skip
def test_output_that_is_full_is_reported_in_one_line(filled: Path, command: str) -> None:
    with Path("/dev/full").open("w") as full, started(filled, *command.split(), stdout=full.fileno()) as process:
        err = one_line(process.stderr.read())
        assert (process.wait(), "standard output cannot be written: No space left" in err) == (1, True)


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


FORMATS = {
    "one JSON document on several lines": (b'{\n  "id": "a",\n  "tags": [\n    {}\n  ]\n}\n', "jq -c . FILE"),
    "a page of the API": (b'{"items":[{"id":"a"}],"total":1}', "jq -c '.items[]' FILE"),
    "a page of the API\n": (b'{\n  "items": [\n', "jq -c '.items[]' FILE"),
    "compressed with zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "zstd -dc FILE"),
    "compressed with bzip2": (bz2.compress(b"{}"), "bunzip2 -c FILE"),
    "compressed with xz": (lzma.compress(b"{}"), "xz -dc FILE"),
    "a ZIP archive": (b"PK\x03\x04" + bytes(30), "unzip -p FILE"),
    "a tar archive": (gzip.compress(b"a.ndjson".ljust(257, b"\0") + b"ustar\x0000"), "tar -xOf FILE"),
    "UTF-32": ('{"id": "a"}\n'.encode("utf-32"), "iconv -f UTF-32 -t UTF-8 FILE"),
    "text without JSON objects": (b'[tool]\nname = "x"\n' * 1000, "as `flowruns export` writes them"),
    "text without JSON objects\r": (b'[[tool]]\nname = "x"\n', "as `flowruns export` writes them"),
    "text without JSON objects\n": ("nothing".encode("utf-16"), "as `flowruns export` writes them"),
}


@pytest.mark.parametrize("what", FORMATS)
@pytest.mark.parametrize("command", ["import a.txt", "serve --port 0 --seed a.txt"])
def test_file_of_another_format_is_named_once_with_the_cure(tmp_path: Path, command: str, what: str) -> None:
    content, cure = FORMATS[what]
    (tmp_path / "a.txt").write_bytes(content)
    run = done(tmp_path, *command.split())
    assert (run.code, run.stdout) == (6, "")
    assert run.stderr.startswith(f"flowruns: a.txt is {what.strip()}, not one JSON object a line")
    assert cure.replace("FILE", "a.txt") in run.stderr
    assert run.stderr.count("\n") == 1
    assert names(tmp_path) == ["a.txt"]


def test_standard_input_of_another_format_is_named_once(tmp_path: Path) -> None:
    run = done(tmp_path, "import", "-", stdin='{"items":[{"id": "a"}]}')
    assert (run.code, run.stderr.count("\n")) == (6, 1)
    assert "- is a page of the API" in run.stderr
    assert "jq -c '.items[]' FILE" in run.stderr


RUN_LINE = '{"id": "a%d", "flowId": "f", "flowType": "automation", "args": {"n": [1E5, "],[é"]}}'
TAKEN = {
    "gzip": gzip.compress((RUN_LINE % 1 + "\n" + RUN_LINE % 2).encode()),
    "UTF-16": f"{RUN_LINE % 1}\r\n\n{RUN_LINE % 2}\n".encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + f"{RUN_LINE % 1}\n{RUN_LINE % 2}".encode("utf-16-be"),
    "an array": f"[{RUN_LINE % 1},{RUN_LINE % 2}]".encode(),
    "an array on lines": f"\ufeff\n[\n{RUN_LINE % 1},\n\n  {RUN_LINE % 2}\n]\n".encode(),
    "all of it": gzip.compress(f"[{RUN_LINE % 1}\n,{RUN_LINE % 2}]".encode("utf-16")),
}


@pytest.mark.parametrize("what", TAKEN)
@pytest.mark.parametrize("from_pipe", [False, True])
def test_runs_are_imported_from_other_formats(tmp_path: Path, what: str, from_pipe: bool) -> None:
    (tmp_path / "a").write_bytes(TAKEN[what])
    command = [*COMMAND, "import", "-d", "a.db", "-" if from_pipe else "a"]
    data = TAKEN[what] if from_pipe else b""
    run = subprocess.run(command, cwd=tmp_path, input=data, capture_output=True, timeout=HANG)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"a.db: 2 created, 0 replaced\n", b"")
    exported = done(tmp_path, "export", "-d", "a.db").stdout.splitlines()
    assert [json.loads(line)["id"] for line in exported] == ["a1", "a2"]
    assert all('"args":{"n": [1E5, "],[é"]}' in line for line in exported)


def test_server_starts_with_the_runs_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(TAKEN["all of it"])
    with serving(tmp_path, ":memory:", "--seed", "a.gz") as server:
        assert "2 runs" in server.banner[2]


def test_errors_in_an_array_have_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f'[\n{RUN_LINE % 1},\n\n{{"id": 7}},\n, [1]\n]\n')
    run = done(tmp_path, "import", "-d", "a.db", "a")
    assert (run.code, run.stdout) == (6, "")
    assert [line.split(" ")[0] for line in run.stderr.splitlines()] == [*["a:4:"] * 3, *["a:5:"] * 2, "flowruns:"]
    assert names(tmp_path) == ["a"]


def test_database_is_not_imported(filled: Path) -> None:
    run = done(filled, "import", "flowruns.db", "-d", "new.db")
    assert (run.code, run.stderr.count("\n")) == (6, 1)
    assert "flowruns.db is a SQLite database" in run.stderr
    assert "flowruns export -d flowruns.db | flowruns import -" in run.stderr
    assert names(filled) == ["flowruns.db"]


def test_lines_with_errors_are_still_reported_each(tmp_path: Path) -> None:
    for text in ('{"id": "c", "f"}\n', "{}\n", f"{{broken\n{lines(1)}", f"# comment\n{lines(1)}"):
        run = done(tmp_path, "import", "-", stdin=text)
        assert (run.code, run.stderr.startswith("-:1: ")) == (6, True)
        assert "nothing was imported" in run.stderr
    assert done(tmp_path, "import", "-", "--skip-invalid", stdin="# one\n# two\n").code == 0


def test_one_run_is_counted_in_the_singular(tmp_path: Path) -> None:
    assert done(tmp_path, "import", "-", stdin=lines(1)).code == 0
    assert done(tmp_path, "export", "-o", "a").stdout == "a: 1 run\n"
    assert done(tmp_path, "check").stdout == "flowruns.db is ok: 1 run, 0 deleted, schema 3\n"
    prune = ("prune", "--older-than", "0s", "--keep-failed")
    assert done(tmp_path, *prune, "--dry-run").stdout == (
        "flowruns.db: 1 run would be deleted, 0 failed runs kept\n"
    )  # fmt: skip
    with serving(tmp_path) as server:
        assert "flowruns.db (1 run) " in server.banner[-1]
        assert done(tmp_path, "status").stdout.endswith(", 1 run)\n")
    assert done(tmp_path, *prune).stdout == "flowruns.db: 1 run deleted, 0 failed runs kept\n"


# Beside a server


def test_what_is_served_is_read_and_not_changed(filled: Path) -> None:
    with serving(filled) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/late", RUN).status == 201
        before = names(filled)
        assert json.loads(done(filled, "export").stdout.splitlines()[-1])["id"] == "late"
        assert done(filled, "backup", "b.db").code == 0
        assert done(filled, "check").stdout == "flowruns.db is ok: 347 runs, 0 deleted, schema 3\n"
        assert done(filled, "prune", "--older-than", "0s", "--dry-run").stdout.endswith(" would be deleted\n")
        assert names(filled) == sorted([*before, "b.db"])
        for args in (["import", "-"], ["prune", "--older-than", "0s"], ["vacuum"]):
            run = done(filled, *args, stdin=lines(1))
            assert (run.code, run.stdout) == (4, "")
            assert server.url in run.stderr
            assert "stop it" in run.stderr
        with Wire(server.url) as later:  # the server closes the first connection once it has been idle for 75 s
            assert later.ask("GET", f"{RUNS}?size=1").json["total"] == 347
        assert done(filled, "backup", "flowruns.db", "-d", "b.db", "--force").code == 4
        server.process.terminate()
        server.process.wait()
    assert names(filled) == ["b.db", "flowruns.db"]
    assert done(filled, "check", "-d", "b.db").stdout == "b.db is ok: 347 runs, 0 deleted, schema 3\n"


def test_what_a_killed_server_had_acknowledged_is_exported(filled: Path) -> None:
    killed(filled, "late")
    assert json.loads(done(filled, "export").stdout.splitlines()[-1])["id"] == "late"
    assert done(filled, "check").stdout == "flowruns.db is ok: 347 runs, 0 deleted, schema 3\n"


@contextmanager
def reader(folder: Path) -> Iterator[sqlite3.Connection]:
    """Another program in a read transaction on `flowruns.db`."""
    with closing(sqlite3.connect(folder / "flowruns.db", isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from run").fetchone()
        yield reader


@pytest.mark.parametrize("command", ["prune --older-than 0s", "vacuum", "import x"])
def test_command_says_once_that_a_reader_holds_the_wal(filled: Path, command: str) -> None:
    (filled / "x").write_text(lines(1))
    with reader(filled):
        run = done(filled, *command.split())
    assert (run.code, run.stderr.count("\n")) == (0, 1)
    assert run.stderr.startswith("flowruns: another program reads ")
    assert done(filled, "check").code == 0
    assert names(filled) == ["flowruns.db", "x"]


def test_vacuum_reports_the_size_that_the_file_will_have(filled: Path) -> None:
    assert done(filled, "prune", "--older-than", "0s").code == 0
    before = (filled / "flowruns.db").stat().st_size
    with reader(filled):
        run = done(filled, "vacuum")
        assert (filled / "flowruns.db").stat().st_size == before
    after = (filled / "flowruns.db").stat().st_size
    assert after < before
    assert run.stdout == f"flowruns.db: {after / 1e6:.1f} MB, was {before / 1e6:.1f} MB\n"


def test_server_says_once_that_a_reader_holds_the_wal(filled: Path) -> None:
    with serving(filled) as server, Wire(server.url) as wire, reader(filled):
        assert wire.ask("PUT", f"{RUNS}/late", RUN).status == 201
        server.process.terminate()
        code, stderr = ended(server.process)
    assert (code, stderr.count("\n")) == (0, 1)
    assert "another program reads" in stderr
    assert names(filled) == ["flowruns.db"]
    assert done(filled, "check").stdout == "flowruns.db is ok: 347 runs, 0 deleted, schema 3\n"


def test_server_does_not_start_on_a_file_that_is_being_imported_into(tmp_path: Path) -> None:
    with started(tmp_path, "import", "-") as importing:
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


def test_backup_is_private_and_replaces_a_file_only_with_force(filled: Path) -> None:
    assert re.fullmatch(r"b\.db: 0\.\d MB\n", done(filled, "backup", "b.db").stdout)
    assert (filled / "b.db").stat().st_mode & 0o777 == 0o600
    assert dump(filled / "b.db") == dump(filled / "flowruns.db")
    assert done(filled, "backup", "b.db").code == 2
    assert done(filled, "backup", "b.db", "--force").code == 0
    assert names(filled) == ["b.db", "flowruns.db"]


def killed(folder: Path, *ids: str) -> None:
    """Leaves a WAL beside the database in *folder*."""
    with serving(folder, "flowruns.db") as server:
        with Wire(server.url) as wire:
            for id in ids:
                assert wire.ask("PUT", f"{RUNS}/{id}", RUN).status == 201
        server.process.kill()
        server.process.wait()
    assert "flowruns.db-wal" in names(folder)


def test_backup_beside_the_wal_of_a_removed_database_sets_it_aside(filled: Path) -> None:
    assert done(filled, "backup", "b.db").code == 0
    killed(filled, "w")
    for end in ("-wal", ".lock"):
        (filled / f"flowruns.db{end}").rename(filled / f"c.db{end}")
    run = done(filled, "backup", "c.db", "-d", "b.db")
    assert (run.code, run.stderr.count("\n")) == (0, 1)
    assert run.stderr.endswith(
        "c.db-wal belongs to another file (the database was removed); it is now c.db-wal.aside\n"
    )
    assert dump(filled / "c.db") == dump(filled / "b.db")


def test_forced_backup_replaces_a_file_and_its_wal(filled: Path) -> None:
    assert done(filled, "backup", "b.db").code == 0
    killed(filled, "w")
    run = done(filled, "backup", "flowruns.db", "-d", "b.db", "--force")
    assert (run.code, run.stderr) == (0, "")
    assert names(filled) == ["b.db", "flowruns.db"]
    assert dump(filled / "flowruns.db") == dump(filled / "b.db")


def test_backup_needs_no_file_beside_it_and_is_no_part_of_another(filled: Path) -> None:
    assert done(filled, "backup", "b.db").code == 0
    killed(filled, "w")
    (filled / "flowruns.db.lock").unlink()
    shutil.copy(filled / "b.db", filled / "flowruns.db")
    run = done(filled, "check")
    assert (run.code, run.stderr.count("\n")) == (0, 1)
    assert "it is now flowruns.db-wal.aside" in run.stderr
    assert dump(filled / "flowruns.db") == dump(filled / "b.db")


def test_backup_on_a_file_that_is_locked_is_refused(filled: Path) -> None:
    with another_process(filled / "b.db"):
        assert done(filled, "backup", "b.db").code == 4


def test_restored_backup_takes_the_place_of_the_database_which_is_kept(filled: Path) -> None:
    assert done(filled, "backup", "b.db").code == 0
    expected = dump(filled / "b.db")
    killed(filled, "w1", "w2")
    (filled / "flowruns.db").chmod(0o644)
    for kept in ("flowruns.db.replaced", "flowruns.db.replaced.2"):
        run = done(filled, "restore", "b.db")
        assert (run.code, run.stderr) == (0, "")
        first, second = run.stdout.splitlines()
        assert re.fullmatch(r"flowruns\.db: restored from b\.db, 0\.\d MB, 346 runs", first)
        assert second == f"flowruns.db: the replaced database is now {kept}"
        assert dump(filled / "flowruns.db") == expected
        assert (filled / "flowruns.db").stat().st_mode & 0o777 == 0o600
    assert names(filled) == [
        "b.db", "flowruns.db", "flowruns.db.replaced", "flowruns.db.replaced-wal", "flowruns.db.replaced.2",
    ]  # fmt: skip
    assert '"id":"w2"' in done(filled, "export", "-d", "flowruns.db.replaced").stdout
    with serving(filled, "flowruns.db") as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/new", RUN).status == 201


def test_backup_is_restored_where_there_is_no_database(filled: Path) -> None:
    assert done(filled, "restore", "flowruns.db", "-d", "new.db").code == 0
    assert dump(filled / "new.db") == dump(filled / "flowruns.db")
    assert names(filled) == ["flowruns.db", "new.db"]


def test_restore_of_a_database_with_a_wal_has_its_last_write(filled: Path) -> None:
    killed(filled, "w")
    assert done(filled, "restore", "flowruns.db", "-d", "new.db").code == 0
    assert '"id":"w"' in done(filled, "export", "-d", "new.db").stdout


def test_served_database_is_not_replaced(filled: Path) -> None:
    assert done(filled, "backup", "b.db").code == 0
    with serving(filled, "flowruns.db") as server:
        before = names(filled)
        run = done(filled, "restore", "b.db")
        assert (run.code, run.stdout) == (4, "")
        assert "is in use by another flowruns" in run.stderr
        assert names(filled) == before
        with Wire(server.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/new", RUN).status == 201


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: sql(path, "delete from tag"), "b.db is damaged (tag: rows missing"),
        (lambda path: sql(path, "pragma user_version = 0"), "its header says schema 0, but it has tables"),
        (lambda path: path.write_text("notes" * 100), "is not a SQLite database"),
        (lambda path: path.write_bytes(b""), "b.db is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is truncated"),
        (Path.unlink, "there is no database"),
    ],
)
def test_what_is_no_backup_does_not_replace_the_database(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    assert done(tmp_path, "import", "-", stdin=REAL_RUNS.read_text()).code == 0
    assert done(tmp_path, "backup", "b.db").code == 0
    change(tmp_path / "b.db")
    before = contents(tmp_path)
    run = done(tmp_path, "restore", "b.db")
    assert (run.code, run.stdout, run.stderr.count("\n")) == (5, "", 1)
    assert message in run.stderr
    assert contents(tmp_path) == before


def test_file_of_others_is_not_replaced_by_a_backup(filled: Path) -> None:
    (filled / "notes.txt").write_text("notes")
    before = contents(filled)
    run = done(filled, "restore", "flowruns.db", "-d", "notes.txt")
    assert (run.code, run.stderr.count("\n")) == (5, 1)
    assert "notes.txt is not a database of flowruns" in run.stderr
    assert contents(filled) == before


# Check, prune, vacuum


@pytest.mark.parametrize("command", [*DATA_COMMANDS[1:], "serve flowruns.db --port 0", "ls"])
def test_header_and_content_that_disagree_are_one_line_and_exit_code_5(filled: Path, command: str) -> None:
    sql(filled / "flowruns.db", "pragma user_version = 0")
    before = contents(filled)
    run = done(filled, *command.split())
    assert (run.code, run.stdout, run.stderr.count("\n")) == (5, "", 1)
    assert "flowruns.db cannot be used: its header says schema 0, but it has tables; restore it" in run.stderr
    assert contents(filled) == before


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("pragma user_version = 1", "its tables are not those of the schema that its header names: restore it"),
        (
            "pragma writable_schema = on; delete from sqlite_schema; pragma writable_schema = off",
            "its header says schema 3, but it has no tables; restore it from a backup",
        ),
    ],
)
def test_tables_of_another_schema_than_the_header_says_are_one_line(
    filled: Path, statements: str, message: str
) -> None:
    sql(filled / "flowruns.db", statements)
    for command in ("vacuum", "serve --port 0"):
        run = done(filled, *command.split())
        assert (run.code, run.stderr.count("\n")) == (5, 1), command
        assert "flowruns.db cannot be used: " in run.stderr
        assert message in run.stderr


def test_check_says_what_a_copy_of_a_served_database_needs(tmp_path: Path) -> None:
    killed(tmp_path, "w")
    shutil.copy(tmp_path / "flowruns.db", tmp_path / "copy.db")
    run = done(tmp_path, "check", "-d", "copy.db")
    assert run.code == 0
    assert run.stdout.splitlines()[1:] == [
        "if this is a copy of a database that was served: it needs copy.db-wal, too; copy with `flowruns backup`"
    ]


def test_check_names_what_is_wrong_and_ends_with_5(filled: Path) -> None:
    sql(filled / "flowruns.db", "update sequence set runs = 1")
    run = done(filled, "check")
    assert (run.code, run.stdout) == (5, "sequence: runs is not the number of runs (1)\n")
    assert "flowruns.db is damaged" in run.stderr


def test_pruned_runs_are_gone_and_vacuum_gives_back_their_room(filled: Path) -> None:
    assert done(filled, "prune", "--older-than", "1d").stdout == "flowruns.db: 0 runs deleted\n"
    dry = done(filled, "prune", "--older-than", "0s", "--keep-failed", "--dry-run").stdout
    assert dry == "flowruns.db: 254 runs would be deleted, 92 failed runs kept\n"
    assert done(filled, "check").stdout.startswith("flowruns.db is ok: 346 runs, 0 deleted")
    assert done(filled, "prune", "--older-than", "0s", "--keep-failed").stdout == dry.replace("would be ", "")
    assert done(filled, "check").stdout.startswith("flowruns.db is ok: 92 runs, 254 deleted")
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
        process.stdin.write(lines(10_000))  # far more than a pipe holds: most of it has been read
        process.stdin.flush()
        process.send_signal(number)
        assert process.stderr.read() == "flowruns: interrupted; nothing was changed\n"
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
        while process.poll() is None and not any(name.endswith(begun) for name in names(tmp_path)):
            pass
        process.send_signal(signal.SIGINT)
        err, output, code = process.stderr.read(), process.stdout.read(), process.wait()
    if code == 0:  # it was quicker than we
        assert output
        return
    assert (code, err) == (130, "flowruns: interrupted; nothing was changed\n")
    assert names(tmp_path) == ["flowruns.db"]
    assert dump(tmp_path / "flowruns.db") == dump(large)


# A terminal


DRAWING = command_with("flowruns.terminal.progress", _REDRAW_SECONDS=0.0)  # each step, however quick it is


def seen(folder: Path, env: Mapping[str, str]) -> str:
    """What an import writes to stderr, a terminal."""
    with in_terminal(folder, "import", "many", streams=["stderr"], env=env, command=DRAWING) as (process, screen):
        got = shown(screen)
        assert process.wait() == 0
        return got


@posix
def test_progress_is_shown_on_a_terminal_and_gone_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "many").write_text(lines(3_000))
    drawn = seen(tmp_path, {})
    assert re.search(r"importing  \[.*\] +\d+%  [\d,]+ runs, [\d,]+/s, \d:\d\d left", drawn)
    assert "\x1b[32m" in drawn
    assert drawn.endswith("\r\x1b[K")
    assert "\x1b[32m" not in seen(tmp_path, {"NO_COLOR": "1"})
    assert seen(tmp_path, {"TERM": "dumb"}) == ""
