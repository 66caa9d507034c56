"""The tables of a script to rules, steps and starts. Mistakes go to `Checks`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowruns.model.runs import FlowType
from flowruns.player.checks import ARGS_EXAMPLE, Checks
from flowruns.player.rules import Rule
from flowruns.player.starts import Start
from flowruns.player.steps import (
    UNFINISHED,
    End,
    Hang,
    Lines,
    Log,
    OneOf,
    Outputs,
    Pause,
    Phase,
    Repeat,
    Span,
    Step,
    Work,
)
from flowruns.player.toml_lines import Path

CONDITIONS = ("flowId", "flowType", "tags", "args", "phase")

_MAX_LINES = 10_000  # of one step

_MAX_TIMES = 1_000

_MAX_RUNS = 100_000

_MIN_AGE = 1.0  # seconds

_AGE = Span(_MIN_AGE, 86400.0)

_RULE_EXAMPLE = '[[rule]] with flowId = "deploy-*" and steps = [{ wait = "2s" }, { end = "succeeded" }]'

_START_EXAMPLE = '[[start]] with flowId = "deploy-web" and count = 1'

START_KEYS = ("flowId", "flowType", "args", "tags", "createdBy", "past", "age", "count", "every", "keep")

_STEPS_EXAMPLE = 'steps = [{ wait = "2s" }, { end = "succeeded" }]'


def parts_of(tables: dict[str, Any], checks: Checks) -> tuple[list[Rule], list[Start]]:
    """The rules in the *tables* of a script, and the tables that start runs."""
    tables = checks.keys(tables, (), ("rule", "start"), "a script")
    return _rules(tables, checks), _starts(tables, checks)


def _rules(tables: dict[str, Any], checks: Checks) -> list[Rule]:
    if "rule" not in tables:
        if "start" not in tables and not checks.mistakes:
            checks.wrong((), f"there is no rule; write {_RULE_EXAMPLE}")
        return []
    found = checks.tables(tables["rule"], ("rule",), _RULE_EXAMPLE)
    return [_rule(table, path, checks) for path, table in found]


def _starts(tables: dict[str, Any], checks: Checks) -> list[Start]:
    found = checks.tables(tables["start"], ("start",), _START_EXAMPLE) if "start" in tables else []
    return [_start(table, path, checks) for path, table in found]


def _start(table: dict[str, Any], path: Path, checks: Checks) -> Start:
    before = len(checks.mistakes)
    table = checks.keys(table, path, START_KEYS, "a start")
    is_known = len(checks.mistakes) == before  # else a key that is missing is one that is misspelled
    if is_known and "flowId" not in table:
        checks.wrong(path, 'a start needs a flow; add flowId = "deploy-web"')
    if is_known and not {"past", "count", "every"} & table.keys():
        checks.wrong(path, 'this starts nothing; add count = 1, past = 20, or every = "5s"')
    for name, needed in (("age", "past"), ("keep", "every")):
        if name in table and needed not in table:
            checks.wrong((*path, name), f"{name!r} is about the runs of {needed!r}; add it")
    every = _span(table, path, checks, "every")
    if every is not None and every.low <= 0:
        checks.wrong((*path, "every"), "'every' must be longer than 0; write \"5s\"")
    return Start(
        flows=checks.several(table, path, "flowId", checks.slug),
        flow_types=checks.several(table, path, "flowType", checks.flow_type) or [FlowType.SELF_SERVICE_ACTION],
        args=checks.several(table, path, "args", checks.new_args) or [None],
        tags=checks.several(table, path, "tags", checks.new_tags) or [{}],
        users=checks.several(table, path, "createdBy", checks.number) or [None],
        past=_number(table, path, checks, "past") or 0,
        age=_age(table, path, checks) if "age" in table else _AGE,
        first=_number(table, path, checks, "count") or 0,
        every=every,
        keep=_number(table, path, checks, "keep"),
    )


def _age(table: dict[str, Any], path: Path, checks: Checks) -> Span:
    low, high = checks.seconds(table["age"], (*path, "age"))
    is_range = ".." in str(table["age"])  # else it is the longest time
    return Span(max(low, _MIN_AGE) if is_range else _MIN_AGE, max(high, _MIN_AGE))


def _rule(table: dict[str, Any], path: Path, checks: Checks) -> Rule:
    table = checks.keys(table, path, (*CONDITIONS, "steps"), "a rule")
    tags = checks.tags(table.get("tags", {}), (*path, "tags"))
    args = checks.table(table.get("args", {}), (*path, "args"), ARGS_EXAMPLE)
    phase = checks.word(table["phase"], (*path, "phase")) if "phase" in table else "pending"
    steps = _steps(table, path, checks, "a rule")
    return Rule(
        steps=steps,
        phase=phase,
        flows=checks.several(table, path, "flowId", checks.flow),
        flow_types=checks.several(table, path, "flowType", checks.flow_type),
        tags=tags,
        args=dict(_leaves(args)),
        phases=tuple(_phases(steps)),
    )


def _leaves(args: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested tables, by their dotted names."""
    for name, value in args.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _phases(steps: Sequence[Step]) -> Iterator[str]:
    """The phases that *steps* set before the end of a run."""
    for step in steps:
        if isinstance(step, Phase):
            yield step.phase
        elif isinstance(step, Repeat):
            yield from _phases(step.steps)
        elif isinstance(step, OneOf):
            for branch in step.branches:
                yield from _phases(branch)


