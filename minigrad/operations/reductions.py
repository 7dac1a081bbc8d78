"""Sums, maxima and their like over axes, and broadcasting, which is the transpose of summing.

softmax and log_softmax take one axis. Everywhere else `axis` is an int, a tuple of ints or None (all
axes), negative counting from the end, and keepdims=True leaves the reduced axes with length 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.operations.elementwise import exp, where
from minigrad.operations.shapes import reshape
from minigrad.primitives import primitive, structural_primitive, unbroadcast
from minigrad.tensor import Tensor, raw

__all__ = ["broadcast_to", "log_softmax", "logsumexp", "max", "mean", "min", "softmax", "sum"]

Axis = int | tuple[int, ...] | None

def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The reduced axes, none of them negative, in ascending order."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(a % ndim for a in axes))

def _with_axes(reduced: Tensor, x: Tensor, axis: Axis) -> Tensor:
    """A reduction of x with the axes that were reduced back, of length 1: it broadcasts against x."""
    if reduced.ndim == x.ndim:
        return reduced
    axes = _axes(axis, x.ndim)
    return reshape(reduced, tuple(1 if i in axes else n for i, n in enumerate(x.shape)))

# ---- summing and broadcasting, each the other's derivative

@structural_primitive
def broadcast_to(xp: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """x repeated, without copying, to `shape` by NumPy's rules."""
    return xp.broadcast_to(x, shape)
broadcast_to.set_vjps(lambda g, y, x, shape: unbroadcast(g, x.shape))

@primitive
def sum(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:  # noqa: A001
    """Σ x over the axes."""
    return x.sum(axis=axis, keepdims=keepdims)
sum.set_vjps(lambda g, y, x, axis, keepdims: broadcast_to(_with_axes(g, x, axis), x.shape))

# ---- the others

@primitive
def mean(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """(1/n) Σ x over the axes, n being the number of elements that are summed."""
    return x.mean(axis=axis, keepdims=keepdims)

@mean.set_vjps
def _mean_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    count = math.prod(x.shape[a] for a in _axes(axis, x.ndim))
    return broadcast_to(_with_axes(g / float(count), x, axis), x.shape)

@primitive
def max(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The greatest element over the axes; of several, the first in C order gets the gradient."""
    return x.max(axis=axis, keepdims=keepdims)

@max.set_vjps
def _max_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return where(_first_greatest(raw(x), _axes(axis, x.ndim)), _with_axes(g, x, axis), 0.0)

def _first_greatest(x: Any, axes: tuple[int, ...]) -> Any:
    """True at the one element of each reduced group that is its first maximum."""
    xp = backend.of(x).xp
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    size = math.prod(x.shape[a] for a in axes)
    groups = x.transpose(kept + axes).reshape(*(x.shape[a] for a in kept), size)
    is_first = xp.arange(size) == groups.argmax(-1)[..., None]
    return is_first.reshape([x.shape[a] for a in kept + axes]).transpose(np.argsort(kept + axes).tolist())

def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:  # noqa: A001
    """The least element over the axes; of several, the first in C order gets the gradient."""
    return -max(-(x if isinstance(x, Tensor) else Tensor(x)), axis, keepdims)

@primitive
def logsumexp(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """ln Σ eˣ over the axes = m + ln Σ eˣ⁻ᵐ with m = max x, which cannot overflow."""
    greatest = x.max(axis=axis, keepdims=True)
    greatest = xp.where(xp.isfinite(greatest), greatest, 0.0)  # ∞ − ∞ would be NaN
    with np.errstate(divide="ignore"):  # ln 0 = −∞ is right where every x is −∞
        result = greatest + xp.log(xp.exp(x - greatest).sum(axis=axis, keepdims=True))
    return result if keepdims else result.squeeze(axis)

@logsumexp.set_vjps
def _logsumexp_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    # ∂y/∂xᵢ = e^xᵢ / Σ eˣ = e^(xᵢ − y)
    return _with_axes(g, x, axis) * exp(x - _with_axes(y, x, axis))

@primitive
def softmax(xp: Any, x: Any, axis: int = -1) -> Any:
    """eˣ / Σ eˣ along an axis."""
    e = xp.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)
# ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so the product with g is y ∘ (g − Σ g∘y).
softmax.set_vjps(lambda g, y, x, axis: y * (g - sum(g * y, axis, keepdims=True)))

@primitive
def log_softmax(xp: Any, x: Any, axis: int = -1) -> Any:
    """x − ln Σ eˣ along an axis: the logarithm of softmax, finite where that rounds to 0."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))
# ∂yᵢ/∂xⱼ = δᵢⱼ − softmax(x)ⱼ
log_softmax.set_vjps(lambda g, y, x, axis: g - exp(y) * sum(g, axis, keepdims=True))
