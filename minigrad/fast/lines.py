"""The lines of a tape: how a library writes a result into memory that is there."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigrad.errors import GraphError

# A function and its arguments. Among these is the array for the result: the last, or where the function has
# its place.
Line = tuple[Callable[..., Any], tuple[Any, ...]]

REDUCTIONS = {np.sum: np.add.reduce, np.max: np.maximum.reduce, np.min: np.minimum.reduce}
OUT_LAST: set[Any] = {np.concatenate}


def out_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a function whose last argument, `out`, may be the array for the result."""
    OUT_LAST.add(function)
    return function


def written_into(array: Any, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Line:
    """The call that writes function(*arguments, **named) into an array. NumPy takes that in less time by
    position than by name; its np.dot is a product of matrices by the shorter way, and `take` one of
    elements."""
    if function is np.matmul and all(map(is_plain_matrix, arguments)):
        return np.dot, (*arguments, array)
    if function in REDUCTIONS and named.keys() <= {"axis", "dtype", "keepdims"}:
        x, axis = (*arguments, named.get("axis"))[:2]
        return REDUCTIONS[function], (x, axis, named.get("dtype"), array, named.get("keepdims", False))
    if function is operator.getitem and arguments[0].ndim == getattr(arguments[1], "ndim", 0) == 1:
        return arguments[0].take, (arguments[1], None, array)
    if isinstance(function, np.ufunc) or function in OUT_LAST:
        if named or function in (np.maximum, np.minimum):
            return partial(function, **named, out=array), arguments
        return function, (*arguments, array)
    return copied, (array, function, arguments, named)


def is_plain_matrix(x: Any) -> bool:
    """Whether np.dot multiplies it as np.matmul does, bit for bit."""
    return x.ndim == 2 and min(x.shape) > 1 and (x.flags.c_contiguous or x.flags.f_contiguous)


def copied(array: Any, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    result = function(*arguments, **named)
    if result.shape != array.shape or result.dtype != array.dtype:
        raise GraphError(
            f"{name_of(function)} gives another shape or dtype than at the capture: it cannot be replayed"
        )
    array[...] = result


def name_of(function: Any) -> str:
    function = getattr(function, "func", function)
    return str(getattr(function, "__name__", type(function).__name__))
