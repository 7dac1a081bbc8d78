"""What is switched on and off, in each thread: recording, and the search for NaN and infinities."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any

from minigrad.errors import ArgumentTypeError


class _Thread(threading.local):
    settings = (True, False)  # recording, detecting_nonfinite: one tuple, read at every operation

    def __init__(self) -> None:  # runs once in every thread
        self.previous: list[tuple[bool, bool]] = []


thread = _Thread()


class Setting(ContextDecorator):
    """Sets one of the thread's settings for a `with` block or for a decorated function."""

    def __init__(self, recording: bool | None = None, detecting_nonfinite: bool | None = None) -> None:
        self._values = recording, detecting_nonfinite

    def __enter__(self) -> None:
        old, values = thread.settings, self._values
        thread.previous.append(old)
        thread.settings = (
            old[0] if values[0] is None else values[0],
            old[1] if values[1] is None else values[1],
        )

    def __exit__(self, *exception: object) -> None:
        thread.settings = thread.previous.pop()

    def __call__(self, function: Any) -> Any:
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _RUNS_LATER:
            raise ArgumentTypeError(
                f"{function.__name__} is a generator or a coroutine, whose body runs after the call: "
                "put a `with` statement inside it"
            )
        return super().__call__(function)


_RUNS_LATER = 0x20 | 0x80 | 0x200  # CPython's flags of generators, coroutines and both


def no_grad() -> Setting:
    """Record nothing inside: `with mg.no_grad(): …`, or `@mg.no_grad()` on a function.

    Per thread, and may be nested.
    """
    return Setting(recording=False)


def enable_grad() -> Setting:
    """Record inside, even within `no_grad()`. Used as `no_grad` is."""
    return Setting(recording=True)


def detect_nonfinite() -> Setting:
    """Raise NonFiniteError as soon as the first NaN or infinity appears, naming the operation.

    Every result is inspected, which is slow and makes a GPU wait: for hunting a NaN, not for work.
    Used as `no_grad` is.
    """
    return Setting(detecting_nonfinite=True)
