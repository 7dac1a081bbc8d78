"""The call of a primitive on NumPy arrays of one float dtype: nothing to convert, nothing to look up."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import refusal
from minigrad.modes import in_force
from minigrad.tensor import NONE, Tensor, new_tensor

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)  # NumPy has one object of each; others go the long way


def quick_call(primitive: Any, *arguments: Any, **options: Any) -> Tensor:
    """What `Primitive.__call__` returns. Two arrays, which most operators have, go the shortest way."""
    if len(arguments) == 2 and not options:
        return call_of_two(primitive, *arguments)
    return _any_number(primitive, arguments, options)


def call_of_two(primitive: Any, x: Any, y: Any) -> Tensor:
    differentiable = False
    rules = primitive.vjps
    if type(rules) is tuple and len(rules) == 2:
        if isinstance(x, Tensor):
            a = x.data
            differentiable = x._requires_grad and rules[0] is not None
        else:
            a = x
        if isinstance(y, Tensor):
            b = y.data
            differentiable = differentiable or (y._requires_grad and rules[1] is not None)
        else:
            b = y
        if type(a) is ndarray and type(b) is ndarray and (d := a.dtype) is b.dtype and (d is F32 or d is F64):
            now = in_force.get()
            if not now.detecting_nonfinite and len(primitive.names) == 2:
                try:
                    output = primitive.forward(np, a, b)
                except (TypeError, ValueError) as error:
                    raise refusal(primitive.name, error, (a, b), {}) from error
                if type(output) is not ndarray and backend.find(output) is None:
                    output = np.asarray(output)  # NumPy gives a scalar if there are no dimensions
                if differentiable and now.recording:
                    return new_tensor(output, primitive, (x, y), (a, b))
                return new_tensor(output)
    return _any_number(primitive, (x, y), NONE)


def operator(primitive: Any) -> Any:
    """The operator of a primitive of two arrays, without a call of the primitive in between."""
    return lambda x, y: call_of_two(primitive, x, y)


def _any_number(primitive: Any, arguments: Any, options: Any) -> Tensor:
    """The same for any number of arrays, numbers among them, and with options."""
    if primitive.variadic:
        return primitive.apply(arguments, options)
    vjps = primitive.vjps
    given, settings = arguments, NONE
    if options or len(arguments) != len(vjps) or len(vjps) != len(primitive.names):
        given, settings = primitive.bind(arguments, options)
    arrays: list[Any] = []
    dtype = None
    differentiable = False
    for position, argument in enumerate(given):
        array: Any = argument
        if isinstance(argument, Tensor):
            array = argument.data
            if argument._requires_grad and vjps[position] is not None:
                differentiable = True
        arrays.append(array)
        kind = type(array)
        if kind is ndarray:
            if dtype is None:
                dtype = array.dtype
            elif array.dtype is not dtype:
                return primitive.apply(given, settings)
        elif kind is not float and kind is not int:
            return primitive.apply(given, settings)
    now = in_force.get()
    if (dtype is not F32 and dtype is not F64) or now.detecting_nonfinite:
        return primitive.apply(given, settings)
    try:
        # An empty ** costs as much as a small operation.
        output = primitive.forward(np, *arrays, **settings) if settings else primitive.forward(np, *arrays)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal(primitive.name, error, arrays, settings) from error
    if type(output) is not ndarray and backend.find(output) is None:
        output = np.asarray(output)
    if differentiable and now.recording:
        return new_tensor(output, primitive, given, arrays, settings)
    return new_tensor(output)
