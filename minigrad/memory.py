"""How memory is used again. Fresh memory for large arrays costs a page fault every 4 kB, which was a fifth
of the time of an attack and a tenth of a training step.

Two means: arrays that nobody else refers to are written to again (`nobody_elses`: the walk adds to them
in place, and a Parameter's next gradient goes where the last was), and what was freed stays with the
process (`keep_freed_memory`).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

try:
    from sys import getrefcount
except ImportError:  # an interpreter that does not count references

    def getrefcount(array: Any, /) -> int:
        return 0


def _references(array: Any) -> int:
    return getrefcount(array)


def _references_if_alone() -> int:
    """What `getrefcount` says in a function that was given a variable, where that is all that refers to
    an array; -1 under an interpreter that does not count so."""
    array = np.empty(0)
    alone = _references(array)
    holder = [array]
    return alone if _references(array) > alone and holder else -1


# The caller's variable, the function's own, getrefcount's argument, and before Python 3.11 the caller's
# stack. A debugger that looks on would add its own.
_ALONE = min(_references_if_alone(), 4 if sys.version_info < (3, 11) else 3)


def nobody_elses(array: Any) -> bool:
    """Whether a variable of the caller is all that refers to `array`: then nobody else can see what is
    written into it (unless it is a view). False where that is not known."""
    return getrefcount(array) == _ALONE


def keep_freed_memory(most: int = 512 << 20) -> bool:
    """Have glibc keep freed memory for the next arrays, where it would hand it back to the system, and
    fetch it again page by page, at every batch. It trims its heap when more than `most` bytes are free at
    the heap's end; arrays above 32 MB are not on the heap. Whether it was done: not where the environment
    sets these thresholds itself, nor under another C library.
    """
    set_by_hand = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
    if set_by_hand or sys.platform != "linux":
        return False
    try:
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):  # no ctypes, a static Python, another C library
        return False
    # mallopt(3). Arrays above the second threshold, 32 MB at most, are mapped and unmapped one by one.
    return bool(mallopt(M_TRIM_THRESHOLD, most) and mallopt(M_MMAP_THRESHOLD, 32 << 20))


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
keep_freed_memory()
