"""So that memory is used again: fresh pages for large arrays cost a fault each, which can be a fifth of
the time of an attack."""

from __future__ import annotations

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


def keep_freed_memory() -> None:
    """Allocate and free almost 32 MB, once and untouched. From then on glibc keeps freed arrays of up to
    that size for the next ones, where it would hand their memory back to the system and fetch it again
    page by page, at every batch of an attack (mallopt(3), M_MMAP_THRESHOLD: it adapts to what is freed).
    Other C libraries take no notice."""
    np.empty((32 << 20) - (1 << 16), np.uint8)


keep_freed_memory()