def _steps(table: dict[str, Any], path: Path, checks: Checks, what: str) -> list[Step]:
    if "steps" not in table:
        checks.wrong(path, f"{what} needs steps; add {_STEPS_EXAMPLE}")
        return []
    found = checks.tables(table["steps"], (*path, "steps"), _STEPS_EXAMPLE)
    steps = [step for place, item in found if (step := _step(item, place, checks)) is not None]
    for (_, item), (place, _) in zip(found, found[1:], strict=False):
        if "end" in item or "hang" in item:
            checks.wrong(place, f"nothing is played after {'end' if 'end' in item else 'hang'}; remove this step")
            break
    return steps


def _step(table: dict[str, Any], path: Path, checks: Checks) -> Step | None:
    if not _KINDS.keys() & table.keys():  # its kind may be misspelt
        before = len(checks.mistakes)
        table = checks.keys(table, path, [*_KINDS, *_KINDS["action"][0], "error", "steps"], "a step")
        if len(checks.mistakes) == before:
            checks.wrong(path, f"this step does nothing; it needs one of {', '.join(_KINDS)}")
    kind = next((name for name in _KINDS if name in table), None)
    if kind is None:
        return None
    besides, read = _KINDS[kind]
    others = [name for name in table if name in _KINDS and name != kind and name not in besides]
    for name in others:
        checks.wrong((*path, name), f"{kind!r} and {name!r} are two steps; write each in its own {{ }}")
    rest = {name: value for name, value in table.items() if name not in others}
    return read(checks.keys(rest, path, (kind, *besides), f"a step with {kind!r}"), path, checks)


def _span(table: dict[str, Any], path: Path, checks: Checks, name: str) -> Span | None:
    return Span(*checks.seconds(table[name], (*path, name))) if name in table else None


def _number(table: dict[str, Any], path: Path, checks: Checks, name: str) -> int | None:
    return checks.number(table[name], (*path, name), _MAX_RUNS) if name in table else None


def _lines(table: dict[str, Any], path: Path, checks: Checks) -> Lines | None:
    level = checks.word(table["level"], (*path, "level")) if "level" in table else "info"
    count = Span(*checks.count(table["lines"], (*path, "lines"), _MAX_LINES)) if "lines" in table else None
    if "log" in table:
        return Lines(checks.text(table["log"], (*path, "log")), level, count)
    for name in ("lines", "level"):
        if name in table:
            checks.wrong((*path, name), f'{name!r} is about lines of a log; add log = "…"')
    return None


def _pause(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    return Pause(Span(*checks.seconds(table["wait"], (*path, "wait"))))


def _phase(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    return Phase(checks.word(table["phase"], (*path, "phase")))


def _log(table: dict[str, Any], path: Path, checks: Checks) -> Step | None:
    lines = _lines(table, path, checks)
    return lines and Log(lines, _span(table, path, checks, "for"))


def _work(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    action = checks.text(table["action"], (*path, "action"))
    if table["action"] == "":
        checks.wrong((*path, "action"), "'action' is empty; give the action an id, as in \"build\"")
    phase = checks.word(table["phase"], (*path, "phase")) if "phase" in table else "succeeded"
    return Work(action, phase, _span(table, path, checks, "for"), _lines(table, path, checks))


def _outputs(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    outputs = checks.table(table["outputs"], (*path, "outputs"), 'outputs = { url = "https://example.org" }')
    checks.texts(outputs, (*path, "outputs"))
    return Outputs(outputs)


def _end(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    phase = checks.word(table["end"], (*path, "end"))
    if phase in UNFINISHED:
        checks.wrong(
            (*path, "end"), f'a run does not end in {phase!r}; write {{ phase = "{phase}" }}, or end = "succeeded"'
        )
    return End(phase, checks.text(table["error"], (*path, "error")) if "error" in table else None)


def _hang(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    if table["hang"] is not True:
        checks.wrong((*path, "hang"), "'hang' must be true, or left out")
    return Hang()


def _repeat(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    times = Span(*checks.count(table["repeat"], (*path, "repeat"), _MAX_TIMES))
    return Repeat(times, _steps(table, path, checks, "'repeat'"))


def _one_of(table: dict[str, Any], path: Path, checks: Checks) -> Step:
    example = "one_of = [{ weight = 9, steps = […] }, { weight = 1, steps = […] }]"
    weights, branches = [], []
    for place, branch in checks.tables(table["one_of"], (*path, "one_of"), example):
        branch = checks.keys(branch, place, ("weight", "steps"), "a branch of 'one_of'")
        weights.append(checks.weight(branch.get("weight", 1), (*place, "weight")))
        empty = branch.get("steps") == []  # a branch may do nothing
        branches.append([] if empty else _steps(branch, place, checks, "a branch of 'one_of'"))
    return OneOf(weights, branches)


# The key that makes a table a step of its kind, the keys that it may have besides, and what reads it. The first that
# fits counts.
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any], Path, Checks], Step | None]]] = {
    "wait": ((), _pause),
    "action": (("for", "phase", "log", "lines", "level"), _work),
    "log": (("for", "lines", "level"), _log),
    "phase": ((), _phase),
    "outputs": ((), _outputs),
    "end": (("error",), _end),
    "hang": ((), _hang),
    "repeat": (("steps",), _repeat),
    "one_of": ((), _one_of),
}
