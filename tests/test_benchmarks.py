"""The servers without a part, which the benchmarks measure: they change names of the package, which may be gone."""

import sys
from pathlib import Path

import httpx
import pytest

from tests.processes import serving

pytest.importorskip("resource", reason="the benchmarks measure processes as Unix does; use Linux or macOS")

from tests.benchmarks.contenders import cursors, fill  # Windows lacks what they import
from tests.benchmarks.operations import GROWTH_OPERATIONS, Known  # as above
from tests.benchmarks.parts import PARTS  # as above

_RUNS, _VICTIMS = 60, 1


@pytest.mark.parametrize("part", PARTS)
def test_server_without_a_part_performs_every_operation(part: str, tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    fill(file, 0, _RUNS + _VICTIMS)
    known = Known(_RUNS, cursors(file, _RUNS), iter(range(_RUNS, _RUNS + _VICTIMS)))
    command = [sys.executable, "-m", "tests.benchmarks.parts", part]
    with serving(Path.cwd(), str(file), command=command) as served, httpx.Client(base_url=served.url) as client:
        for name, operation in GROWTH_OPERATIONS.items():
            method, target, body = operation.line(known).split("\t")
            headers = {"Content-Type": "application/json"} if body else {}
            response = client.request(method, target, content=body or None, headers=headers)
            assert response.is_success, (name, response.text)
