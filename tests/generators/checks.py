"""One check for each tool: it generates a client, compiles it, and runs a program that uses it; or it lints the
document.
"""

import json
from collections.abc import Callable
from typing import Any

from tests.generators.workshop import Failed, Workshop

Check = Callable[[Workshop], None]

_TSC = "tsc --strict --noEmit --target es2022 --lib es2022,dom,dom.iterable --module esnext --moduleResolution bundler"
_REQUIRE = (
    "import{createRequire}from'module';const require=createRequire(import.meta.url);"  # axios bundles code with it
)
_ESBUILD = "esbuild --bundle --platform=node --format=esm --outfile=use.mjs --log-level=warning"

# Its own client.py passes *args to __exit__ of httpx: 12 errors in a client of any document.
_MYPY = "[mypy]\nstrict = true\nfiles = use.py, generated\n[mypy-generated.client]\ndisable_error_code = arg-type\n"


def _typescript(name: str, generate: str, config: str = "{}") -> Check:
    """Checks a client that the command *generate*, to which config.json has *config*, makes for `clients/NAME.ts`."""

    def check(shop: Workshop) -> None:
        folder = shop.folder(name, "check.ts", f"{name}.ts")
        (folder / "config.json").write_text(config)
        shop.run(folder, *generate.split())
        shop.run(folder, *_TSC.split(), f"{name}.ts")
        shop.run(folder, *_ESBUILD.split(), f"--banner:js={_REQUIRE}", f"{name}.ts")
        shop.use(folder, "node", "use.mjs")

    return check


def _orval(client: str) -> Check:
    output: dict[str, Any] = {"target": "./api.ts", "client": client}
    if client == "fetch":
        output["baseUrl"] = {"runtime": "process.env.FLOWRUNS_URL"}
    config = json.dumps({"api": {"input": "./openapi.json", "output": output}})
    return _typescript(f"orval_{client}", "orval --config config.json", config)


def _openapi_python_client(shop: Workshop) -> None:
    folder = shop.folder("openapi_python_client", "openapi_python_client.py")
    options = "--path openapi.json --output-path generated --meta none"
    shop.run(folder, *f"openapi-python-client generate {options}".split())
    (folder / "openapi_python_client.py").rename(folder / "use.py")
    (folder / "mypy.ini").write_text(_MYPY)
    shop.run(folder, "mypy", "--python-executable", str(shop.python))
    shop.use(folder, str(shop.python), "use.py")


def _openapi_generator_python(shop: Workshop) -> None:
    folder = shop.folder("openapi_generator_python", "openapi_generator.py")
    options = "-i openapi.json -g python -o . --additional-properties=packageName=generated"
    shop.run(folder, *f"openapi-generator-cli generate {options}".split())
    shop.use(folder, str(shop.python), "openapi_generator.py")


def _redocly(shop: Workshop) -> None:
    output = shop.run(shop.folder("redocly"), "redocly", "lint", "openapi.json")
    if "warning" in output.lower():
        raise Failed(output)


def _spectral(shop: Workshop) -> None:
    folder = shop.folder("spectral")
    (folder / "rules.json").write_text('{"extends": "spectral:oas"}')
    shop.run(folder, "spectral", "lint", "openapi.json", "--ruleset", "rules.json", "--fail-severity", "hint")


CHECKS: dict[str, Check] = {
    "openapi-typescript, openapi-fetch": _typescript("openapi_fetch", "openapi-typescript openapi.json -o api.d.ts"),
    "orval fetch": _orval("fetch"),
    "orval axios": _orval("axios"),
    "orval zod": _orval("zod"),
    "hey-api": _typescript("hey_api", "openapi-ts -i openapi.json -o generated -c @hey-api/client-fetch"),
    "swagger-typescript-api": _typescript(
        "swagger_typescript_api", "swagger-typescript-api generate -p openapi.json -o . -n api.ts"
    ),
    "openapi-python-client": _openapi_python_client,
    "openapi-generator python": _openapi_generator_python,
    "openapi-generator typescript-fetch": _typescript(
        "openapi_generator", "openapi-generator-cli generate -i openapi.json -g typescript-fetch -o generated"
    ),
    "redocly": _redocly,
    "spectral": _spectral,
}
