"""Where results are written, and the terminal that they are shown on."""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import suppress
from typing import Any

from rich.console import Console

from minigrad.checkpoint import atomic_writer
from minigrad.errors import ArgumentError, NonFiniteError


class Terminal(Console):
    """One that goes on without a reader: what was measured still goes to its files."""

    def on_broken_pipe(self) -> None:
        with suppress(SystemExit):
            super().on_broken_pipe()


def terminal(width: int) -> Console:
    """What results are printed with, `width` wide where there is no terminal to tell. Paths and commands are
    the user's words, so brackets in them are brackets and no markup."""
    return Terminal(width=None if sys.stdout.isatty() else width, markup=False, highlight=False, emoji=False)


def significant(value: float) -> str:
    """Three significant digits, or all that stand before the point, and no exponent: so figures that stand
    below one another look alike."""
    value = float(f"{value:.2e}") if abs(value) < 1000 else value
    digits_before = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:,.{max(0, 3 - digits_before)}f}"


def _first_nonfinite(content: Any, path: str) -> str:
    """Where the first number that is not finite stands, and what it is; "" if there is none."""
    if isinstance(content, float):
        return "" if math.isfinite(content) else f"{path} is {content}"
    if not isinstance(content, (dict, list, tuple)):
        return ""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    return next(filter(None, (_first_nonfinite(value, f"{path}/{key}") for key, value in items)), "")


def check_writable_directory(name: str, path: str | os.PathLike[str]) -> str:
    """The directory `path`, made if missing; an error if nothing can be written there."""
    directory = os.fspath(path)
    if not directory:
        raise ArgumentError(f"{name} must be a directory, got {path!r}")
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise PermissionError(f"{name} must be a writable directory, got {path!r}: {error}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(f"{name} must be a writable directory, got {path!r}: not writable")
    return directory


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """`content` as a JSON file, all of it or nothing. NonFiniteError, and nothing is written, if a number in
    it is NaN or infinite, which JSON has no word for."""
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except ValueError as error:
        where = _first_nonfinite(content, "")
        raise NonFiniteError(f"{os.fspath(path)} must hold finite numbers: {where}") from error
    with atomic_writer(path) as file:
        file.write(text.encode())


def save_figure(figure: Any, path: str | os.PathLike[str], dpi: float = 130) -> None:
    """The figure as a file of the kind that its name ends with (.png, .pdf), all of it or nothing."""
    kind = os.path.splitext(path)[1].lstrip(".")
    dateless = {"CreationDate": None} if kind == "pdf" else None  # the same figure is the same file
    with atomic_writer(path) as file:
        figure.savefig(file, format=kind, dpi=dpi, metadata=dateless)
