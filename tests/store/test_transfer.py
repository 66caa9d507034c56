"""Import and export of lines: preserved fields, reported errors, and all or nothing."""

import io
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowruns.errors import InputRefused
from flowruns.model.lines import RunLine, line_of
from flowruns.model.preconditions import ALWAYS
from flowruns.model.runs import RunPut, encode
from flowruns.model.validation import decode
from flowruns.sqlite.migrations import prepare
from flowruns.sqlite.open_file import open_exclusive, open_readonly
from flowruns.store.filters import where
from flowruns.store.reads import get as stored_runs
from flowruns.store.transfer import (
    DEFAULT_RULES,
    MAX_REPORTED,
    ImportObserver,
    ImportResult,
    ImportRules,
    export,
    import_lines,
    read_lines,
)
from flowruns.store.writes import Create, Delete, apply_writes
from tests.conftest import REAL_RUNS

Run = dict[str, Any]
NOW = datetime(2025, 1, 20, 18, 53, 3, 558000, UTC)
WHOLE = {
    "createdAt": "2024-02-29T00:00:00.000Z", "createdBy": 7, "updatedAt": "2024-03-01T00:00:00.000Z", "updatedBy": 8,
    "reviewedBy": 9, "reviewedAt": "2024-03-02T00:00:00.000Z",
}  # fmt: skip


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        prepare(connection)
        yield connection


def body(id: str = "a1", **fields: Any) -> Run:
    return {"id": id, "flowId": "f", "flowType": "automation", **fields}


def text(*runs: Run | str) -> bytes:
    return "".join(f"{run if isinstance(run, str) else json.dumps(run)}\n" for run in runs).encode()


def loaded(
    connection: sqlite3.Connection, data: bytes, rules: ImportRules = DEFAULT_RULES
) -> tuple[ImportResult | str, list[str]]:
    """The result of an import, or the message of its refusal, and the errors that it reported."""
    errors: list[str] = []
    try:
        result = import_lines(
            connection, read_lines([("x", io.BytesIO(data))]), rules, ImportObserver(errors.append), clock=lambda: NOW
        )
        return result, errors
    except InputRefused as error:
        return str(error), errors


def exported(connection: sqlite3.Connection, query: str = "") -> bytes:
    written: list[bytes] = []
    chosen = where([tuple(pair.split("=")) for pair in query.split("&") if pair], [])  # type: ignore[misc]  # two parts
    runs = export(connection, written.append, chosen)
    data = b"".join(written)
    assert data.count(b"\n") == runs
    return data


def ids(data: bytes) -> list[str]:
    return [json.loads(line)["id"] for line in data.splitlines()]


# Round trips


def test_export_and_import_and_export_again_gives_the_same_bytes(connection: sqlite3.Connection) -> None:
    assert loaded(connection, REAL_RUNS.read_bytes()) == (ImportResult(created=346), [])
    first = exported(connection)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        prepare(other)
        assert loaded(other, first) == (ImportResult(created=346), [])
        assert exported(other) == first


def test_whole_run_keeps_who_made_it_and_when(connection: sqlite3.Connection) -> None:
    assert loaded(connection, text(body(**WHOLE)))[0] == ImportResult(created=1)
    run = json.loads(exported(connection))
    assert {name: run[name] for name in WHOLE} == WHOLE


def test_body_of_put_is_written_as_a_put_writes_it(connection: sqlite3.Connection) -> None:
    loaded(connection, text(body(updatedBy=8, reviewedBy=9, logs=[{"message": "hi"}])))
    run = json.loads(exported(connection))
    assert (run["createdAt"], run["updatedAt"], run["phase"]) == ("2025-01-20T18:53:03.558Z",) * 2 + ("pending",)
    assert (run["createdBy"], run["updatedBy"], run["reviewedBy"]) == (None, None, None)
    assert run["logs"] == [
        {"timestamp": "2025-01-20T18:53:03.558Z", "message": "hi", "level": "info", "action": None}
    ]  # fmt: skip


