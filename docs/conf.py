"""The site: `python -m sphinx -W -b html docs build/site` (extra: docs). It asks no other host when opened.

The pages are those of this directory, with the pictures that `docs/pictures.py` draws and the operations'
atlas of `docs/atlas.py`. The reference is made here: a page for each package, with every public name, because
autodoc passes over primitives, which are objects and no functions.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent
sys.path.insert(0, str(DIRECTORY.parent))

import attacks  # noqa: E402 (the clone's, found by the line above)
import minigrad as mg  # noqa: E402
import minigrad.testing  # noqa: E402
import models  # noqa: E402
from benchmarks import tour  # noqa: E402
from docs import atlas, pictures  # noqa: E402

project = "minigrad"
release = mg.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "minigrad"
html_extra_path = [tour.FILE]
myst_heading_anchors = 4
autodoc_typehints = "none"
suppress_warnings = ["myst.xref_missing"]  # a page outside of docs/
autodoc_member_order = "bysource"

PACKAGES = {
    "minigrad": (mg, mg.__all__),
    "minigrad.optim": (mg.optim, ["SGD", "Adam", "exponential_decay", "linear_ramp"]),
    "minigrad.testing": (minigrad.testing, minigrad.testing.__all__),
    "models": (models, models.__all__),
    "attacks": (attacks, attacks.__all__),
}


def write_reference() -> None:
    """reference/NAME.md for each package."""
    directory = DIRECTORY / "reference"
    directory.mkdir(exist_ok=True)
    for package, (module, names) in PACKAGES.items():
        lines = [f"# {package}", ""]
        for name in sorted(names, key=str.lower):
            value = getattr(module, name)
            if inspect.ismodule(value):
                continue
            kind = "autoclass" if inspect.isclass(value) else "autofunction"
            options = [":members:"] if kind == "autoclass" else []
            lines += [
                "```{eval-rst}",
                f".. {kind}:: {package}.{name}",
                *(f"   {o}" for o in options),
                "```",
                "",
            ]
        (directory / f"{package}.md").write_text("\n".join(lines), encoding="utf-8")


# "name    text", the form of parameters in this project's docstrings; longer lines go on indented.
FIELD = re.compile(r"^(\*{0,2}[a-zA-Z_][\w, *]*?)\s{2,}(\S.*)$")


def as_rst(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """A docstring of this project as Sphinx reads it: aligned parameters as fields, what is indented as code,
    and no sign taken for a mark."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        rows = paragraph.split("\n")
        if all(row.startswith("    ") for row in rows):
            found += ["::", "", *rows, ""]
        elif FIELD.match(rows[0]) and all(FIELD.match(row) or row.startswith("  ") for row in rows[1:]):
            for row in rows:
                match = FIELD.match(row)
                if match:
                    found.append(f":param {_plain(match[1])}: {_plain(match[2])}")
                else:
                    found[-1] += f" {_plain(row.strip())}"
            found.append("")
        else:
            found += [_plain(" ".join(row.strip() for row in rows)), ""]
    lines[:] = found


def _plain(text: str) -> str:
    """Names in `…` as code; *…* stays emphasis; other marks of reStructuredText as they are."""
    parts = re.split(r"(`[^`]+`)", text)
    for i, part in enumerate(parts):
        if part.startswith("`") and part.endswith("`"):
            parts[i] = f"`{part}`"
        else:
            part = re.sub(r"([\\|])", r"\\\1", part)
            part = re.sub(r"(?<!\w)(\*[A-Za-z][\w -]*\*)(?!\w)|\*", lambda m: m[1] or r"\*", part)
            parts[i] = re.sub(r"(\w)_(?=\W|$)", r"\1\\_", part)
    return "".join(parts)


def setup(app: Any) -> None:
    pictures.main()
    (DIRECTORY / tour.FILE).write_text(tour.made()[1], encoding="utf-8")
    write_reference()
    atlas.write_atlas(DIRECTORY / "reference")
    app.connect("autodoc-process-docstring", as_rst)
