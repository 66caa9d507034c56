"""The modules of the page that draw nothing, called in the browser."""

import json
import random
from typing import Any

from flowruns.http import static
from tests.browser.conftest import Server
from tests.browser.playwright_api import Page


def call(site: Server, page: Page, module: str, code: str, *values: Any) -> Any:
    """The result of *code*, where `it` is the module and `values` is *values*."""
    if not page.url.startswith(site.ui):
        page.goto(f"{site.ui}runs/gh-711446981?tab=args")
    url = f"{site.ui}assets/{static.version()}/{module}.js"
    return page.evaluate(f"async (values) => {{ const it = await import('{url}'); return {code} }}", list(values))


DURATIONS = {
    0: "0 ms", 16: "16 ms", 999: "999 ms", 1_000: "1.0 s", 9_999: "9.9 s", 10_000: "10 s", 59_999: "59 s",
    60_000: "1 min 00 s", 185_000: "3 min 05 s", 3_600_000: "1 h 00 min", 86_399_000: "23 h 59 min",
    86_400_000: "1 d 00 h", -16: "−16 ms",
}  # fmt: skip
STYLES: dict[str, tuple[str | None, list[str]]] = {
    "31": ("var(--bad)", []), "92": ("var(--good)", []), "1;4;36": ("var(--cyan)", ["bold", "underline"]),
    "38;5;9": ("var(--bad)", []), "38;5;196": ("rgb(255 0 0)", []), "38;5;244": ("rgb(128 128 128)", []),
    "38;2;1;2;3": ("rgb(1 2 3)", []), "38;2;1;2": (None, []), "38;5;999": (None, []), "1;22;31;39": (None, []),
    "31;0": (None, []), "31;": (None, []), "": (None, []), "38": (None, []), "48;5;1": (None, []),
}  # fmt: skip


def test_durations_are_formatted(site: Server, page: Page) -> None:
    assert call(site, page, "time", "values.map(it.duration)", *DURATIONS) == list(DURATIONS.values())


def test_escapes_become_styles(site: Server, page: Page) -> None:
    code = "values.map((text) => it.segments(text).map(({ text, style }) => [text, style.fg, [...style.flags]]))"
    found = call(site, page, "ansi", code, *[f"\x1b[{escape}mx\x1b[2K" for escape in STYLES])
    assert found == [[["x", colour, flags]] for colour, flags in STYLES.values()]


def test_events_do_not_depend_on_the_chunks_of_their_stream(site: Server, page: Page) -> None:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    chance = random.Random(seed)
    code = """values.map((chunks) => {
        const parser = new it.EventParser("1");
        return [chunks.flatMap((chunk) => parser.feed(chunk)), parser.lastId];
    })"""
    text = ': hi\nid: 4\n\nid: 5\nevent: run\ndata: {\ndata:  "a": 1}\n\n:\n\nid: 7\nevent: deleted\ndata:x\n\n: \n'
    streams = []
    for _ in range(100):
        stream = text.replace("\n", chance.choice(["\n", "\r\n", "\r"]))
        cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(12)))
        streams.append([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])
    for chunks, (events, position) in zip(streams, call(site, page, "stream", code, *streams), strict=True):
        assert events == [
            {"id": "5", "type": "run", "data": '{\n "a": 1}'},
            {"id": "7", "type": "deleted", "data": "x"},
        ], chunks
        assert position == "7"


def test_an_incomplete_event_does_not_move_the_position(site: Server, page: Page) -> None:
    code = """(() => {
        const parser = new it.EventParser("1");
        parser.feed("id: 4\\n\\nid: 9\\nevent: run\\ndata: {");
        return parser.lastId;
    })()"""
    assert call(site, page, "stream", code) == "4"


def test_the_parser_preserves_any_json(site: Server, page: Page) -> None:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    chance = random.Random(seed)

    def value(depth: int) -> Any:
        kind = chance.randrange(7 if depth else 5)
        if kind == 5:
            return [value(depth - 1) for _ in range(chance.randrange(4))]
        if kind == 6:
            return {text(): value(depth - 1) for _ in range(chance.randrange(4))}
        return [None, True, chance.random() * 10 ** chance.randrange(30), chance.randrange(10**30), text()][kind]

    def text() -> str:
        return "".join(chance.choice('a"\\{}[],: \nü😀\x01') for _ in range(chance.randrange(6)))

    docs = []
    for _ in range(200):
        indent = chance.choice([None, 0, 3])
        docs.append(json.dumps({"args": value(4), "x": value(3)}, indent=indent, ensure_ascii=chance.random() < 0.5))
    code = """values.map((text) => {
        const again = (node) => node.entries
            ? `{${node.entries.map(([key, child]) => `${JSON.stringify(key)}:${again(child)}`).join(",")}}`
            : node.items ? `[${node.items.map(again).join(",")}]` : it.raw(text, node);
        const { args } = it.members(text);
        return [again(it.parse(text)), text.slice(args.start, args.end)];
    })"""
    for doc, (again, args) in zip(docs, call(site, page, "json", code, *docs), strict=True):
        assert json.loads(again) == json.loads(doc)
        assert json.loads(args) == json.loads(doc)["args"]


