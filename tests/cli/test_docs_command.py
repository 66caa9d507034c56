"""`flowruns docs`: the list of topics, a page, the pager, and mistyped topics."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from flowruns.cli.docs import topics
from flowruns.cli.main import main
from tests.cli.terminals import in_terminal, posix, shown
from tests.cli.test_main import one_line
from tests.waits import HANG

PACKAGE = Path(__file__).parents[2] / "flowruns"
DOCS = PACKAGE / "docs"


def test_without_a_topic_every_topic_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["docs"]) == 0
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == topics()
    assert all(len(line) <= 80 for line in out.splitlines())
    assert err == "flowruns: `flowruns docs TOPIC` shows a page\n"


@pytest.mark.parametrize("topic", topics())
def test_topic_prints_its_page(capfdbinary: pytest.CaptureFixture[bytes], topic: str) -> None:
    assert main(["docs", topic.upper()]) == 0
    assert capfdbinary.readouterr() == ((DOCS / f"{topic}.md").read_bytes(), b"")


@pytest.mark.parametrize(
    ("topic", "near"), [("apis", "api"), ("event", "events"), ("config", "configuration"), ("../docs/api", "")]
)
def test_unknown_topic_is_an_error_that_names_the_nearest(
    capfd: pytest.CaptureFixture[str], topic: str, near: str
) -> None:
    assert main(["docs", topic]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert f"there is no topic '{topic}'" in one_line(err)
    assert ("did you mean" in err) == bool(near)
    assert f"`flowruns docs {near}`" in err if near else "`flowruns docs` lists the topics" in err


@posix
def test_page_on_a_terminal_goes_through_the_pager(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\nsed 1s/^/paged:/\n")
    pager.chmod(0o755)
    env = {"PAGER": str(pager)}  # without arguments, which click 8.1 does not take
    with in_terminal(tmp_path, "docs", "changes", streams=["stdin", "stdout"], env=env) as (process, screen):
        assert shown(screen) == "paged:" + (DOCS / "changes.md").read_text(encoding="utf-8")
        assert (process.stderr.read(), process.wait()) == ("", 0)


def test_pages_can_be_read_from_an_archive(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "flowruns.zip", "w") as archive:
        for file in (file for file in PACKAGE.rglob("*") if file.suffix in (".py", ".md")):
            archive.write(file, file.relative_to(PACKAGE.parent))
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "flowruns.zip")}
    code = "import flowruns, runpy; print(flowruns.__file__); runpy.run_module('flowruns', run_name='__main__')"
    command = [sys.executable, "-c", code, "docs", "changes"]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", timeout=HANG)
    place, _, shown = run.stdout.partition("\n")
    assert place.startswith(str(tmp_path / "flowruns.zip")), run.stderr
    assert shown == (DOCS / "changes.md").read_text(encoding="utf-8")
