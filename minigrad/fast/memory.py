"""Memory that is used again. Fresh memory for large arrays costs a page fault every 4 kB, which was a fifth
of the time of an attack and a tenth of a training step.

Three means: the walk adds in place to arrays that nobody else refers to (`ALONE`), a Parameter's next
gradient goes where its last one was (`Spare`), and what was freed stays with the process
(`FreedMemory`).
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Any

import numpy as np

try:
    from sys import getrefcount as getrefcount
except ImportError:  # an interpreter that does not count references

    def getrefcount(array: Any, /) -> int:
        return 0


def _references_if_alone() -> int:
    """What `getrefcount` says of an array if one local variable is all that refers to it; -1 under an
    interpreter that does not count so."""
    array = np.empty(0)
    alone = getrefcount(array)
    holder = [array]
    return alone if getrefcount(array) > alone and holder else -1


# The variable and getrefcount's argument. A debugger that looks on would add its own.
ALONE = min(_references_if_alone(), 2)


class Spare:
    """The last gradient of each Parameter, to write the next one into if nobody looks at it any more.

    Threads may share Parameters. A gradient is taken out in one step, so by one thread alone. If another
    still uses it, that one refers to it, which `take` sees; once taken, nobody can come to refer to it.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[weakref.ref[Any], np.ndarray]] = {}

    def keep(self, parameter: Any, gradient: np.ndarray) -> np.ndarray:
        """Remember a Parameter's new gradient, in memory of its own; returns it."""
        key = id(parameter)
        self._last[key] = weakref.ref(parameter, lambda _: self._last.pop(key, None)), gradient
        return gradient

    def take(self, parameter: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
        """The memory of the Parameter's last gradient, if it fits and nobody else refers to it."""
        last = self._last.pop(id(parameter), (None, None))[1]
        if last is None or getrefcount(last) != ALONE:
            return None
        fits = last.shape == shape and last.dtype == dtype and last.flags.carray
        return last if fits else None

    def forget(self) -> None:
        """Let go of all of it."""
        self._last.clear()


spare = Spare()


class FreedMemory:
    """Has glibc keep freed memory for the next arrays; it would hand it back to the system, and fetch it
    again page by page, at every batch. Nothing is done if the environment sets glibc's thresholds itself, nor
    under another C library.

    What is free at the end of the heap is handed back above a limit: `LEAST`, or so many times the `largest`
    array of a backward pass. Arrays above `ON_HEAP`, the most that glibc takes, are not on the heap, but
    mapped and unmapped one by one, until a pass has one.
    """

    LEAST, TIMES_LARGEST, ON_HEAP = 512 << 20, 16, 32 << 20
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of mallopt(3)

    def __init__(self) -> None:
        self.largest = self.ON_HEAP
        self._mallopt = _mallopt()
        self._set(self.M_TRIM_THRESHOLD, self.LEAST)
        self._set(self.M_MMAP_THRESHOLD, self.ON_HEAP)

    def follow(self, size: int) -> None:
        """A backward pass has an array of so many bytes, more than any before."""
        self.largest = size
        self._set(self.M_MMAP_MAX, 0)
        self._set(self.M_TRIM_THRESHOLD, min(max(self.LEAST, self.TIMES_LARGEST * size), 2**31 - 1))

    def _set(self, what: int, value: int) -> None:
        if self._mallopt is not None:
            self._mallopt(what, value)


def _mallopt() -> Any:
    """glibc's function of this name, or None."""
    set_by_hand = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
    if set_by_hand or sys.platform != "linux":
        return None
    try:
        import ctypes

        return ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):  # no ctypes, a static Python, another C library
        return None


freed = FreedMemory()
