"""Ends of the process while clients write: nothing that was acknowledged may be lost."""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import RUNS
from tests.faults import check_duration, progress
from tests.faults.clients import Findings, Writer, acknowledged, at_work, crew
from tests.processes import Process, ended, serving, started
from tests.wire import Wire

NAME = "runs.db"
WRITERS = 8
START_SECONDS = 5  # promised
END_SECONDS = 5  # promised
_WORK_SECONDS = 0.8  # until the end comes, at the most


@dataclass
class Course:
    """What has happened, in all rounds."""

    writers: list[Writer]
    chance: random.Random
    findings: Findings = field(default_factory=Findings)
    starts: list[float] = field(default_factory=list)  # seconds until the first answer
    ends: list[float] = field(default_factory=list)  # seconds from the signal on
    killed_ends: int = 0
    killed_starts: int = 0

    def summary(self) -> str:
        return f"{acknowledged(self.writers):,} acknowledged writes, {self.findings.summary()}"


Ending = Callable[[Course, Process, Path], None]


def kill(rounds: int, seed: int) -> str:
    """In every round the process is killed at a random moment, and started again on the same file."""
    course = _rounds("kill", rounds, seed, _killed)
    return (
        f"kill: {rounds:,} rounds ({course.killed_ends} of them in an end, {course.killed_starts} starts killed too),"
        f" {course.summary()}, longest restart {max(course.starts[1:]):.2f} s"
    )


def stop(rounds: int, seed: int) -> str:
    """In every round the process is stopped, by SIGTERM and SIGINT in turn, and started again on the same file."""
    course = _rounds("stop", rounds, seed, _stopped)
    broken_off = sum(writer.broken_off for writer in course.writers)
    silent = sum(writer.silent for writer in course.writers)
    summary = f"{course.summary()}, {broken_off} responses cut off, {silent} writes done without a response"
    assert not broken_off + silent, summary
    return (
        f"stop: {rounds:,} rounds, {summary}, exit code 0 and one file left {len(course.ends):,} times,"
        f" longest end {max(course.ends):.2f} s"
    )


def _rounds(name: str, rounds: int, seed: int, ending: Ending) -> Course:
    """Works and ends so often, on one file; each start but the first is followed by a look at everything."""
    course = Course(crew(WRITERS, seed), random.Random(seed))
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder:
        file = Path(folder) / NAME
        for number in range(rounds + 1):
            progress(f"{name}: round {number} of {rounds}")
            began = time.perf_counter()
            with serving(file.parent, NAME) as server:
                with Wire(server.url) as wire:
                    assert wire.ask("GET", RUNS).status == 200, "the first response after a start is not 200"
                course.starts.append(time.perf_counter() - began)
                check_duration(course.starts[-1], START_SECONDS, "a start")
                if number:
                    course.findings.check(server.url, file, course.writers)
                if number < rounds:
                    with at_work(course.writers, server.url):
                        time.sleep(course.chance.uniform(0, _WORK_SECONDS))  # the end comes at a random moment
                        ending(course, server.process, file)
    return course


def _killed(course: Course, process: Process, file: Path) -> None:
    """Kills *process*, now and then in the middle of its end, and now and then the next one, as it starts, too."""
    chance = course.chance
    if chance.random() < 0.2:
        course.killed_ends += 1
        process.terminate()
        time.sleep(chance.uniform(0, 0.1))  # the kill comes at a random moment of the end
    process.kill()
    process.wait()
    if chance.random() < 0.3:
        course.killed_starts += 1
        with started(file.parent, NAME, "--port", "0"):
            time.sleep(chance.uniform(0, 0.4))  # and here, of the start


def _stopped(course: Course, process: Process, file: Path) -> None:
    """Ends *process* as its user does."""
    course.ends.append(end(process, file, (signal.SIGTERM, signal.SIGINT)[len(course.ends) % 2]))


def end(process: Process, file: Path, number: signal.Signals = signal.SIGTERM) -> float:
    """Seconds until the signal has ended *process*, which has said nothing, and left *file* alone in its folder."""
    seconds, said = ended_by(process, number)
    assert not said, f"it ended after {number.name}, and wrote to stderr: {said}"
    left = sorted(os.listdir(file.parent))
    assert left == [file.name], f"{number.name} left {left}"
    return seconds


def ended_by(process: Process, number: signal.Signals) -> tuple[float, str]:
    """Seconds until the signal has ended *process*, and what it has said, which is no traceback."""
    began = time.perf_counter()
    process.send_signal(number)
    code, said = ended(process)
    seconds = time.perf_counter() - began
    assert "Traceback" not in said, f"{number.name} ended it with a traceback: {said.splitlines()[-1]}"
    assert code == 0, f"{number.name} ended it with exit code {code}, and it wrote to stderr: {said}"
    check_duration(seconds, END_SECONDS, f"the end after {number.name}")
    return seconds, said
