"""The checks of arguments that several packages share. Each raises before any work is done."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, ArgumentTypeError


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """`value` as a finite float in [low, high], without the ends that are open, or an error."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ArgumentTypeError(f"{name} must be a number, got {value!r}")
    inside = low <= value <= high and not (low_open and value == low) and not (high_open and value == high)
    if not (math.isfinite(value) and inside):
        left = "(" if low_open or low == -math.inf else "["
        right = ")" if high_open or high == math.inf else "]"
        bounds = f"{left}{low}, {high}{right}"
        raise ArgumentError(f"{name} must be a finite number in {bounds}, got {value!r}")
    return float(value)


def check_count(name: str, value: Any, *, low: int = 1) -> int:
    """`value` as an int of at least `low`, or an error."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ArgumentTypeError(f"{name} must be an integer, got {value!r}")
    if value < low:
        raise ArgumentError(f"{name} must be at least {low}, got {value}")
    return int(value)


def check_real(name: str, dtype: Any) -> None:
    """Raise unless `dtype` is float32 or float64, which operations compute in."""
    if dtype.char not in "fd":
        expected = "float32 or float64, got" if dtype.kind == "f" else "real (floating point), got dtype"
        raise ArgumentTypeError(f"{name} must be {expected} {dtype}; convert it with .astype(numpy.float32)")


def check_unmasked(name: str, array: Any) -> None:
    """Raise if `array` is a masked array of NumPy: no operation here leaves elements out."""
    if isinstance(array, np.ma.MaskedArray):
        raise ArgumentTypeError(f"{name} must not be a masked array; fill it first: x.filled(0)")


def check_finite(name: str, array: Any, bounds: tuple[float, float] | None = None) -> None:
    """Raise if a *host* array holds NaN or Inf, or leaves `bounds`.

    An array on a GPU passes unseen: looking at its values would stop the device (see
    `minigrad.backend`). Check the data before it is uploaded.
    """
    if not isinstance(array, np.ndarray) or array.size == 0:
        return
    # Both extremes are NaN as soon as one element is: two passes, no temporary array.
    least, greatest = array.min(), array.max()
    if not (math.isfinite(least) and math.isfinite(greatest)):
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise ArgumentError(f"{name} must be finite, got {bad} NaN or infinite values")
    # In the array's own dtype: the bounds that a clipped array was clipped to.
    if bounds is not None and (least < array.dtype.type(bounds[0]) or greatest > array.dtype.type(bounds[1])):
        raise ArgumentError(f"{name} must lie within bounds {bounds}, got values from {least} to {greatest}")


def check_class_labels(name: str, labels: Any, shape: tuple[int, ...], n_classes: int) -> None:
    """Raise unless `labels` are integers of `shape`, in 0 … n_classes − 1.

    As in `check_finite`, the values of an array on a GPU are not looked at.
    """
    if labels.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name} must be integers, got dtype {labels.dtype}")
    _check_label_shape(name, labels, shape)
    if isinstance(labels, np.ndarray) and labels.size:
        least, greatest = int(labels.min()), int(labels.max())
        if least < 0 or greatest >= n_classes:
            raise ArgumentError(
                f"{name} must be classes 0 to {n_classes - 1}, got values from {least} to {greatest}"
            )


def check_sign_labels(name: str, labels: Any, shape: tuple[int, ...]) -> None:
    """Raise unless `labels` have `shape` and each is −1 or +1 (values on a GPU are not read)."""
    if labels.dtype.kind not in "if":
        raise ArgumentTypeError(f"{name} must be real numbers -1 or +1, got dtype {labels.dtype}")
    _check_label_shape(name, labels, shape)
    if isinstance(labels, np.ndarray) and not np.all(np.abs(labels) == 1):
        raise ArgumentError(f"{name} must be -1 or +1, got {np.unique(labels)[:10].tolist()}")


def _check_label_shape(name: str, labels: Any, shape: tuple[int, ...]) -> None:
    if labels.shape != shape:
        raise ArgumentError(f"{name} must have shape {shape}, one label an example, got {labels.shape}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value` if it is one of `choices`, or an error that lists them."""
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return str(value)
