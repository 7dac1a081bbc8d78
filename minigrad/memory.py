"""So that memory is used again: fresh pages for large arrays cost a fault each, which can be a fifth of
the time of an attack."""

from __future__ import annotations

import ctypes
import os
import sys
from sys import getrefcount
from typing import Any

import numpy as np


def _references(array: Any) -> int:
    return getrefcount(array)


def _references_if_alone() -> int:
    """What `getrefcount` says in a function that was given a variable, where that is all that refers to
    an array; -1 under an interpreter that does not count so."""
    array = np.empty(0)
    alone = _references(array)
    holder = [array]
    return alone if _references(array) > alone and holder else -1


_ALONE = _references_if_alone()


def nobody_elses(array: Any) -> bool:
    """Whether a variable of the caller is all that refers to `array`: then nobody else can see what is
    written into it (unless it is a view). False where that is not known."""
    return getrefcount(array) == _ALONE


def keep_freed_memory(most: int = 512 << 20) -> bool:
    """Have glibc keep up to `most` bytes of freed memory for the next arrays, where it would hand large
    ones back to the system, and fetch them again page by page, at every batch. Whether it was done:
    not where the environment sets these thresholds itself, nor under another C library.
    """
    set_by_hand = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_by_hand or mallopt is None:
        return False
    # mallopt(3). Arrays above the second threshold, 32 MB at most, are mapped and unmapped one by one.
    return bool(mallopt(M_TRIM_THRESHOLD, most) and mallopt(M_MMAP_THRESHOLD, 32 << 20))


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
keep_freed_memory()
