"""Figures as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from tests.benchmarks.delays import Delay
from tests.benchmarks.load import typical
from tests.benchmarks.measure import Measured
from tests.benchmarks.stalls import Waits
from tests.benchmarks.start import Import, Start
from tests.benchmarks.transfer import Transferred

Results = Mapping[str, Mapping[int, Mapping[str, Measured]]]  # by operation, connections, contender


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns but the first are aligned to the right."""
    lines = [list(head), ["---", *["--:"] * (len(head) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def transfers(found: Transferred, runs: int) -> str:
    """What each command took, and the most memory that it held in each quarter of that."""
    rows = [
        [name, f"{spent.seconds:.1f}", f"{runs / spent.seconds:,.0f}", ", ".join(f"{rss:.0f}" for rss in spent.rss)]
        for name, spent in found.spent.items()
    ]
    same = "the same bytes" if found.same else "ERROR: NOT THE SAME BYTES"
    writes = (
        f"16 writers: {found.before.rate:,.0f} a second (p99 {found.before.p99:.1f} ms) alone,"
        f" {found.meanwhile.rate:,.0f} ({found.meanwhile.p99:.1f} ms) around and during a backup"
    )
    sizes = f"{found.line_bytes:,.0f} bytes a line, {found.file_bytes:,.0f} bytes a run in the file"
    table = markdown([f"{runs:,} runs", "seconds", "runs a second", "maximum MB in each quarter"], rows)
    return f"{table}\n\n{sizes}; exported again: {same}; {writes}"


def rates(results: Results, names: Sequence[str], ours: str) -> str:
    """What each contender did, what a request costs *ours*, and its share of each other's rate."""
    others = [name for name in names if name != ours]
    head = ["operation, connections", *(f"{name}: /s (p50, p99 ms)" for name in names), f"{ours}: CPU us a request"]
    rows = []
    for operation, by_connections in results.items():
        for connections, found in by_connections.items():
            shares = [_share(found[ours], found[name]) for name in others]
            cpu = typical(found[ours].loads).cpu
            cells = [_cell(found[name]) for name in names]
            rows.append([f"{operation}, {connections}", *cells, f"{cpu:.0f}", *map(_number, shares)])
    return markdown([*head, *(f"{ours} / {name}" for name in others)], rows)


def shares(results: Results, names: Sequence[str], base: str) -> str:
    """The rate of each contender as a share of *base*'s, and what a request costs it."""
    rows = []
    for operation, by_connections in results.items():
        for connections, found in by_connections.items():
            cells = [f"{_share(found[name], found[base]):.2f} ({typical(found[name].loads).cpu:.0f})" for name in names]
            rows.append([f"{operation}, {connections}", *cells, f"{typical(found[base].loads).rate:,.0f}"])
    return markdown([f"of {base}'s rate (CPU us a request)", *names, f"{base}: /s"], rows)


def growth(results: Results, names: Sequence[str], bytes_a_run: Mapping[str, float]) -> str:
    """p50 at the fewest connections and rates at the most, at each size, and the last's share of the first's."""
    rows = []
    for operation, by_connections in results.items():
        few, most = min(by_connections), max(by_connections)
        p50 = [typical(by_connections[few][name].loads).p50 for name in names]
        rate = [typical(by_connections[most][name].loads).rate for name in names]
        rows += [_row(f"{operation}, p50 ms at {few}", p50, ".2f"), _row(f"{operation}, /s at {most}", rate, ",.0f")]
    found = [one for by_connections in results.values() for one in by_connections.values()]
    rss = [max(one[name].rss for one in found) for name in names]
    rows.append(_row("maximum RSS after load, MB", rss, ".0f"))
    rows.append(_row("bytes a run on disk", [bytes_a_run[name] for name in names], ",.0f"))
    return markdown(["", *names, "last / first"], rows)


def waits(found: Mapping[str, Waits]) -> str:
    """The latency of a request that needs no database, under a mixed load with deletes."""
    head = ["GET /health under mixed load and deletes", *(f"{name} ms" for name in Waits._fields)]
    return markdown(head, [[name, *(f"{value:.1f}" for value in one)] for name, one in found.items()])


def delays(quiet: float, found: Mapping[str, Delay]) -> str:
    """What each request took, and the longest wait of other requests meanwhile."""
    head = [
        f"beside it, small GETs waited {quiet:.0f} ms at most",
        "status",
        "seconds",
        "longest wait of others, ms more",
    ]
    rows = [[name, str(one.status), f"{one.seconds:.2f}", f"{one.longest:.0f}"] for name, one in found.items()]
    return markdown(head, rows)


def starts(found: Mapping[str, Start], base: str) -> str:
    """Start and idle memory, and how they stand to those of *base*."""
    head = ["", "first response ms", f"/ {base}", "idle RSS MB", f"minus {base}'s"]
    ms, rss = found[base]
    rows = [
        [name, f"{one.ms:.0f}", f"{one.ms / ms:.2f}", f"{one.rss:.1f}", f"{one.rss - rss:+.1f}"]
        for name, one in found.items()
    ]
    return markdown(head, rows)


def imports(found: Mapping[str, Import]) -> str:
    """What imports take."""
    rows = [[name, f"{one.ms:.0f}", f"{one.own:.0f}", f"{one.modules:.0f}"] for name, one in found.items()]
    return markdown(["import of", "ms", "ms in flowruns' own modules", "modules"], rows)


def fixtures(costs: Mapping[str, float], aims: Mapping[str, float], suites: Mapping[str, float]) -> str:
    """What the fixtures' server takes in ms, and what many tests take."""
    rows = [[name, f"{ms:.1f} ms", f"{aims[name]} ms"] for name, ms in costs.items()]
    return markdown(["fixtures", "duration", "aim"], [*rows, *([name, f"{s:.1f} s", ""] for name, s in suites.items())])


def _cell(one: Measured) -> str:
    us = typical(one.loads)
    return f"{us.rate:,.0f} ({us.p50:.2f}, {us.p99:.1f})"


def _row(label: str, values: Sequence[float], form: str) -> list[str]:
    return [label, *(format(value, form) for value in values), _number(values[-1] / values[0])]


def _share(one: Measured, other: Measured) -> float:
    """The median over rounds of *one*'s rate by *other*'s: each pair met the same machine."""
    return median(a.rate / b.rate for a, b in zip(one.loads, other.loads, strict=True))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"
