"""The command line: checks the tools, and prints a line for each. Exit code 1: one failed."""

import argparse
import sys
import tempfile
from pathlib import Path

from flowruns.http.openapi.document import document
from tests.generators.checks import CHECKS
from tests.generators.streams import STREAMS
from tests.generators.workshop import Failed, Workshop, hints

TOOLS = CHECKS | STREAMS


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="flowruns-generators-") as temporary:
        tools = (options.tools or Path(temporary)).resolve()
        tools.mkdir(exist_ok=True)
        shop = Workshop(tools, options.document.read_bytes() if options.document else document())
        try:
            shop.install()
        except Failed as error:
            sys.exit(f"The tools cannot be installed: {error}")
        if options.versions:
            print(shop.versions())
        failed = [name for name in options.names if not _passes(shop, name, options.verbose)]
    return bool(failed)


def _passes(shop: Workshop, name: str, verbose: bool) -> bool:
    try:
        TOOLS[name](shop)
    except (Failed, AssertionError) as error:
        print(f"{name}: FAILED: {error if verbose else hints(str(error))}", flush=True)
        return False
    print(f"{name}: ok", flush=True)
    return True


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.generators",
        description="Generates clients from the OpenAPI document, compiles them strictly and runs programs that use"
        " them; lints the document; reads streams with libraries over a restart. Installs all tools from PyPI and npm.",
        epilog=f"Tools: {'; '.join(TOOLS)}",
    )
    parser.add_argument("names", nargs="*", metavar="TOOL", help="the first letters of its name; default: all tools")
    parser.add_argument("--tools", type=Path, help="the folder in which the tools are, and stay; without it a new one")
    parser.add_argument("--document", type=Path, help="another document than that of this version")
    parser.add_argument("--versions", action="store_true", help="print the versions of the tools first")
    parser.add_argument("--verbose", action="store_true", help="print the whole output of tools that fail")
    options = parser.parse_args()
    options.names = [name for name in TOOLS if name.startswith(tuple(options.names or [""]))]
    if not options.names:
        parser.error(f"TOOL: the first letters of {', '.join(TOOLS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
