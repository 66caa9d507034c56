"""What pip installs works without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flowruns import __version__
from tests.waits import HANG

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built offline: hatchling is among the test requirements."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "-w", str(folder), str(ROOT)], check=True, capture_output=True, timeout=HANG)
    return next(folder.glob("*.whl"))


def test_the_wheel_has_the_schema_the_page_the_marker_for_types_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {name for name in names if ".dist-info/" not in name}
    package = [path for path in (ROOT / "flowruns").rglob("*.*") if path.is_file() and path.suffix != ".pyc"]
    assert ours == {path.relative_to(ROOT).as_posix() for path in package} | {"flowruns/schema.sql"}
    assert {"flowruns/ui/index.html", "flowruns/py.typed", "flowruns/scripts/demo.toml"} <= ours


def test_the_installed_package_finds_its_schema_and_its_command(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site with space"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=HANG)
    code = (
        "import flowruns, flowruns.sqlite.migrations as d; print(flowruns.__file__); assert d.schema().startswith('--')"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=HANG
    )
    assert run.stdout.startswith(str(site)), run.stderr
    version = [sys.executable, "-m", "flowruns", "--version"]
    run = subprocess.run(version, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=HANG)
    assert run.stdout == f"flowruns {__version__}\n", run.stderr
