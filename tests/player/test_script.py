"""Scripts: what they say, and every mistake in them with its line."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw
from msgspec.json import decode

from flowruns.errors import InputRefused
from flowruns.model.runs import RunPut, encode
from flowruns.player.progress import applied, last, state
from flowruns.player.script import Script, ScriptInvalid
from flowruns.player.steps import Move

SCRIPTS = Path(__file__).parents[2] / "flowruns" / "scripts"
NOW = "2026-01-20T18:53:03.000Z"
FLOWS = [("deploy", "deploy-web"), ("matrix", "web.tests"), ("terraform", "terraform-network")]  # that a script plays


def body(**fields: Any) -> RunPut:
    return decode(encode({"flowId": "deploy-web", "flowType": "automation", **fields}), type=RunPut)


def played(script: Script, run: RunPut, seed: int = 0, id: str = "web-1") -> list[Move]:
    part = script.part(id, run, seed)
    return [] if part is None else list(part.moves)


def one_rule(steps: str, conditions: str = 'flowId = "deploy-*"') -> Script:
    return Script.parse(f"[[rule]]\n{conditions}\nsteps = [\n{steps}\n]\n")


def step(text: str) -> str:
    """A script whose step on line 4 is *text*."""
    return f'[[rule]]\nflowId = "a"\nsteps = [\n  {{ {text} }},\n]\n'


def start(text: str) -> str:
    """A script that starts runs, from line 3 on as *text* says."""
    return f'[[start]]\nflowId = "a"\n{text}\n'


# The mistake, and its line and words. Each is one that people make.
WRONG = [
    ("", "1: there is no rule"),
    ("# nothing\n", "1: there is no rule"),
    ('[[rules]]\nsteps = [{ end = "failed" }]', "1: a script has no 'rules'; did you mean 'rule'?"),
    ('[rule]\nsteps = [{ end = "failed" }]', "1: 'rule' must be a list"),
    ("rule = []", "1: 'rule' must be a list with at least one table"),
    ("rule = [1]", "1: each item of 'rule' must be a table"),
    ('[[rule]]\nflowId = "a"', "1: a rule needs steps"),
    ('[[rule]]\nflow_id = "a"\nsteps = [{ hang = true }]', "2: a rule has no 'flow_id'; did you mean 'flowId'?"),
    ("[[rule]]\nflowId = 7\nsteps = [{ hang = true }]", "2: 'flowId' must be an id"),
    ('[[rule]]\nflowId = "Deploy Web"\nsteps = [{ hang = true }]', "2: 'flowId' must be an id"),
    ("[[rule]]\nflowId = []\nsteps = [{ hang = true }]", "2: 'flowId' is an empty list"),
    ('[[rule]]\nflowType = "job"\nsteps = [{ hang = true }]', "2: 'flowType' must be one of automation"),
    ('[[rule]]\ntags = ["env:prod"]\nsteps = [{ hang = true }]', "2: 'tags' must be a table"),
    ("[[rule]]\ntags = { n = 1 }\nsteps = [{ hang = true }]", "2: the tag 'n' must be a text in quotes, as in \"1\""),
    ('[[rule]]\nargs = "main"\nsteps = [{ hang = true }]', "2: 'args' must be a table"),
    ("[[rule]]\nargs = { a.b = nan }\nsteps = [{ hang = true }]", "2: JSON has no infinity"),
    ('[[rule]]\nphase = "not yet"\nsteps = [{ hang = true }]', "2: 'phase' must be a word"),
    ("[[rule]]\nsteps = 3", "2: 'steps' must be a list"),
    ("[[rule]]\nsteps = []", "2: 'steps' must be a list with at least one table"),
    ('[[rule]]\nsteps = [\n  "wait",\n]', "3: each item of 'steps' must be a table"),
    (step(""), "4: this step does nothing"),
    (step('wiat = "2s"'), "4: a step has no 'wiat'; did you mean 'wait'?"),
    (step("wait = 2"), "4: 'wait' is no duration; a number needs a unit: \"2s\""),
    (step('wait = "2 seconds"'), "4: 'wait' is no duration; write \"2s\""),
    (step('wait = "3s..1s"'), "4: 'wait' is a range that ends before it begins"),
    (step('wait = "1s..2s..3s"'), "4: 'wait' is no duration"),
    (step('wait = "30000h"'), "4: 'wait' is over a year; for a run that never ends, write { hang = true }"),
    (step('wait = "2s", end = "failed"'), "4: 'wait' and 'end' are two steps"),
    (step('phase = "on hold"'), "4: 'phase' must be a word"),
    (step("action = 1"), "4: 'action' must be a text in quotes"),
    (step('action = ""'), "4: 'action' is empty"),
    (step('action = "a", lines = 3'), "4: 'lines' is about lines of a log"),
    (step('action = "a", duration = "3s"'), "4: a step with 'action' has no 'duration'"),
    (step('log = "x", lines = 0'), "4: 'lines' must be from 1 to 10,000"),
    (step('log = "x", lines = "many"'), "4: 'lines' must be a whole number"),
    (step('log = "x", level = ""'), "4: 'level' must be a word"),
    (step('log = "on {arg.ref}"'), "4: there is no {arg.ref}; did you mean {args.ref}?"),
    (step('log = "run {run.name}"'), "4: there is no {run.name}; a run has {run.id}"),
    (step('log = "on {args.}"'), "4: {args.} names no value"),
    (step('outputs = "done"'), "4: 'outputs' must be a table"),
    (step("outputs = { x = inf }"), "4: JSON has no infinity"),
    (step("outputs = { x = [{ y = 1e400 }] }"), "4: JSON has no infinity, which 1e400 is too"),
    (step("outputs = { x = 0x8000000000000000 }"), "4: an integer has over 64 bits"),
    (step("outputs = { x = 2026-01-20T18:53:03 }"), "4: a date with a time needs a time zone: 2026-01-20T18:53:03Z"),
    (step("outputs = { x = 0001-01-01T00:00:00+01:00 }"), "4: a time must be within the years 1 to 9999 in UTC"),
    (step('end = "running"'), "4: a run does not end in 'running'"),
    (step("hang = false"), "4: 'hang' must be true"),
    (step("repeat = 3"), "4: 'repeat' needs steps"),
    (step('repeat = -1, steps = [{ wait = "1s" }]'), "4: 'repeat' must be from 1 to 1,000"),
    (step("one_of = []"), "4: 'one_of' must be a list with at least one table"),
    (step('one_of = [{ weight = 0, steps = [{ end = "failed" }] }]'), "4: 'weight' must be a number above 0"),
    (step("one_of = [{ wieght = 1, steps = [] }]"), "4: a branch of 'one_of' has no 'wieght'; did you mean 'weight'?"),
    (step('end = "failed" },\n  { wait = "1s"'), "5: nothing is played after end"),
    (step('hang = true },\n  { end = "failed"'), "5: nothing is played after hang"),
    (start(""), "1: this starts nothing; add count = 1, past = 20, or every"),
    ("[[start]]\ncount = 1", '1: a start needs a flow; add flowId = "deploy-web"'),
    ("start = 3", "1: 'start' must be a list with at least one table, as in [[start]]"),
    (start("cuont = 3"), "3: a start has no 'cuont'; did you mean 'count'?"),
    ('[[start]]\nflow = "a"\ncount = 1', "2: a start has no 'flow'; did you mean 'flowId'?"),
    (start("count = 0"), "3: 'count' must be a whole number from 1 to 100,000"),
    (start('count = "5"'), "3: 'count' must be a whole number"),
    (start("past = 1e3"), "3: 'past' must be a whole number"),
    (start('every = "0s..5s"'), "3: 'every' must be longer than 0"),
    (start("every = 5"), "3: 'every' is no duration; a number needs a unit: \"5s\""),
    (start('past = 3\nage = "400d"'), "4: 'age' is over a year; shorten it"),
    (start('past = 3\nage = "yesterday"'), "4: 'age' is no duration"),
    (start('count = 1\nage = "2d"'), "4: 'age' is about the runs of 'past'; add it"),
    (start("count = 1\nkeep = 5"), "4: 'keep' is about the runs of 'every'; add it"),
    (start('every = "5s"\nkeep = true'), "4: 'keep' must be a whole number"),
    (start('count = 1\ncreatedBy = "ann"'), "4: 'createdBy' must be a whole number"),
    (start("count = 1\ncreatedBy = [\n  1,\n  0,\n]"), "6: 'createdBy' must be a whole number"),
    (start('count = 1\nflowType = "job"'), "4: 'flowType' must be one of automation"),
    (start('count = 1\nargs = "main"'), "4: 'args' must be a table"),
    (start("count = 1\nargs = [\n  { a = 1 },\n  2,\n]"), "6: 'args' must be a table"),
    (start('count = 1\nargs = { a = "{run.name}" }'), "4: there is no {run.name}"),
    (start("count = 1\nargs = [\n  { a = 1e400 },\n]"), "5: JSON has no infinity"),
    (start("count = 1\nargs = []"), "4: 'args' is an empty list; leave it out"),
    (start("count = 1\ntags = { env = 1 }"), "4: the tag 'env' must be a text in quotes"),
    (start('count = 1\ntags = { env = "{arg.env}" }'), "4: there is no {arg.env}; did you mean {args.env}?"),
    ('[[start]]\nflowId = "deploy-*"\ncount = 1', "2: 'flowId' must be an id of a-z, 0-9, _, . and -, as in"),
    ("[[start]]\nflowId = []\ncount = 1", "2: 'flowId' is an empty list"),
    ('[[start]]\nflowId = [\n  "a",\n  "B",\n]\ncount = 1', "4: 'flowId' must be an id"),
    ('[[rule]]\nflowId = "a\n', "2: no TOML: Illegal character '\\n'"),
    ('[[rule]]\nsteps = [\n  { wait = "1s",\n    end = "x" },\n]\n', "3: no TOML"),
    ('[[rule]]\nflowId = "a"\nflowId = "b"\n', "3: no TOML: Cannot overwrite a value"),
    ("[[rule]]\nsteps = [\n  { hang = true },\n", "4: no TOML"),
    (step(f"outputs = {{ x = 1{'0' * 4300} }}"), "4: no TOML: an integer has over 64 bits; write it as a text"),
    (f"x = {'[' * 9999}", "1: no TOML: too many levels of nesting"),
]


@pytest.mark.parametrize(("text", "mistake"), WRONG)
def test_mistake_is_named_with_its_line_and_its_cure(text: str, mistake: str) -> None:
    with pytest.raises(ScriptInvalid) as raised:
        Script.parse(text, "a.toml")
    (line,) = raised.value.mistakes
    assert line.startswith(f"a.toml:{mistake}")
    assert "\n" not in line
    assert raised.value.summary == "1 mistake in a.toml; nothing was played"
    assert isinstance(raised.value, InputRefused)


def invalid(text: str) -> ScriptInvalid:
    with pytest.raises(ScriptInvalid) as raised:
        Script.parse(text)
    return raised.value


def lines_of(error: ScriptInvalid) -> list[str]:
    return [mistake.split(":")[1] for mistake in error.mistakes]


def test_all_mistakes_are_named_at_once() -> None:
    text = (
        '[[rule]]\nflowId = 7\nsteps = [\n  { wait = 2 },\n  { one_of = [\n    { steps = [\n      { end = "x y" },\n'
        '    ] },\n  ] },\n]\n\n[[rule]] # the second\n"flow id" = 1\n[rule.args]\nref = "a"\n[[rule]]\nphase = 1\n'
    )
    assert lines_of(invalid(text)) == ["2", "4", "7", "12", "13", "13", "16", "17"]


def test_what_is_below_a_misspelt_key_is_checked_too() -> None:
    text = (
        '[[rules]]\nflow_id = "A B"\nstpes = [\n  { acton = "x", for = "2 sec" },\n'
        '  { repaet = 0, step = [\n      { wait = 1 } ] },\n]\n[[starts]]\nflowId = "a"\ncuont = 0\n'
    )
    error = invalid(text)
    assert lines_of(error) == [*"12234455568", "10", "10"]
    assert "'for' is no duration" in str(error)


def test_lines_are_right_beside_strings_comments_and_dotted_keys() -> None:
    text = (
        '# [[rule]]\n[[rule]]\ntags."a.b" = """\n[[rule]]\n"""\r\nargs = { "x ]}" = \'# "\', y = [1, # }\n 2] }\n'
        'steps = [ # ]\n  { log = "} ] # \\" ", lines = 0 }, { wait = "1s" },\n\n  { wait = 1979-05-27T07:32:00Z }]\n'
    )
    assert lines_of(invalid(text)) == ["9", "11"]


def test_file_that_is_not_utf_8_is_a_mistake_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"# a\n# \xff\n")
    with pytest.raises(ScriptInvalid, match=r"a\.toml:2: the file is not UTF-8"):
        Script.load(tmp_path / "a.toml")


def test_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[[rule]]\nsteps = [{ hang = true }]\n", "utf-8-sig")
    assert len(Script.load(tmp_path / "a.toml").rules) == 1


def test_mistake_in_steps_from_python_names_their_place() -> None:
    with pytest.raises(ScriptInvalid, match=r"^steps\.1\.wait: 'wait' is no duration"):
        Script.of("web", {"hang": True}, {"wait": 3})


@pytest.mark.parametrize(("name", "flow"), FLOWS)
def test_scripts_of_the_package_end_each_run_or_leave_it_to_another_rule(name: str, flow: str) -> None:
    script = Script.load(SCRIPTS / f"{name}.toml")
    phases = set()
    for seed in range(40):
        run = body(flowId=flow, args={"ref": "main", "workspace": "prod"})
        for move in played(script, run, seed):
            run = applied(run, move, NOW)
        if run.phase == "waiting":
            run.phase = "approved"
            for move in played(script, run, seed):
                run = applied(run, move, NOW)
        assert run.end_time
        assert all(action.end_time for action in run.actions or [])
        assert b"{" not in encode(run.logs)[2:].replace(b',{"timestamp"', b"")  # each placeholder is filled in
        phases.add(run.phase)
    assert phases == {"succeeded", "failed"}


# Rules

FITTING = [
    ("", {}, True),
    ('flowId = "deploy-web"', {}, True),
    ('flowId = "deploy-*"', {}, True),
    ('flowId = "*.tests"', {}, False),
    ('flowId = ["other", "*web"]', {}, True),
    ('flowType = "automation"', {}, True),
    ('flowType = ["scorecard", "reference"]', {}, False),
    ('tags = { env = "prod" }', {"tags": [{"key": "env", "value": "prod"}]}, True),
    ('tags = { env = "p*" }', {"tags": [{"key": "env", "value": "test"}, {"key": "env", "value": "prod"}]}, True),
    ('tags = { env = "prod" }', {}, False),
    ('args = { ref = "main" }', {"args": {"ref": "main"}}, True),
    ('args = { ref = "release/*" }', {"args": {"ref": "release/1.2"}}, True),
    ('args = { ref = "[m]ain" }', {"args": {"ref": "main"}}, False),
    ("args = { dry = true }", {"args": {"dry": True}}, True),
    ("args = { dry = true }", {"args": {"dry": 1}}, False),
    ('args.image.tag = "v1"', {"args": {"image": {"tag": "v1"}}}, True),
    ('args = { "image.tag" = "v1" }', {"args": {"image.tag": "v1"}}, True),
    ('args = { ref = "main" }', {"args": None}, False),
    ("args = { on = 2026-01-20T19:53:03+01:00 }", {"args": {"on": "2026-01-20T18:53:03.000Z"}}, True),
    ("", {"phase": "running"}, False),
    ('phase = "approved"', {"phase": "approved"}, True),
    ("", {"endTime": NOW}, False),
]


@pytest.mark.parametrize(("conditions", "fields", "fits"), FITTING)
def test_rule_fits(conditions: str, fields: dict[str, Any], fits: bool) -> None:
    assert bool(played(one_rule('{ end = "failed" }', conditions), body(**fields))) == fits


def test_first_rule_that_fits_plays() -> None:
    text = '[[rule]]\nflowId = "{}"\nsteps = [{{ end = "{}" }}]\n'
    script = Script.parse(text.format("other", "a") + text.format("*", "b") + text.format("deploy-web", "c"))
    assert [move.phase for move in played(script, body())] == ["b"]


# Moves


def run_after(steps: str, **fields: Any) -> RunPut:
    run = body(**fields)
    for move in played(one_rule(steps), run):
        run = applied(run, move, NOW)
    return run


def test_placeholders_are_filled_in_and_others_stay() -> None:
    run = run_after(
        '{ log = "{args.ref} {args.image.tag} {run.id} {run.flowId} {tags.env} {args.no} {n} {x} ${HOME}" },'
        '{ log = "{n}", lines = 2 }, { repeat = 2, steps = [{ log = "pass {n}" }] },'
        '{ outputs = { all = "{args.image}", one = ["n is {args.n}", "{args.n}"] } }',
        args={"ref": "main", "image": {"tag": "v1"}, "n": 3},
        tags=[{"key": "env", "value": "prod"}],
    )
    assert [log.message for log in run.logs or []] == [
        'main v1 web-1 deploy-web prod {args.no} 1 {x} ${HOME}', "1", "2", "pass 1", "pass 2"
    ]  # fmt: skip
    assert decode(run.outputs) == {"all": {"tag": "v1"}, "one": ["n is 3", 3]}


def test_outputs_are_json_as_the_api_writes_it() -> None:
    run = run_after(
        "{ outputs = { at = 2026-01-20T19:53:03+01:00, day = 2026-01-20, time = [19:53:03] } },"
        '{ outputs = { big = "{args.big}", digits = "{args.digits}", text = "is {args.big}" } }',
        args=Raw(b'{"big": 1e400, "digits": %b}' % (b"9" * 5000)),
        outputs=Raw(b'{"old": 1e400, "exact": 0.10000000000000000000001}'),
    )
    outputs = decode(run.outputs, type=dict[str, Raw])
    assert [bytes(outputs.pop(name)) for name in ("old", "exact")] == [b"1e400", b"0.10000000000000000000001"]
    assert {name: decode(value) for name, value in outputs.items()} == {
        "at": "2026-01-20T18:53:03.000Z", "day": "2026-01-20", "time": ["19:53:03"],
        "big": "1e400", "digits": "9" * 5000, "text": "is 1e400",
    }  # fmt: skip


def test_waits_are_within_their_range_and_differ_by_run_and_by_seed() -> None:
    script = one_rule('{ wait = "1s..3s" }, { end = "failed" }')
    delays = {(id, seed): played(script, body(), seed, id)[0].delay for id in "abc" for seed in range(3)}
    assert len(set(delays.values())) == 9
    assert all(1 <= delay <= 3 for delay in delays.values())
    assert delays == {(id, seed): played(script, body(), seed, id)[0].delay for id, seed in delays}


def test_weights_are_those_of_many_runs() -> None:
    script = one_rule('{ one_of = [{ weight = 9, steps = [{ end = "a" }] }, { steps = [{ end = "b" }] }] }')
    ends = [played(script, body(), id=str(number))[0].phase for number in range(2000)]
    assert 120 <= ends.count("b") <= 280  # 200 is the mean, and 13 the standard deviation


def test_lines_are_spread_over_the_time_of_an_action_with_at_most_ten_writes_a_second() -> None:
    moves = played(one_rule('{ action = "build", for = "2s", log = "{n}", lines = 1000 }'), body())
    assert [move.action_phase for move in (moves[0], moves[-1])] == ["running", "succeeded"]
    assert len(moves) == 22
    assert [len(move.lines) for move in moves[1:-1]] == [50] * 20
    assert sum(move.delay for move in moves) == pytest.approx(2)


def test_end_within_a_branch_or_a_repetition_ends_the_run() -> None:
    run = run_after(
        '{ repeat = 5, steps = [{ log = "{n}" }, { one_of = [{ steps = [{ end = "failed", error = "why {n}" }] }] }] },'
        '{ log = "never" }'
    )
    assert [log.message for log in run.logs or []] == ["1", "why 1"]
    assert (run.phase, run.end_time) == ("failed", NOW)


def test_pending_run_is_running_from_its_first_action_and_has_a_start() -> None:
    run = body()
    phases = []
    for move in played(one_rule('{ phase = "queued" }, { wait = "1s" }, { phase = "pending" }, { action = "a" }'), run):
        run = applied(run, move, NOW)
        phases.append((run.phase, run.start_time))
    assert phases == [("queued", None), ("pending", None), ("running", NOW)]


def test_action_that_starts_again_has_a_new_time() -> None:
    script = one_rule('{ action = "a", for = "1s", phase = "failed" }, { action = "a", for = "1s" }')
    run, states = body(), []
    for second, move in enumerate(played(script, run)):
        run = applied(run, move, NOW.replace("03.000", f"0{second}.000"))
        (action,) = run.actions or []
        states.append((action.phase, (action.start_time or "")[17:19], (action.end_time or "")[17:19]))
    assert states == [("running", "00", ""), ("failed", "00", "01"), ("running", "02", ""), ("succeeded", "02", "03")]


# Resumption


@pytest.mark.parametrize(("name", "flow"), FLOWS)
@pytest.mark.parametrize("seed", range(8))
def test_rest_of_a_run_is_found_from_each_of_its_states(name: str, flow: str, seed: int) -> None:
    script = Script.load(SCRIPTS / f"{name}.toml")
    run = body(flowId=flow, args={"ref": "main", "workspace": "prod"})
    for _ in range(2):  # terraform's second rule begins when its first has ended
        moves = played(script, run, seed)
        end = state(last(run, moves))
        for move in moves[:-1]:
            run = applied(run, move, NOW)
            part = script.rest("web-1", run, seed)
            assert part is not None
            assert state(last(run, part.moves)) == end
            if run.logs:
                run.logs[-1].message += "!"  # by somebody else
                assert script.rest("web-1", run, seed) is None
                run.logs[-1].message = run.logs[-1].message[:-1]
        run = applied(run, moves[-1], NOW)
        if run.end_time is not None:
            return
        run.phase = "approved"


def test_order_of_rules_for_different_phases_does_not_matter_to_the_rest() -> None:
    plan = '[[rule]]\nsteps = [{ log = "plan" }, { phase = "waiting" }]\n'
    apply = '[[rule]]\nphase = "approved"\nsteps = [{ phase = "running" }, { log = "a" }, { end = "succeeded" }]\n'
    for text in (plan + apply, apply + plan):
        script, run = Script.parse(text), body()
        for phase in ("approved", None):
            moves = played(script, run)
            for move in moves if phase else moves[:2]:
                run = applied(run, move, NOW)
            run.phase = phase or run.phase
        part = script.rest("web-1", run, 0)
        assert part is not None
        assert list(part.moves) == moves[2:]


def test_run_of_somebody_else_has_no_rest() -> None:
    script = one_rule('{ action = "a", for = "2s" }, { end = "succeeded" }')
    assert script.rest("web-1", body(phase="running", actions=[{"id": "b", "phase": "running"}]), 0) is None
    assert script.rest("web-1", body(phase="running", endTime=NOW), 0) is None
