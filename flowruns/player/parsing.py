"""The tables of a script to rules, steps and starts. Mistakes go to `Checks`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from flowruns.model.runs import FlowType
from flowruns.player.checks import Checks
from flowruns.player.rules import Rule, leaves
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
    phases,
)
from flowruns.player.toml_lines import Path

CONDITIONS = ("flowId", "flowType", "tags", "args", "phase")

START_KEYS = ("flowId", "flowType", "args", "tags", "createdBy", "past", "age", "count", "every", "keep")

_MIN_AGE = 1.0  # seconds

_AGE = Span(_MIN_AGE, 86400.0)

_RULE_EXAMPLE = '[[rule]] with flowId = "deploy-*" and steps = [{ wait = "2s" }, { end = "succeeded" }]'

_START_EXAMPLE = '[[start]] with flowId = "deploy-web" and count = 1'

_STEPS_EXAMPLE = 'steps = [{ wait = "2s" }, { end = "succeeded" }]'

_BRANCHES_EXAMPLE = "one_of = [{ weight = 9, steps = […] }, { weight = 1, steps = […] }]"

T = TypeVar("T")
D = TypeVar("D")

_Check = Callable[[Checks, Any, Path], T]


class _Table(NamedTuple):
    """The *values* of the table at *path*."""

    values: dict[str, Any]
    path: Path
    checks: Checks

    def known(self, keys: Sequence[str], what: str) -> "_Table":
        """The table with the *keys* that it may have."""
        return self._replace(values=self.checks.keys(self.values, self.path, keys, what))

    def wrong(self, message: str, *key: str) -> None:
        """Adds a mistake, of a *key* or of the table."""
        self.checks.wrong((*self.path, *key), message)

    def the(self, name: str, check: _Check[T]) -> T:
        """The value at *name*."""
        return check(self.checks, self.values[name], (*self.path, name))

    def one(self, name: str, check: _Check[T], default: D) -> T | D:
        """The value at *name*, or *default* if it is not there."""
        return self.the(name, check) if name in self.values else default

    def several(self, name: str, check: _Check[T]) -> list[T]:
        """The values at *name*, which may be one or a list; none if it is not there."""
        values = self.values.get(name)
        if not isinstance(values, list):
            return [self.the(name, check)] if name in self.values else []
        if not values:
            self.wrong(f"{name!r} is an empty list; leave it out", name)
        return [check(self.checks, value, (*self.path, name, index)) for index, value in enumerate(values)]

    def tables(self, name: str, example: str) -> "list[_Table]":
        """The tables in the list at *name*; none if it is not there."""
        if name not in self.values:
            return []
        values, found = self.values[name], []
        if not isinstance(values, list) or not values:
            self.wrong(f"{name!r} must be a list with at least one table, as in {example}", name)
            return []
        for index, value in enumerate(values):
            path = (*self.path, name, index)
            if isinstance(value, dict):
                found.append(_Table(value, path, self.checks))
            else:
                self.checks.wrong(path, f"each item of {name!r} must be a table, as in {example}")
        return found


def parts_of(tables: dict[str, Any], checks: Checks) -> tuple[list[Rule], list[Start]]:
    """The rules in the *tables* of a script, and the tables that start runs."""
    script = _Table(tables, (), checks).known(("rule", "start"), "a script")
    if not script.values and not checks.mistakes:
        script.wrong(f"there is no rule; write {_RULE_EXAMPLE}")
    rules, starts = script.tables("rule", _RULE_EXAMPLE), script.tables("start", _START_EXAMPLE)
    return [_rule(table) for table in rules], [_start(table) for table in starts]


def _start(table: _Table) -> Start:
    before = len(table.checks.mistakes)
    table = table.known(START_KEYS, "a start")
    is_known = len(table.checks.mistakes) == before  # else a key that is missing is one that is misspelled
    if is_known and "flowId" not in table.values:
        table.wrong('a start needs a flow; add flowId = "deploy-web"')
    if is_known and not {"past", "count", "every"} & table.values.keys():
        table.wrong('this starts nothing; add count = 1, past = 20, or every = "5s"')
    for name, needed in (("age", "past"), ("keep", "every")):
        if name in table.values and needed not in table.values:
            table.wrong(f"{name!r} is about the runs of {needed!r}; add it", name)
    every = table.one("every", Checks.seconds, None)
    if every is not None and every.low <= 0:
        table.wrong("'every' must be longer than 0; write \"5s\"", "every")
    return Start(
        flows=table.several("flowId", Checks.slug),
        flow_types=table.several("flowType", Checks.flow_type) or [FlowType.SELF_SERVICE_ACTION],
        args=table.several("args", Checks.new_args) or [None],
        tags=table.several("tags", Checks.new_tags) or [{}],
        users=table.several("createdBy", Checks.user) or [None],
        past=table.one("past", Checks.runs, 0),
        age=_age(table) if "age" in table.values else _AGE,
        first=table.one("count", Checks.runs, 0),
        every=every,
        keep=table.one("keep", Checks.runs, None),
    )


def _age(table: _Table) -> Span:
    low, high = table.the("age", Checks.seconds)
    is_range = ".." in str(table.values["age"])  # else it is the longest time
    return Span(max(low, _MIN_AGE) if is_range else _MIN_AGE, max(high, _MIN_AGE))


def _rule(table: _Table) -> Rule:
    table = table.known((*CONDITIONS, "steps"), "a rule")
    steps = _steps(table, "a rule")
    return Rule(
        steps=steps,
        phase=table.one("phase", Checks.word, "pending"),
        flows=table.several("flowId", Checks.flow),
        flow_types=table.several("flowType", Checks.flow_type),
        tags=table.one("tags", Checks.tags, {}),
        args=dict(leaves(table.one("args", Checks.args, {}))),
        phases=tuple(phases(steps)),
    )


def _steps(table: _Table, what: str) -> list[Step]:
    if "steps" not in table.values:
        table.wrong(f"{what} needs steps; add {_STEPS_EXAMPLE}")
        return []
    found = table.tables("steps", _STEPS_EXAMPLE)
    steps = [step for item in found if (step := _step(item)) is not None]
    for item, after in zip(found, found[1:], strict=False):
        if "end" in item.values or "hang" in item.values:
            after.wrong(f"nothing is played after {'end' if 'end' in item.values else 'hang'}; remove this step")
            break
    return steps


def _step(table: _Table) -> Step | None:
    if not _KINDS.keys() & table.values.keys():  # its kind may be misspelt
        before = len(table.checks.mistakes)
        table = table.known([*_KINDS, *_KINDS["action"][0], "error", "steps"], "a step")
        if len(table.checks.mistakes) == before:
            table.wrong(f"this step does nothing; it needs one of {', '.join(_KINDS)}")
    kind = next((name for name in _KINDS if name in table.values), None)
    if kind is None:
        return None
    besides, read = _KINDS[kind]
    others = [name for name in table.values if name in _KINDS and name != kind and name not in besides]
    for name in others:
        table.wrong(f"{kind!r} and {name!r} are two steps; write each in its own {{ }}", name)
    table = table._replace(values={name: value for name, value in table.values.items() if name not in others})
    return read(table.known((kind, *besides), f"a step with {kind!r}"))


def _lines(table: _Table) -> Lines | None:
    level = table.one("level", Checks.word, "info")
    number = table.one("lines", Checks.lines, None)
    if "log" in table.values:
        return Lines(table.the("log", Checks.text), level, number)
    for name in ("lines", "level"):
        if name in table.values:
            table.wrong(f'{name!r} is about lines of a log; add log = "…"', name)
    return None


def _log(table: _Table) -> Step | None:
    lines = _lines(table)
    return lines and Log(lines, table.one("for", Checks.seconds, None))


def _work(table: _Table) -> Step:
    action = table.the("action", Checks.text)
    if table.values["action"] == "":
        table.wrong("'action' is empty; give the action an id, as in \"build\"", "action")
    phase = table.one("phase", Checks.word, "succeeded")
    return Work(action, phase, table.one("for", Checks.seconds, None), _lines(table))


def _end(table: _Table) -> Step:
    phase = table.the("end", Checks.word)
    if phase in UNFINISHED:
        cure = f'write {{ phase = "{phase}" }}, or end = "succeeded"'
        table.wrong(f"a run does not end in {phase!r}; {cure}", "end")
    return End(phase, table.one("error", Checks.text, None))


def _hang(table: _Table) -> Step:
    if table.values["hang"] is not True:
        table.wrong("'hang' must be true, or left out", "hang")
    return Hang()


def _one_of(table: _Table) -> Step:
    weights, branches = [], []
    for branch in table.tables("one_of", _BRANCHES_EXAMPLE):
        branch = branch.known(("weight", "steps"), "a branch of 'one_of'")
        weights.append(branch.one("weight", Checks.weight, 1.0))
        empty = branch.values.get("steps") == []  # a branch may do nothing
        branches.append([] if empty else _steps(branch, "a branch of 'one_of'"))
    return OneOf(weights, branches)


# The key that makes a table a step of its kind, the keys that it may have besides, and what reads it. The first that
# fits counts.
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[_Table], Step | None]]] = {
    "wait": ((), lambda table: Pause(table.the("wait", Checks.seconds))),
    "action": (("for", "phase", "log", "lines", "level"), _work),
    "log": (("for", "lines", "level"), _log),
    "phase": ((), lambda table: Phase(table.the("phase", Checks.word))),
    "outputs": ((), lambda table: Outputs(table.the("outputs", Checks.outputs))),
    "end": (("error",), _end),
    "hang": ((), _hang),
    "repeat": (("steps",), lambda table: Repeat(table.the("repeat", Checks.times), _steps(table, "'repeat'"))),
    "one_of": ((), _one_of),
}
