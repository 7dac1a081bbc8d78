"""Sums of arrays: many terms are summed in float64, so that a long sum keeps the digits of its dtype.

Along a strided axis NumPy adds one term after the other. In float32 such a sum of ones stops at 2²⁴.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from minigrad.checks import check_flag

MANY = 1024  # terms; fewer lose no more than their dtype's last digits, and are summed as they are


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` (None, an integer or a tuple) stands for, none of them negative, in ascending
    order. An array without dimensions has none, and takes axis 0 or −1 as NumPy does."""
    if axis is None:
        return tuple(range(ndim))
    axes = [operator.index(a) for a in (axis if isinstance(axis, tuple) else (axis,))]
    for a in axes:
        if not -max(ndim, 1) <= a < max(ndim, 1):
            raise np.exceptions.AxisError(a, ndim)
    return tuple(sorted(a % ndim for a in axes)) if ndim else ()


def total(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Σ x over the axes, rounded to x's dtype once if the terms are many."""
    check_flag("keepdims", keepdims)
    if _are_many(x, axis):
        return x.sum(axis=axis, keepdims=keepdims, dtype=np.float64).astype(x.dtype)
    return x.sum(axis=axis, keepdims=keepdims)


def average(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """(1/n) Σ x over the axes, summed as `total` does."""
    check_flag("keepdims", keepdims)
    axis = axis if x.ndim else reduced_axes(axis, 0)
    if _are_many(x, axis):
        return x.mean(axis=axis, keepdims=keepdims, dtype=np.float64).astype(x.dtype)
    return x.mean(axis=axis, keepdims=keepdims)


def _are_many(x: Any, axis: Any) -> bool:
    if x.size <= MANY or x.dtype.char != "f":
        return False
    return axis is None or math.prod(x.shape[a] for a in reduced_axes(axis, x.ndim)) > MANY
