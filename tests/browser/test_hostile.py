"""The content of runs is untrusted: the page shows it as text only."""

import pytest

from tests.browser.conftest import Server
from tests.browser.playwright_api import Page, expect

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'><svg onload=alert(3)>"

T0 = "2026-01-01T00:00:00Z"


@pytest.fixture
def hostile(own: Server) -> Server:
    own.put("id", phase="failed", flowType="automation", startTime=T0, tags=[{"key": MARKUP, "value": MARKUP}],
            actions=[{"id": MARKUP, "phase": "failed", "startTime": T0, "endTime": "2026-01-01T00:00:01Z"},
                     {"id": "constructor.__proto__", "phase": "constructor"}],
            logs=[{"message": f"{MARKUP} \x1b[31m{MARKUP}\x1b]8;;javascript:alert(4)\x07link", "action": MARKUP},
                  {"message": "\u202egnp.exe \x1b[2J\x1b[999;999H\x00\x07"},
                  {"message": f"##[group]{MARKUP}"}, {"message": f"::error file={MARKUP}::{MARKUP}"}],
            args={MARKUP: MARKUP, "__proto__": {"hasOwnProperty": MARKUP}, "url": "javascript:alert(5)",
                  "link": "https://example.org/\"onclick=alert(6)"},
            outputs={"a": MARKUP})  # fmt: skip
    own.put("other", startTime=T0, args={MARKUP: "x"})
    return own


@pytest.mark.parametrize(
    "path",
    ["", "runs/id", "runs/id?tab=logs", "runs/id?tab=args", "runs/id?tab=outputs", "compare?a=id&b=other",
     "?tag=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E:x", "runs/%3Cimg%20src=x%20onerror=alert(1)%3E",
     "?phase=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E", "runs/id?tab=__proto__&line=%3Cscript%3E",
     "compare?a=%3Cscript%3E&b=.."],
)  # fmt: skip
def test_markup_stays_text(hostile: Server, page: Page, path: str) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(hostile.ui + path)
    expect(page.locator("h1").last).to_be_attached()
    page.wait_for_load_state("networkidle" if "compare" in path and ".." in path else "load")
    assert page.locator("main img, main script, main svg, main iframe, main [onerror], main [onclick]").count() == 0
    assert page.locator("a[href^='javascript:']").count() == 0
    assert dialogs == []


def test_controls_are_shown_as_escapes_in_logs(hostile: Server, page: Page) -> None:
    page.goto(f"{hostile.ui}runs/id?tab=logs")
    expect(page.locator("[data-line='2'] .text")).to_have_text("\\u202egnp.exe \\u0000\\u0007")
    expect(page.locator("[data-line='1'] .text")).to_contain_text(MARKUP)
    assert page.locator("[data-line='1'] .ansi-fg").all_inner_texts() == [MARKUP, "link"]


# The texts and tooltips that have a character that hides or reorders text.
CONTROLS = r"""[...document.querySelectorAll("body *")].flatMap((element) => [element.title, element.ariaLabel ?? "",
    ...[...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data)])
    .concat(document.title).filter((text) =>
        /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/.test(text))"""


@pytest.mark.parametrize(
    "path",
    ["", "runs/odd", "runs/odd?tab=logs", "runs/odd?tab=args", "runs/odd?tab=outputs", "runs/odd?tab=json",
     "compare?a=odd&b=other", "runs/%E2%80%AE", "?phase=%E2%80%AE", "?tag=%E2%80%AE:x", "?flowId=%E2%80%AE",
     "compare?a=%E2%80%AE&b=%07"],
)  # fmt: skip
def test_no_text_is_turned_round(own: Server, page: Page, path: str) -> None:
    odd = "a\u202eb\u2066c\u200fd\x07e"
    own.put("odd", phase="failed", startTime=T0, tags=[{"key": odd, "value": odd}], args={odd: {odd: odd}},
            outputs={odd: odd * 200}, actions=[{"id": odd, "phase": "failed", "startTime": T0}],
            logs=[{"message": odd, "action": odd, "level": "error"}])  # fmt: skip
    own.put("other", args={odd: 1}, actions=[{"id": odd, "startTime": T0}])
    page.goto(own.ui + path)
    expect(page.locator("#main h1").last).to_be_attached()
    expect(page.locator(".skeleton")).to_have_count(0)
    assert page.evaluate(CONTROLS) == []
    if "odd" in path:
        expect(page.locator("#main")).to_contain_text("a\\u202eb\\u2066c\\u200fd\\u0007e")


def test_the_content_security_policy_blocks_other_hosts(hostile: Server, any_page: Page) -> None:
    any_page.goto(hostile.ui)
    blocked = any_page.evaluate("""async () => {
        const image = document.createElement("img");
        const failed = new Promise(done => { image.onerror = () => done("image"); image.onload = () => done("no") });
        image.src = "https://example.org/x.png";
        const fetched = await fetch("https://example.org/").then(() => "no", () => "fetch");
        return [await failed, fetched];
    }""")
    assert blocked == ["image", "fetch"]
