"""The pictures of the README, of the real runs: `python -m tests.browser.screenshots [FOLDER]`."""

import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import launched, missing
from tests.browser.conftest import Server, fill, open_live
from tests.processes import serving
from tests.waits import FOREVER

FOLDER = Path(__file__).parents[2] / ".screenshots"
VIEWS = {
    "list": ("", 1000, 440, "light"),
    "run": ("runs/gh-577324554", 1000, 600, "light"),
    "logs": ("runs/gh-711446981?tab=logs&line=105", 1000, 470, "dark"),
}


def main(folder: Path) -> None:
    """Writes a picture of each view."""
    if reason := missing():
        raise SystemExit(reason)
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as data, serving(Path(data), ":memory:", seconds=FOREVER) as served:
        server = Server(served.url)
        fill(server)
        with launched() as browser:
            for name, (path, width, height, scheme) in VIEWS.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce",
                    timezone_id="UTC",
                )  # fmt: skip
                open_live(page, server.ui + path)
                page.wait_for_load_state("load")
                page.locator("[data-value=cancelled]:visible, .gantt tr, .line").first.wait_for()
                page.screenshot(path=folder / f"{name}.png")
                page.close()
                size = (folder / f"{name}.png").stat().st_size
                print(f"{name}.png: {size:,} bytes")
        server.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
