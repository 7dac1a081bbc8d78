"""Ctrl-C, SIGTERM and SIGHUP: a run ends in order at the first, at once at the second. And what it started
ends with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

MESSAGES = {"SIGINT": "stopped", "SIGTERM": "terminated", "SIGHUP": "hung up"}
SIGNALS = [getattr(signal, name) for name in MESSAGES if hasattr(signal, name)]  # Windows has no SIGHUP


class Interrupted(KeyboardInterrupt):
    """A signal has come that ends a run."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _interrupt(number: int, _: Any) -> None:
    for sent in SIGNALS:
        if signal.getsignal(sent) is _interrupt:
            signal.signal(sent, lambda number, _: os._exit(128 + number))
    threading.excepthook = lambda _: None  # what joblib's threads say when they are stopped at work
    raise Interrupted(number)


def _end(number: int, _: Any) -> None:
    os.write(2, f"{MESSAGES[signal.Signals(number).name]}\n".encode())
    os._exit(128 + number)


@contextmanager
def heard(handler: Any = _end) -> Iterator[None]:
    """The handler hears the signals; one that is ignored stays so. By default the process ends at once: while
    modules are imported nothing has begun, and what is raised there may leave their locks behind."""
    before = {sent: signal.getsignal(sent) for sent in SIGNALS}
    taken = [sent for sent, other in before.items() if other is not signal.SIG_IGN]
    for sent in taken:
        signal.signal(sent, handler)
    try:
        yield
    finally:
        for sent in taken:
            signal.signal(sent, before[sent])


@contextmanager
def interruptible() -> Iterator[None]:
    """Exit as a command that was stopped if a signal comes."""
    excepthook = threading.excepthook
    with heard(_interrupt):
        try:
            yield
        except KeyboardInterrupt as end:
            number = end.number if isinstance(end, Interrupted) else signal.SIGINT
            leave(128 + number, MESSAGES[signal.Signals(number).name])
        finally:
            threading.excepthook = excepthook


@contextmanager
def deaf_processes() -> Iterator[None]:
    """Processes that are started inside never hear SIGINT, which a terminal's Ctrl-C sends to all: the one
    that started them ends them. (It is deaf too for that moment, since what is ignored is what they inherit;
    to block the signal would not do, for Python's resource tracker unblocks it.)"""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave(code: int, message: str) -> NoReturn:
    """Exit with one line on the standard error."""
    print(message, file=sys.stderr)
    sys.exit(code)


def end_with(parent: int) -> None:
    """End this process within a second after its parent ends, even if that was killed. Otherwise it would
    work off all that is queued, beside the run that goes on from here, or hold what the parent wrote to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.name == "posix":
        threading.Thread(target=watch, daemon=True).start()
