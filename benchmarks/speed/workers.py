"""Processes that work when they are told to: one line asks, one line answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.signals import deaf_processes
from minigrad.errors import ArgumentError


class Worker:
    """A process that runs a script, and does what it is asked for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        with suppress(BrokenPipeError):
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise ArgumentError("a process that worked for this one ended: see what it printed")
        return answer.strip()


@contextmanager
def worker(
    script: Path, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> Iterator[Worker]:
    """A process of the script in `directory`, which it imports from, for a `with` block. `environment` is
    added to that of this process."""
    added = {"PYTHONPATH": str(directory), **environment}
    with deaf_processes():
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=directory, env={**os.environ, **added},
        )  # fmt: skip
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.communicate()
