"""The folders of `flowruns/docs/architecture.md`: imports go down only, and each library stays in its folders."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "flowruns"
# From the top down: what is in a folder imports from the same folder and from those below it.
LAYERS = [
    {"cli", "__main__"},
    {"testing"},
    {"embed"},
    {"terminal"},
    {"server"},
    {"http"},
    {"player"},
    {"client"},
    {"store"},
    {"sqlite"},
    {"model"},
    {"errors", "settings", "version", "addresses", "switching"},
]
LEVEL = {name: number for number, names in enumerate(LAYERS) for name in names}
ONLY = {
    "aiosqlite": {"sqlite"},
    "sqlite3": {"store", "sqlite", "cli"},
    "starlette": {"http"},
    "uvicorn": {"server"},
    "httptools": {"server"},
    "click": {"cli", "terminal"},
    "httpx": {"client", "testing"},
    "anyio": {"client", "player"},
    "pytest": {"testing"},
}
IMPURE = {"asyncio", "os", "random", "secrets", "socket", "sqlite3", "threading", "time"}
MODULES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.name != "__init__.py"  # they import lazily what they offer, for programs outside
}


def imports(module: str) -> set[str]:
    """What *module* imports at its top or later: other packages by name, modules of flowruns as `.folder.module`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package, _, name = (node.module or "").partition(".")
            if package != "flowruns":
                found.add(package)
            elif name in MODULES:
                found.add(f".{name}")
            else:
                found |= {"." + f"{name}.{alias.name}".lstrip(".") for alias in node.names}
    return found


BELOW = {module: {name[1:] for name in imports(module) if name.startswith(".")} for module in MODULES}


def folder(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_is_in_a_known_folder() -> None:
    assert {folder(module) for module in MODULES} == set(LEVEL)


def test_imports_name_modules_of_flowruns() -> None:
    assert set().union(*BELOW.values()) <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_or_stay_in_their_folder(module: str) -> None:
    assert {name for name in BELOW[module] if LEVEL[folder(name)] < LEVEL[folder(module)]} == set()


def test_no_two_modules_import_each_other() -> None:
    below = dict(BELOW)
    while leaves := [module for module, names in below.items() if not names & set(below)]:
        for leaf in leaves:
            del below[leaf]
    assert not below


@pytest.mark.parametrize("library", ONLY)
def test_a_library_stays_in_its_folders(library: str) -> None:
    assert {folder(module) for module in MODULES if library in imports(module)} <= ONLY[library]


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module) == "model"])
def test_the_model_is_pure(module: str) -> None:
    assert imports(module) & IMPURE <= ({"os"} if module == "model.ids" else set())  # its randomness is an argument
