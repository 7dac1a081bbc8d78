"""What a failed check says: the errors, and how numbers and arrays are written in them."""

from __future__ import annotations

import re
import weakref
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__tracebackhide__ = True

MOST_SHOWN = 24  # an array of more elements is described, not written out


class GradientError(AssertionError):
    """A derivative is wrong, or what was given is no function of its inputs."""


class KinkError(AssertionError):
    """There is no derivative at the inputs: a kink, a tie, a jump, or the border of where f is finite."""


class UndecidedError(AssertionError):
    """With strict=True: rounding left too few digits of the differences to judge the derivative."""


@dataclass(frozen=True)
class Element:
    """One element of a leaf, and its two derivatives."""

    index: tuple[int, ...]
    claimed: float
    found: float

    @property
    def difference(self) -> float:
        return abs(self.claimed - self.found)


def table(name: str, elements: Sequence[Element]) -> str:
    """The elements, one a line, with the ratio of their derivatives."""
    rows = [("", "given", "by differences", "given / by differences")]
    for e in elements:
        ratio = f"{e.claimed / e.found:.6g}" if e.found and np.isfinite(e.claimed) else ""
        rows.append((at_index(name, e.index), f"{e.claimed:.8g}", f"{e.found:.8g}", ratio))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  " + "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def at_index(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def spelled(name: str, array: np.ndarray, given: Any = None) -> str:
    """`name = …`, to be pasted: the array itself if it is small, how it was drawn if that is known."""
    if made := made_by(given):
        return f"{name} = {made}"
    if array.ndim == 0:
        number = repr(float(array))
        return f"{name} = {number}" if isinstance(given, float) else f"{name} = np.{array.dtype}({number})"
    if array.size > MOST_SHOWN:
        finite = array[np.isfinite(array)]
        between = f" from {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
        return f"{name}: {array.dtype}, shape {array.shape}{between}{_layout(array)}"
    values = np.array2string(
        array,
        separator=", ",
        floatmode="unique",
        threshold=MOST_SHOWN,
        prefix=" " * len(f"  {name} = np.array("),
    )
    values = re.sub(r"\b(nan|inf)\b", r"np.\1", values)
    dtype = "" if array.dtype == np.float64 else f", dtype=np.{array.dtype}"
    if 0 in array.shape:
        return f"{name} = np.empty({array.shape}{dtype})"
    return f"{name} = np.array({values}{dtype}){_layout(array)}"


def _layout(array: np.ndarray) -> str:
    """A comment on how the array lies in memory, if that is not the usual way."""
    notes = []
    if not array.flags.c_contiguous:
        notes.append(
            "in Fortran's order" if array.flags.f_contiguous else f"a view with strides {array.strides}"
        )
    if not array.flags.writeable:
        notes.append("read-only")
    return f"  # {', '.join(notes)}" if notes else ""


# ---- arrays that were drawn from a seed

_made: dict[int, tuple[weakref.ref[np.ndarray], int, str]] = {}


def remember(array: np.ndarray, call: str) -> np.ndarray:
    """Remember by which call an array can be made again, as long as it lives."""
    key = id(array)
    _made[key] = (weakref.ref(array, lambda _: _made.pop(key, None)), zlib.crc32(array.tobytes()), call)
    return array


def made_by(array: Any) -> str:
    """The call that makes the array again, or '' if there is none or it has been written to since."""
    if id(array) not in _made:
        return ""
    reference, checksum, call = _made[id(array)]
    known = reference()
    return call if known is array and zlib.crc32(known.tobytes()) == checksum else ""
