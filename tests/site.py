"""Whether the built site asks no other host when it is opened, and has every public name:
`python -m tests.site DIRECTORY`.

What a page loads by itself is looked at: scripts, styles, pictures, fonts, frames. Links that a reader may
follow are not. Where there is Chromium and playwright (extra: browser), every page is opened in it as well.
"""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attacks
import minigrad as mg
import models

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Loads(HTMLParser):
    """What a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        target = dict(attributes).get(LOADED.get(tag, ""))
        if target:
            self.found.append(target)


def elsewhere(directory: Path) -> list[str]:
    """What pages and styles load from other hosts."""
    found = []
    for page in directory.rglob("*.html"):
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        found += [f"{page.name}: {target}" for target in loads.found if re.match(r"(\w+:)?//", target)]
    for style in directory.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        targets = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)", text)
        found += [f"{style.name}: {target}" for target in targets if re.match(r"(\w+:)?//", target)]
    return found


def missing(directory: Path) -> list[str]:
    """The public names that the reference lacks."""
    found = []
    for package, module in (("minigrad", mg), ("models", models), ("attacks", attacks)):
        text = (directory / "reference" / f"{package}.html").read_text(encoding="utf-8")
        names = [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
        found += [f"{package}.{name}" for name in names if f'id="{package}.{name}"' not in text]
    return found


def opened(directory: Path) -> list[str]:
    """What went wrong when a browser opened every page: requests for anything but files of the site, requests
    that failed, errors of scripts, and pictures without a size."""
    from playwright.sync_api import sync_playwright

    found: list[str] = []
    with sync_playwright() as playwright:
        browser = launched(playwright)
        context = browser.new_context()
        page = context.new_page()
        here = directory.resolve().as_uri()
        own = (here, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else found.append(f"asked for {r.url}"))
        page.on("requestfailed", lambda r: found.append(f"not found: {r.url}"))
        page.on("pageerror", lambda error: found.append(f"{page.url}: {error}"))
        for file in sorted(directory.rglob("*.html")):
            page.goto(file.resolve().as_uri())
            empty = page.eval_on_selector_all(
                "main img, article img", "images => images.filter(i => !i.naturalWidth).map(i => i.src)"
            )
            found += [f"{file.name}: an empty picture {source}" for source in empty]
        browser.close()
    return found


def launched(playwright: Any) -> Any:
    """Debian's Chromium. As root, in a container, it has no sandbox of its own."""
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])


def why_unopened() -> str:
    """Why no browser can be used; "" if one can."""
    if not shutil.which("chromium"):
        return "there is no Chromium"
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError:
        return "playwright is not installed (extra: browser)"
    return ""


def main() -> int:
    directory = Path(sys.argv[1])
    problems = [f"loads from another host: {what}" for what in elsewhere(directory)]
    problems += [f"not in the reference: {name}" for name in missing(directory)]
    reason = why_unopened()
    if not reason:
        problems += opened(directory)
    print("\n".join(problems) or "the site asks no other host, and has every public name")
    pages = len([*directory.rglob("*.html")])
    print(
        f"it was not opened in a browser: {reason}"
        if reason
        else f"its {pages} pages were opened in Chromium"
    )
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
