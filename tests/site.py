"""Whether the built site asks no other host when it is opened, and has every public name:
`python -m tests.site DIRECTORY`.

What a page loads by itself is looked at: scripts, styles, pictures, fonts, frames. Links that a reader may
follow are not.
"""

from __future__ import annotations

import inspect
import re
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


def main() -> int:
    directory = Path(sys.argv[1])
    problems = [f"loads from another host: {what}" for what in elsewhere(directory)]
    problems += [f"not in the reference: {name}" for name in missing(directory)]
    print("\n".join(problems) or "the site asks no other host, and has every public name")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
