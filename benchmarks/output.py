"""Where results are written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from minigrad.checkpoint import atomic_writer


def check_writable_directory(name: str, path: str | os.PathLike[str]) -> str:
    """The directory `path`, made if missing; an error if nothing can be written there."""
    directory = os.fspath(path)
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise PermissionError(f"{name} must be a writable directory, got {path!r}: {error}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(f"{name} must be a writable directory, got {path!r}: not writable")
    return directory


def write_json(directory: str | os.PathLike[str], name: str, content: Any) -> Path:
    """`content` as the file `name` in the directory, all of it or nothing."""
    path = Path(directory) / name
    with atomic_writer(path) as file:
        file.write(json.dumps(content, indent=1).encode())
    return path
