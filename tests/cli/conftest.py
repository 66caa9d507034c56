"""Commands run in an empty folder, without variables of the user."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("FLOWRUNS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