def test_body_of_put_keeps_of_the_run_that_it_replaces_what_a_put_keeps(connection: sqlite3.Connection) -> None:
    loaded(connection, text(body(**WHOLE)))
    assert loaded(connection, text(body(phase="failed")))[0] == ImportResult(replaced=1)
    run = json.loads(exported(connection))
    assert (run["phase"], run["createdBy"], run["reviewedBy"], run["updatedBy"]) == ("failed", 7, 9, None)


def test_whole_run_replaces_all_of_the_one_that_there_is(connection: sqlite3.Connection) -> None:
    loaded(connection, text(body(**WHOLE)))
    loaded(connection, text(body(createdAt="2020-01-01T00:00:00Z")))
    run = json.loads(exported(connection))
    assert [run[name] for name in WHOLE] == ["2020-01-01T00:00:00.000Z", None] * 2 + [None, None]


def test_line_without_an_id_gets_one_that_sorts_by_time(connection: sqlite3.Connection) -> None:
    run = {"flowId": "f", "flowType": "automation"}
    assert loaded(connection, text(run, run, run))[0] == ImportResult(created=3)
    made = ids(exported(connection))
    assert made == sorted(made)
    assert len(set(made)) == 3


def test_order_of_creation_is_that_of_the_lines(connection: sqlite3.Connection) -> None:
    loaded(connection, text(body("c", **WHOLE), body("a"), body("b")))
    assert ids(exported(connection)) == ["c", "a", "b"]


def test_run_that_was_deleted_can_be_imported_again(connection: sqlite3.Connection) -> None:
    loaded(connection, text(body("a"), body("b")))
    data = exported(connection)
    connection.execute("begin")
    apply_writes(connection, [Delete("a", ALWAYS)], now=NOW, make_id=str)
    connection.execute("commit")
    assert loaded(connection, data)[0] == ImportResult(created=1, replaced=1)
    assert ids(exported(connection)) == ["b", "a"]


ODD = [
    '{"a":\n1}', '{\n}', '{"a": [1,\r\n\n 2]}', '{"n": 1e400, "z": -0, "big": ' + "9" * 309 + "}", '{"a":1,"a":2}',
    '{"\\u0000": "\\n\\u2028"}', '{"text": "\u2028\u0085é🙂"}', '{"a":' * 90 + "1" + "}" * 90, '{"x": " \\n ",\n"y":0}',
    "{}", "null", '{ "a" : "\\ud83d\\ude42" }',
]  # fmt: skip


def test_json_as_it_was_sent_survives_a_round_trip_however_it_is_laid_out(
    connection: sqlite3.Connection, chance: random.Random
) -> None:
    words = ["", "a", "a:b", 'quo"te', "\\", "\n", "é🙂", "\x00", "\u2028", "x" * 300]
    sent = []
    for number in range(300):
        tags = [{"key": chance.choice(words), "value": chance.choice(words)} for _ in range(chance.randrange(4))]
        logs = [{"message": chance.choice(words)} for _ in range(chance.randrange(3))]
        fields = [
            f'"id":"r-{number}"', '"flowId":"f"', '"flowType":"reference"', f'"tags":{json.dumps(tags)}',
            f'"args":{chance.choice(ODD)}', f'"outputs":{chance.choice(ODD)}', f'"logs":{json.dumps(logs)}',
        ]  # fmt: skip
        chance.shuffle(fields)
        sent.append("{" + ", ".join(fields) + "}")
    bodies = [decode(one.encode(), RunPut) for one in sent]
    connection.execute("begin")
    apply_writes(connection, [Create(one.id, one, chance.choice([None, 7])) for one in bodies], now=NOW, make_id=str)
    connection.execute("commit")
    first = exported(connection)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        prepare(other)
        assert loaded(other, first) == (ImportResult(created=300), [])
        assert exported(other) == first
        names = [f"r-{number}" for number in range(300)]
        docs = [[one and one.doc for one in stored_runs(each, names)] for each in (connection, other)]
        assert docs[0] == docs[1]


