"""Sums of arrays: many terms are summed in float64, so that a long sum keeps the digits of its dtype.

Along a strided axis NumPy adds one term after the other. In float32 such a sum of ones stops at 2²⁴.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.checks import check_flag, check_integer, shown
from minigrad.errors import ArgumentError, ArgumentTypeError

MANY = 1024  # terms; fewer lose no more than their dtype's last digits, and are summed as they are


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` (None, an integer or a tuple) stands for, none of them negative, in ascending
    order. An array without dimensions has none, and takes axis 0 or −1 as NumPy does."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, list):
        raise ArgumentTypeError(f"axis must be None, an integer or a tuple of them, got {shown(axis)}")
    axes = [check_integer("axis", a) for a in (axis if isinstance(axis, tuple) else (axis,))]
    for a in axes:
        if not -max(ndim, 1) <= a < max(ndim, 1):
            raise ArgumentError(f"axis must be one of {ndim} dimensions, got {a}: it is out of bounds")
    if len(axes) > len({a % max(ndim, 1) for a in axes}):
        raise ArgumentError(f"axis must name different axes, got {axis}")
    return tuple(sorted(a % ndim for a in axes)) if ndim else ()


def one_axis(axis: Any, ndim: int) -> int:
    """`axis`, an integer, as a number from 0. An array without dimensions has none: an error."""
    if ndim == 0:
        raise ArgumentError("x must have a dimension, got shape ()")
    (found,) = axes_of(check_integer("axis", axis), ndim)
    return found


def total(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Σ x over the axes, rounded to x's dtype once if the terms are many."""
    check_flag("keepdims", keepdims)
    if _are_many(x, axis):
        return x.sum(axis=axis, keepdims=keepdims, dtype=np.float64).astype(x.dtype)
    return x.sum(axis=axis, keepdims=keepdims)


def average(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """(1/n) Σ x over the axes, summed as `total` does."""
    check_flag("keepdims", keepdims)
    axis = axis if x.ndim else axes_of(axis, 0)
    if _are_many(x, axis):
        return x.mean(axis=axis, keepdims=keepdims, dtype=np.float64).astype(x.dtype)
    return x.mean(axis=axis, keepdims=keepdims)


def running_total(x: Any, axis: int) -> Any:
    """The sums of the first 1, 2, … elements along the axis, summed as `total` does."""
    if _are_many(x, axis):
        return x.cumsum(axis, dtype=np.float64).astype(x.dtype)
    return x.cumsum(axis)


def dense(x: Any) -> Any:
    """x, or a copy if it is an array of NumPy's that repeats its elements in memory, as `broadcast_to` makes
    them: in matrix products NumPy adds those one after the other, slowly and in their own dtype."""
    return x.copy() if isinstance(x, np.ndarray) and 0 in x.strides and x.size > 1 else x


def count(x: Any, axis: Any) -> int:
    """How many elements are summed over the axes."""
    return math.prod(x.shape[a] for a in axes_of(axis, x.ndim))


def _are_many(x: Any, axis: Any) -> bool:
    if x.size <= MANY or x.dtype.char != "f":
        return False
    return axis is None or count(x, axis) > MANY
