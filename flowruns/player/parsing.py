"""The tables of a script to rules and steps. Mistakes go to `Checks`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowruns.player.checks import Checks
from flowruns.player.rules import Rule
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

_CONDITIONS = ("flowId", "flowType", "tags", "args", "phase")

_MAX_LINES = 10_000  # of one step

_MAX_TIMES = 1_000

_RULE_EXAMPLE = '[[rule]] with flowId = "deploy-*" and steps = [{ wait = "2s" }, { end = "succeeded" }]'

_STEPS_EXAMPLE = 'steps = [{ wait = "2s" }, { end = "succeeded" }]'

# The key that makes a table a step of its kind, and the keys that it may have besides. The first that fits counts.
_KINDS: dict[str, tuple[str, ...]] = {
    "wait": (),
    "action": ("for", "phase", "log", "lines", "level"),
    "log": ("for", "lines", "level"),
    "phase": (),
    "outputs": (),
    "end": ("error",),
    "hang": (),
    "repeat": ("steps",),
    "one_of": (),
}


def rules_of(tables: dict[str, Any], checks: Checks) -> list[Rule]:
    """The rules in the *tables* of a script."""
    checks.keys(tables, (), ("rule",), "a script")
    if "rule" not in tables:
        if not checks.mistakes:
            checks.wrong((), f"there is no rule; write {_RULE_EXAMPLE}")
        return []
    found = checks.tables(tables["rule"], ("rule",), _RULE_EXAMPLE)
    return [_rule(table, path, checks) for path, table in found]


def _rule(table: dict[str, Any], path: Path, checks: Checks) -> Rule:
    checks.keys(table, path, (*_CONDITIONS, "steps"), "a rule")
    tags = checks.table(table.get("tags", {}), (*path, "tags"), 'tags = { env = "prod" }')
    for key, value in tags.items():
        if not isinstance(value, str):
            checks.wrong((*path, "tags", key), f'the tag {key!r} must be a text in quotes, as in "{value}"')
    args = checks.table(table.get("args", {}), (*path, "args"), 'args = { ref = "main" }')
    phase = checks.word(table["phase"], (*path, "phase")) if "phase" in table else "pending"
    steps = _steps(table, path, checks, "a rule")
    return Rule(
        steps=steps,
        phase=phase,
        flows=_several(table, path, "flowId", checks, checks.flow),
        flow_types=_several(table, path, "flowType", checks, checks.flow_type),
        tags={key: str(value) for key, value in tags.items()},
        args=dict(_leaves(args)),
        phases=tuple(_phases(steps)),
    )


def _several(
    table: dict[str, Any], path: Path, name: str, checks: Checks, check: Callable[[Any, Path], str]
) -> list[str]:
    """The values of *name*: one or a list."""
    if name not in table:
        return []
    value = table[name]
    if value == []:
        checks.wrong((*path, name), f"{name!r} is an empty list, which no run fits; leave it out")
    return [check(item, (*path, name)) for item in (value if isinstance(value, list) else [value])]


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
    kind = next((name for name in _KINDS if name in table), None)
    if kind is None:
        before = len(checks.mistakes)
        checks.keys(table, path, [*_KINDS, *_KINDS["action"], "error", "steps"], "a step")
        if len(checks.mistakes) == before:
            checks.wrong(path, f"this step does nothing; it needs one of {', '.join(_KINDS)}")
        return None
    others = [name for name in table if name in _KINDS and name != kind and name not in _KINDS[kind]]
    for name in others:
        checks.wrong((*path, name), f"{kind!r} and {name!r} are two steps; write each in its own {{ }}")
    rest = {name: value for name, value in table.items() if name not in others}
    checks.keys(rest, path, (kind, *_KINDS[kind]), f"a step with {kind!r}")
    return _READERS[kind](table, path, checks)


def _span(table: dict[str, Any], path: Path, checks: Checks, name: str) -> Span | None:
    return Span(*checks.seconds(table[name], (*path, name))) if name in table else None


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
        checks.keys(branch, place, ("weight", "steps"), "a branch of 'one_of'")
        weights.append(checks.weight(branch.get("weight", 1), (*place, "weight")))
        empty = branch.get("steps") == []  # a branch may do nothing
        branches.append([] if empty else _steps(branch, place, checks, "a branch of 'one_of'"))
    return OneOf(weights, branches)


_READERS: dict[str, Callable[[dict[str, Any], Path, Checks], Step | None]] = {
    "wait": _pause,
    "action": _work,
    "log": _log,
    "phase": _phase,
    "outputs": _outputs,
    "end": _end,
    "hang": _hang,
    "repeat": _repeat,
    "one_of": _one_of,
}