def test_exported_line_with_line_breaks_is_one_line_that_can_be_put() -> None:
    sent = decode(text(body(args="?")).replace(b'"?"', b'{"a":\n 1}').strip(), RunLine)
    line = line_of(encode(sent.run("a1", now="2025-01-20T18:53:03.558Z", by=None, preserved=None)))
    assert b"\n" not in line
    assert bytes(decode(line, RunPut).args) == b'{"a":  1}'
    assert bytes(decode(line, RunLine).args) == b'{"a":\n 1}'


@pytest.mark.parametrize(
    ("args", "as_sent"),
    [
        ('{"a": 2}', '{"a":\n1}'),  # somebody has changed it since
        ('{"a":" "}', '{"a":"\n"}'),  # a line break in a string is no JSON
        ("null", "{\n}"), ("{ }", ""),
    ],
)  # fmt: skip
def test_text_as_it_was_sent_that_is_not_that_of_the_value_is_passed_over(args: str, as_sent: str) -> None:
    line = f'{{"id":"a","flowId":"f","flowType":"reference","args":{args},"asSent":{json.dumps({"args": as_sent})}}}'
    assert bytes(decode(line.encode(), RunLine).args).decode() == args


# Errors


def test_every_error_of_every_line_is_reported_and_nothing_is_imported(connection: sqlite3.Connection) -> None:
    data = text(
        body("a"), '{"id":"B","tags":[{"key":1}]}', "", '{"a" 1}', body("c", createdAt="x", createdBy="7"),
        body("d", createdBy=2**63, updatedBy=-(2**63) - 1, reviewedBy=1.5, createdAt="2025-01-01T00:00:00"),
        body("e", createdAt="2025-01-02T00:00:00Z", updatedAt="2025-01-01T00:00:00Z"),
    )  # fmt: skip
    refused, errors = loaded(connection, data)
    assert refused == "13 errors in 5 lines of 6; nothing was imported"
    assert errors == [
        "x:2: body.flowId: Field required",
        "x:2: body.flowType: Field required",
        "x:2: body.id: String should match pattern '^([a-z0-9_.-]+)$': lower-case letters, digits, '_', '.' and '-'",
        "x:2: body.tags.0.key: Input should be a valid string",
        "x:2: body.tags.0.value: Field required",
        "x:4: byte 5: JSON decode error: expected ':'",
        "x:5: body.createdAt: Input should be a valid datetime: RFC 3339, as 2025-01-20T18:53:03.558Z",
        "x:5: body.createdBy: Input should be a valid integer",
        "x:6: body.createdAt: Input should have timezone info: Z, or an offset as +02:00",
        f"x:6: body.createdBy: Input should be less than or equal to {2**63 - 1}",
        f"x:6: body.updatedBy: Input should be greater than or equal to {-(2**63)}",
        "x:6: body.reviewedBy: Input should be a valid integer",
        "x:7: body: updatedAt should not be before createdAt",
    ]
    assert exported(connection) == b""


def test_a_hundred_errors_are_reported_and_the_rest_counted(connection: sqlite3.Connection) -> None:
    refused, errors = loaded(connection, text(*["{}"] * 70))
    assert len(errors) == MAX_REPORTED + 1
    assert errors[-1] == "and 40 more"
    assert str(refused).startswith("140 errors in 70 lines of 70;")


def test_error_cannot_forge_a_line_of_output(connection: sqlite3.Connection) -> None:
    _, errors = loaded(connection, text(body("a"), body("a\n\x1b[31mflowruns: all is well")))
    assert all(error.isprintable() for error in errors)


def test_valid_lines_are_imported_where_invalid_ones_are_skipped(connection: sqlite3.Connection) -> None:
    result, errors = loaded(connection, text(body("a"), "{}", body("b")), ImportRules(skip_invalid=True))
    assert result == ImportResult(created=2, invalid=1)
    assert str(result) == "2 created, 0 replaced, 1 invalid lines skipped"
    assert len(errors) == 2
    assert ids(exported(connection)) == ["a", "b"]


