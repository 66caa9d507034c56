"""The progress line: its text, how often it is drawn, and that it is removed."""

import io
import re

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


@pytest.fixture
def now() -> list[float]:
    return [0.0]


def test_line_tells_share_count_rate_and_what_is_left(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    with Progress("importing", stream=screen, clock=lambda: now[0]) as progress:
        now[0] = 30
        progress.update(45_000, 0.25)
        bar = "=" * 6 + " " * 18
        assert screen.getvalue() == f"\rimporting  [{bar}]  25%  45,000 runs, 1,500/s, 1:30 left\x1b[K"
    assert screen.getvalue().endswith("\r\x1b[K")


def test_line_of_what_has_no_known_end_tells_count_or_time(now: list[float]) -> None:
    screen = Screen()
    with Progress("reading", "MB", stream=screen, clock=lambda: now[0]) as progress:
        now[0] = 3700
        progress.update(7400)
        now[0] = 3701
        progress.update(0)
    assert re.findall(r"\r([^\x1b]+)", screen.getvalue()) == ["reading  7,400 MB, 2/s", "reading  1:01:41"]


def test_one_run_is_counted_in_the_singular(now: list[float]) -> None:
    screen = Screen()
    with Progress("importing", stream=screen, clock=lambda: now[0]) as progress:
        for done in (1, 2):
            now[0] += 1
            progress.update(done)
    assert re.findall(r"\r([^\x1b]+)", screen.getvalue()) == ["importing  1 run, 1/s", "importing  2 runs, 1/s"]


def test_line_is_drawn_ten_times_a_second_at_most(now: list[float]) -> None:
    screen = Screen()
    with Progress("importing", stream=screen, clock=lambda: now[0]) as progress:
        for step in range(2001):
            now[0] = step / 1000
            progress.update(step, step / 2000)
    assert 15 <= screen.getvalue().count("importing") <= 20


def test_line_is_no_longer_than_the_terminal(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    screen = Screen()
    with Progress("importing", stream=screen, clock=lambda: now[0]) as progress:
        now[0] = 1
        progress.update(10**9, 0.5)
    shown = re.sub(r"\x1b\[\d*m", "", screen.getvalue().split("\r")[1]).removesuffix("\x1b[K")
    assert len(shown) == 29


def test_nothing_is_drawn_where_nobody_sees_it(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Screen()
    closed.close()
    for screen in (io.StringIO(), closed):
        with Progress("importing", stream=screen, clock=lambda: now[0]) as progress:
            now[0] += 1
            progress.update(5)
        assert screen.closed or screen.getvalue() == ""
    monkeypatch.setenv("TERM", "dumb")
    with Progress("importing", stream=(screen := Screen()), clock=lambda: now[0]) as progress:
        now[0] += 1
        progress.update(5)
    assert screen.getvalue() == ""


def test_terminal_that_is_gone_stops_nothing(now: list[float]) -> None:
    with Progress("importing", stream=Gone(), clock=lambda: now[0]) as progress:
        for _ in range(3):
            now[0] += 1
            progress.update(5)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36000, "10:00:00")])
def test_duration_is_as_people_read_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
