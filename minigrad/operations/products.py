"""Matrix products: where the time goes. Each argument's derivative is one product more."""

from __future__ import annotations

import math
from typing import Any

from minigrad.errors import ArgumentError
from minigrad.operands import as_array_beside
from minigrad.operations.shapes import reshape, swap_last
from minigrad.primitives import primitive
from minigrad.tensor import Tensor
from minigrad.totals import dense

__all__ = ["linear", "matmul"]

@primitive
def _matmul(xp: Any, x: Any, y: Any) -> Any:
    x, y = dense(x), dense(y)
    return times_matrix(x, y) if x.ndim > 2 and y.ndim == 2 else xp.matmul(x, y)
# z = x y, so dz = dx y + x dy, and ⟨g, dx y⟩ = ⟨g yᵀ, dx⟩, ⟨g, x dy⟩ = ⟨xᵀ g, dy⟩.
_matmul.set_vjps(lambda g, z, x, y: matmul(g, swap_last(y)),
                 lambda g, z, x, y: _transposed_product(x, g, y))

def _transposed_product(x: Any, g: Any, y: Any) -> Any:
    """xᵀ g: the cotangent of y in x y. A batch of x against one matrix y is a single product."""
    if y.ndim == 2:
        x, g = as_rows(x), as_rows(g)
    return matmul(swap_last(x), g)

def times_matrix(x: Any, W: Any) -> Any:
    """x W for x (…, n) and one matrix W: a single product of all rows of x. (NumPy would multiply each matrix
    on x's last two axes by itself. The product of two matrices is left as it comes: no view, but an array
    with memory of its own.)"""
    return x @ W if x.ndim == 2 else (as_rows(x) @ W).reshape(*x.shape[:-1], W.shape[1])

def as_rows(x: Any) -> Any:
    """x (…, n) as a matrix (rows, n)."""
    x = dense(x)
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])

def matmul(x: Any, y: Any) -> Tensor:
    """x @ y by NumPy's rules: matrices (… n k) @ (… k m), whose leading axes broadcast; a vector on
    the left counts as one row, on the right as one column, and that axis is left out again.

    Raises ArgumentError if a side has no dimensions or the inner lengths differ.
    """
    x, y = as_array_beside(x, (y,), "matmul: argument 1"), as_array_beside(y, (x,), "matmul: argument 2")
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ArgumentError(
            f"matmul: argument 2 must have as many rows as argument 1 has columns, got shapes {x.shape} and "
            f"{y.shape}"
        )
    if x.ndim > 1 and y.ndim > 1:
        return _matmul(x, y)
    rows = x if x.ndim > 1 else reshape(x, (1, x.shape[0]))
    columns = y if y.ndim > 1 else reshape(y, (y.shape[0], 1))
    z = _matmul(rows, columns)
    shape = z.shape
    if y.ndim == 1:
        shape = shape[:-1]
    if x.ndim == 1:
        shape = shape[:-1] if y.ndim == 1 else (*shape[:-2], shape[-1])
    return reshape(z, shape)

@primitive
def _linear(xp: Any, x: Any, W: Any, b: Any) -> Any:
    return with_bias(times_matrix(x, W), b)
_linear.set_vjps(lambda g, z, x, W, b: _times_transposed(g, W),
                 lambda g, z, x, W, b: _transposed_product(x, g, W),
                 lambda g, z, x, W, b: g)  # summed over the batch by the walk

def with_bias(z: Any, b: Any) -> Any:
    """z + b, in the memory of z, which is a result that nobody else has: no second array, no second pass."""
    if z.dtype != b.dtype:
        return z + b
    z += b
    return z

def _times_transposed(g: Any, W: Any) -> Any:
    """g Wᵀ: the cotangent of x in x W."""
    return times_matrix(dense(g), W.T)

def linear(x: Any, W: Any, b: Any) -> Tensor:
    """x W + b for x (…, inputs), W (inputs, outputs), b (outputs,); the result is (…, outputs).

    Raises ArgumentError, naming the argument, if the shapes do not fit.
    """
    given = x, W, b
    x, W, b = (as_array_beside(a, given, name) for name, a in zip(("x", "W", "b"), given, strict=True))
    if W.ndim != 2:
        raise ArgumentError(f"W must have shape (inputs, outputs), got {W.shape}")
    if x.ndim < 2 or x.shape[-1] != W.shape[0]:
        raise ArgumentError(f"x must have shape (…, {W.shape[0]}), W's inputs, got {x.shape}")
    if b.shape != W.shape[1:]:
        raise ArgumentError(f"b must have shape {W.shape[1:]}, W's outputs, got {b.shape}")
    return _linear(x, W, b)
