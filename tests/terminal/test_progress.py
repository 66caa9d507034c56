"""The progress line: its text, how often it is drawn, and that it is removed."""

import io
import re
from collections.abc import Sequence

import pytest

from flowruns.terminal.progress import Progress, duration


class Screen(io.StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        return True


class Gone(Screen):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


def drawn(
    *steps: tuple[float, int, float | None], stream: io.StringIO | None = None, what: Sequence[str] = ("importing",)
) -> str:
    """What is written about *what*; each step is at a time, and has a number and a share."""
    now, stream = 0.0, stream or Screen()
    with Progress(*what, stream=stream, clock=lambda: now) as progress:
        for now, count, share in steps:  # noqa: B007  # the clock reads it
            progress.update(count, share)
    return "" if stream.closed else stream.getvalue()


def lines(text: str) -> list[str]:
    """The lines that *text* draws, one in place of the other."""
    return re.findall(r"\r([^\x1b]+)", text)


def test_line_tells_share_count_rate_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    bar = "=" * 6 + " " * 18
    shown = f"\rimporting  [{bar}]  25%  45,000 runs, 1,500/s, 1:30 left\x1b[K"
    assert drawn((30, 45_000, 0.25)) == shown + "\r\x1b[K"


def test_line_of_what_has_no_known_end_tells_count_or_time() -> None:
    text = drawn((3700, 7400, None), (3701, 0, None), what=("reading", "MB"))
    assert lines(text) == ["reading  7,400 MB, 2/s", "reading  1:01:41"]


def test_one_run_is_counted_in_the_singular() -> None:
    assert lines(drawn((1, 1, None), (2, 2, None))) == ["importing  1 run, 1/s", "importing  2 runs, 1/s"]


def test_line_is_drawn_ten_times_a_second_at_most() -> None:
    assert 15 <= drawn(*((step / 1000, step, step / 2000) for step in range(2001))).count("importing") <= 20


def test_line_is_no_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    shown = re.sub(r"\x1b\[\d*m", "", drawn((1, 10**9, 0.5)).split("\r")[1]).removesuffix("\x1b[K")
    assert len(shown) == 29


def test_nothing_is_drawn_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Screen()
    closed.close()
    for stream in (io.StringIO(), closed):
        assert drawn((1, 5, None), stream=stream) == ""
    monkeypatch.setenv("TERM", "dumb")
    assert drawn((1, 5, None)) == ""


def test_terminal_that_is_gone_stops_nothing() -> None:
    drawn((1, 5, None), (2, 5, None), (3, 5, None), stream=Gone())


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36000, "10:00:00")])
def test_duration_is_as_people_read_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
