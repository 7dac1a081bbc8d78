"""Processes that work when they are told to, one line asks, one line answers; and with how many threads."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.signals import deaf_processes
from minigrad.checks import check_count
from minigrad.errors import ArgumentError

ROOT = Path(__file__).parents[2]
# OpenBLAS, MKL, OpenMP (PyTorch), Apple's BLAS, BLIS, XLA (JAX). Libraries read them once, when they start.
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
           "BLIS_NUM_THREADS", "NPROC")  # fmt: skip


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


def add_threads_argument(parser: argparse.ArgumentParser) -> None:
    text = "threads of each library, on as many processors (default: as many as each library likes)"
    parser.add_argument("--threads", type=int, metavar="N", help=text)


def check_threads(threads: int | None) -> None:
    """ArgumentError, naming the option, if this process has not as many processors."""
    if threads is not None:
        check_count("--threads", threads)
        if threads > (most := len(_processors() or range(os.cpu_count() or 1))):
            raise ArgumentError(f"--threads must be at most {most}, the processors here, got {threads}")


def thread_variables(threads: int | None) -> dict[str, str]:
    """An environment in which libraries have so many threads; None leaves them as they are."""
    return {} if threads is None else dict.fromkeys(THREADS, str(threads))


@contextmanager
def on_processors(threads: int | None) -> Iterator[None]:
    """Processes started inside run on so many processors only, where the platform can do that."""
    processors = _processors()
    if threads is None or not processors:
        yield
        return
    os.sched_setaffinity(0, sorted(processors)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


def has_threads(threads: int | None) -> bool:
    """Whether this process was started with so many."""
    variables = thread_variables(threads)
    return variables.items() <= os.environ.items() and (threads is None or len(_processors()) <= threads)


def run_with_threads(threads: int, arguments: Sequence[str]) -> None:
    """`python -m benchmarks` with these arguments and --threads in a process of its own, which has so many:
    libraries that this one imported have theirs already. If it fails, this one exits as it did."""
    arguments = [*arguments, "--threads", str(threads)]
    added = {"PYTHONPATH": str(ROOT), **thread_variables(threads)}
    with deaf_processes(), on_processors(threads):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", *arguments], env={**os.environ, **added}
        )
    try:
        code = process.wait()
    finally:
        process.kill()
    if code:
        sys.exit(code)


def _processors() -> set[int]:
    """Those that this process may use; none where the platform does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