def test_gaps_are_the_times_without_an_action(site: Server, page: Page) -> None:
    spans = [{"from": a, "to": b} for a, b in [(10, 20), (15, 30), (50, 60), (None, None), (70, 70)]]
    found = call(site, page, "axis", "it.gaps(values[0], { from: 0, to: 100 })", spans)
    assert found == [{"from": a, "to": b} for a, b in [(0, 10), (30, 50), (60, 100)]]


def milliseconds(label: str) -> float:
    units = {"ms": 1, "s": 1e3, "min": 6e4, "h": 36e5, "d": 864e5}
    words = label.split()
    return (
        sum(float(count) * units[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
        if label != "0"
        else 0
    )


def test_the_marks_of_a_ruler_are_where_they_say(site: Server, page: Page) -> None:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    chance = random.Random(seed)
    cases = [(2_160, 0), *((int(10 ** chance.uniform(0, 13)), int(10 ** chance.uniform(0, 10))) for _ in range(300))]
    for (_, offset), marks in zip(
        cases,
        call(site, page, "axis", "values.map(([length, offset]) => it.ticks(length, offset))", *cases),
        strict=True,
    ):
        assert [round(milliseconds(mark["label"])) for mark in marks] == [mark["at"] + offset for mark in marks]


def test_lines_do_not_depend_on_how_often_a_log_was_read(site: Server, page: Page) -> None:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    chance = random.Random(seed)
    texts = ["##[group]a", "##[endgroup]", "x\r\ny", "a\nb\nc", "", "::error::no", "one\rtwo"]
    logs = [{"message": "\n".join(chance.choices(texts, k=chance.randrange(1, 4))), "level": "info", "action": None,
             "timestamp": "t"} for _ in range(200)]  # fmt: skip
    code = """(() => {
        const whole = new it.LogReader();
        whole.setLogs(values[0]);
        whole.read(Infinity);
        const parts = new it.LogReader();
        for (const count of values[1]) {
            parts.setLogs(values[0].slice(0, count));
            while (parts.read(3));
        }
        const shown = it.visible(whole.lines, { collapsed: new Set() });
        return [whole.lines, parts.lines, it.countLines(values[0]), shown.length];
    })()"""
    whole, parts, count, shown = call(site, page, "loglines", code, logs, [20, 50, 51, 200])
    assert whole == parts
    assert count == shown


def test_an_error_of_a_listener_does_not_end_the_stream(site: Server, page: Page) -> None:
    code = """await new Promise((done) => {
        const messages = [];
        addEventListener("error", (event) => {
            messages.push(event.message);
            event.stopImmediatePropagation();
            event.preventDefault();
        });
        const stream = new it.Stream(new URL("../api/v1/flow-runs/gh-711446981", document.baseURI), null, {
            event: () => { setTimeout(() => { stream.close(); done(messages); }); throw new Error("a bug"); },
            state: (name) => messages.push(name),
            failed: () => {},
            closed: () => {},
        });
        stream.start();
    })"""
    assert call(site, page, "stream", code) == ["live", "Uncaught Error: a bug"]


def test_a_long_table_that_was_removed_draws_no_rows(site: Server, page: Page) -> None:
    code = """await (async () => {
        const table = document.createElement("table");
        document.getElementById("main").replaceChildren(table);
        const row = () => {
            drawn += table.isConnected ? 0 : 1;
            const element = document.createElement("tr");
            element.style.height = "24px";
            return element;
        };
        const observed = (element) => new Promise((done) => new IntersectionObserver(done).observe(element));
        let drawn = 0;
        it.setRows(table, Array.from({ length: 5_000 }), row, 24);
        await observed(table);
        scrollTo(0, 60_000);
        await new Promise((done) => { // between the rendering, which finds what is in view, and its observers
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = () => done(table.remove());
            requestAnimationFrame(() => port2.postMessage(null));
        });
        await observed(document.body);
        return drawn;
    })()"""
    assert call(site, page, "longtable", code) == 0


def test_a_comparison_with_a_run_that_never_stops_changing_is_drawn(site: Server, page: Page) -> None:
    args = {f"key-{number}": list(range(10)) for number in range(4_000)}
    run = json.dumps({"id": "a", "args": args | {"changes": 0}, "outputs": None})
    code = """await (async () => {
        const [run, mostTurns] = values;
        const root = document.getElementById("main");
        const view = new it.CompareView(root, { route: { query: new URLSearchParams() } });
        for (const side of [0, 1]) view.show(side, run);
        const { port1, port2 } = new MessageChannel();
        for (let turn = 1; turn < mostTurns; turn += 1) {
            view.show(1, run.replace('"changes": 0', `"changes": ${turn}`));
            await new Promise((done) => { // until the comparison had its turn
                port1.onmessage = done;
                port2.postMessage(null);
            });
            if (root.querySelector("tr.changed")) return turn;
        }
        return null;
    })()"""
    assert call(site, page, "compare", code, run, 500) is not None