@pytest.mark.parametrize(
    ("rules", "result", "phases"),
    [
        (ImportRules(), ImportResult(created=1, replaced=2), {"a": "late", "b": "new"}),
        (ImportRules("skip"), ImportResult(created=1, unchanged=2), {"a": "old", "b": "new"}),
        (ImportRules("fail"), None, {"a": "old"}),
        (ImportRules("fail", skip_invalid=True), ImportResult(created=1, invalid=2), {"a": "old", "b": "new"}),
    ],
)
def test_lines_are_written_one_after_the_other(
    connection: sqlite3.Connection, rules: ImportRules, result: ImportResult | None, phases: dict[str, str]
) -> None:
    loaded(connection, text(body("a", phase="old")))
    given = text(body("a", phase="new"), body("b", phase="new"), body("a", phase="late"))
    found, errors = loaded(connection, given, rules)
    assert found == result or result is None
    if rules.on_conflict == "fail":
        assert errors == [f"x:{number}: body.id: There is a flow run 'a' already" for number in (1, 3)]
    assert {run["id"]: run["phase"] for run in map(json.loads, exported(connection).splitlines())} == phases


def test_empty_lines_marks_of_windows_and_no_last_newline_are_no_errors(connection: sqlite3.Connection) -> None:
    data = b"\xef\xbb\xbf" + text(body("a")).replace(b"\n", b"\r\n") + b"\r\n  \n" + text(body("b")).rstrip()
    assert loaded(connection, data) == (ImportResult(created=2), [])
    assert loaded(connection, b"\xef\xbb\xbf") == (ImportResult(), [])
    assert loaded(connection, b"") == (ImportResult(), [])


# All or nothing


def test_observer_that_raises_undoes_everything(connection: sqlite3.Connection) -> None:
    before = connection.execute("select seq, runs from sequence").fetchone()

    def at(runs: int, size: int) -> None:
        if runs > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_lines(
            connection,
            read_lines([("x", io.BytesIO(text(*[body(f"r{n}") for n in range(2000)])))]),
            observer=ImportObserver(on_progress=at),
        )
    assert exported(connection) == b""
    assert connection.execute("select seq, runs from sequence").fetchone() == before


def test_failing_import_leaves_the_file_as_it_was_and_removes_a_new_one(tmp_path: Path) -> None:
    file, data = tmp_path / "a.db", text(*[body(f"r{n}") for n in range(1000)])
    with open_exclusive(str(file), holder="x", make=True) as connection:
        loaded(connection, data)
    before = file.read_bytes()
    for name in ("a.db", "new.db"):
        with pytest.raises(InputRefused), open_exclusive(str(tmp_path / name), holder="x", make=True) as connection:
            import_lines(
                connection, read_lines([("x", io.BytesIO(data.replace(b"automation", b"scorecard") + b"{}\n"))])
            )
        assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
    assert file.read_bytes() == before


# Exports


def test_export_is_filtered_as_pages_are(connection: sqlite3.Connection) -> None:
    tags = [{"key": "env", "value": "prod"}]
    loaded(connection, text(body("a", phase="failed"), body("b", phase="failed", tags=tags), body("c", tags=tags)))
    assert ids(exported(connection, "phase=failed")) == ["a", "b"]
    assert ids(exported(connection, "phase=failed&tag=env:prod")) == ["b"]
    assert ids(exported(connection, "flowId=g")) == []


def test_export_leaves_out_what_comes_meanwhile_and_what_is_gone(tmp_path: Path) -> None:
    file = str(tmp_path / "a.db")
    with open_exclusive(file, holder="x", make=True) as connection:
        loaded(connection, text(*[body(f"r{n}") for n in range(3000)]))
        written: list[bytes] = []

        def write(data: bytes) -> None:
            if not written:
                loaded(connection, text(body("late"), body("r0", phase="late"), body("r2999", phase="late")))
            written.append(data)

        with open_readonly(file) as other:
            assert export(other, write) == 3000
    runs = {run["id"]: run["phase"] for run in map(json.loads, b"".join(written).splitlines())}
    assert len(runs) == 3000
    assert (runs["r0"], runs["r2999"]) == ("pending", "late")
