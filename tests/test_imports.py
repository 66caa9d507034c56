"""The rooms: imports go downwards only (the README's "Architecture")."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "flowruns"
FLOORS = [
    {"errors", "settings", "__init__"},
    {"models", "validation", "paging", "conditions", "ids", "datafile", "files", "database"},
    {"filters"},
    {"queries", "news", "values"},
    {"store"},
    {"responses", "inputs", "meanings", "openapi", "transfer", "upkeep"},
    {"guard", "api", "feed", "web", "logs", "demo"},
    {"app", "faults", "interrupts"},
    {"protocol", "server"},
    {
        "embed",
        "sidecar",
        "parameters",
        "output",
        "remote",
        "client",
        "local",
        "views",
        "asking",
        "progress",
        "seeding",
    },
    {"cli", "control", "terminal", "data_commands", "config", "__main__", "testing"},
    {"pytest_plugin"},
]
FLOOR = {module: number for number, modules in enumerate(FLOORS) for module in modules}
PURE = FLOORS[0] | FLOORS[1] | FLOORS[2]
ONLY = {
    "aiosqlite": {"database"},
    "sqlite3": {"database", "queries", "store", "transfer", "upkeep"},
    "starlette": {"guard", "logs", "app"},
    "uvicorn": {"protocol", "server"},
    "click": {"asking", "cli", "config", "control", "data_commands", "output", "parameters", "terminal"},
}
IMPURE = {"asyncio", "time", "socket", "threading", "starlette", "uvicorn", "aiosqlite", "sqlite3"}


def imports(module: str) -> set[str]:
    """What *module* imports at its top or later: other packages by name, ours as `.name`."""
    found: set[str] = set()
    if module == "__init__":  # every module imports it; what it offers it imports when it is asked for
        return found
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if name == "flowruns":
                found |= {f".{alias.name}" if alias.name in FLOOR else ".__init__" for alias in node.names}
            else:
                found.add("." + name.removeprefix("flowruns.") if name.startswith("flowruns.") else name.split(".")[0])
    return found


MODULES = sorted(file.stem for file in PACKAGE.glob("*.py"))


def test_every_module_has_its_floor() -> None:
    assert set(MODULES) == set(FLOOR)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards_or_stay_on_their_floor(module: str) -> None:
    ours = {name[1:] for name in imports(module) if name.startswith(".")}
    assert {name for name in ours if FLOOR[name] > FLOOR[module]} == set()


def test_no_two_modules_import_each_other() -> None:
    below = {module: {name[1:] for name in imports(module) if name.startswith(".")} for module in MODULES}
    while leaves := [module for module in below if not below[module] & set(below)]:
        for leaf in leaves:
            del below[leaf]
    assert not below


@pytest.mark.parametrize("library", ONLY)
def test_a_library_stays_in_its_rooms(library: str) -> None:
    assert {module for module in MODULES if library in imports(module)} <= ONLY[library]


@pytest.mark.parametrize("module", sorted(PURE - {"database", "datafile"}))
def test_the_lowest_floors_are_pure(module: str) -> None:
    assert imports(module) & IMPURE == set()
