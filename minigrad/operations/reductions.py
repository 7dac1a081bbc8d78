"""Sums, maxima and their like over axes, and broadcasting, which is the transpose of summing.

`axis` is an int, a tuple of ints or None (all axes), negative counting from the end, and
keepdims=True leaves the reduced axes with length 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_flag
from minigrad.lanes import replaceable
from minigrad.operands import as_tensor
from minigrad.operations.elementwise import exp, where
from minigrad.operations.shapes import reshape
from minigrad.primitives import primitive, structural_primitive, unbroadcast
from minigrad.tensor import Tensor, raw
from minigrad.totals import average, reduced_axes, total

__all__ = ["broadcast_to", "log_softmax", "logsumexp", "max", "mean", "min", "softmax", "sum"]

Axis = int | tuple[int, ...] | None

def _with_axes(reduced: Tensor, x: Tensor, axis: Axis) -> Tensor:
    """A reduction of x with the axes that were reduced back, of length 1: it broadcasts against x."""
    if reduced.ndim == x.ndim:
        return reduced
    axes = reduced_axes(axis, x.ndim)
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
    return total(x, axis, keepdims)
sum.set_vjps(lambda g, y, x, axis, keepdims: broadcast_to(_with_axes(g, x, axis), x.shape))

# ---- the others

@primitive
def mean(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """(1/n) Σ x over the axes, n being the number of elements that are summed."""
    return average(x, axis, keepdims)

@mean.set_vjps
def _mean_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    count = math.prod(x.shape[a] for a in reduced_axes(axis, x.ndim))
    return broadcast_to(_with_axes(g / float(count), x, axis), x.shape)

@primitive
def max(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The greatest element over the axes; of several, the first in C order gets the gradient."""
    return x.max(axis=axis, keepdims=check_flag("keepdims", keepdims))

@max.set_vjps
def _max_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return where(_first_greatest(raw(x), reduced_axes(axis, x.ndim)), _with_axes(g, x, axis), 0.0)

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
    return -max(-as_tensor(x, "x"), axis, keepdims)

@primitive
def logsumexp(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """ln Σ eˣ over the axes = m + ln Σ eˣ⁻ᵐ with m = max x, which cannot overflow."""
    axes, keepdims = reduced_axes(axis, x.ndim), check_flag("keepdims", keepdims)
    greatest = x.max(axis=axes, keepdims=True)
    greatest = xp.where(xp.isfinite(greatest), greatest, 0.0)  # ∞ − ∞ would be NaN
    with np.errstate(divide="ignore", under="ignore"):  # ln 0 = −∞ is right where every x is −∞
        result = greatest + xp.log(total(xp.exp(x - greatest), axes, keepdims=True))
    return result if keepdims else result.squeeze(axes)

@replaceable
def difference(xp: Any, x: Any, y: Any) -> Any:
    """x − y; 0 where both are the same infinity, so that equal scores are equally probable."""
    with np.errstate(invalid="ignore"):
        return xp.where(x == y, 0.0, x - y)

@primitive
def softmax(xp: Any, x: Any, axis: Axis = -1) -> Any:
    """eˣ / Σ eˣ along the axis. Equal elements are equally probable, infinite ones too: −∞ has
    probability 0 beside anything else, and +∞ shares 1 with other +∞ alone."""
    axes = reduced_axes(axis, x.ndim)
    with np.errstate(under="ignore"):
        e = xp.exp(difference(xp, x, x.max(axis=axes, keepdims=True)))
        return e / total(e, axes, keepdims=True)
softmax.set_vjps(lambda g, y, x, axis: softmax_share(g, y, axis))
# ∂y/∂xᵢ = e^xᵢ / Σ eˣ; not e^(xᵢ − y), which loses digits with a large y.
logsumexp.set_vjps(lambda g, y, x, axis, keepdims: _with_axes(g, x, axis) * softmax(x, axis))

def softmax_share(g: Any, y: Any, axis: Axis = -1) -> Any:
    """The share of x in y = softmax(x). ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so it is y ∘ (g − Σ g∘y).

    A constant added to g changes nothing. With g at the greatest y for zero no digits are lost where
    that y rounds to 1.
    """
    xp, axes = backend.of(raw(y)).xp, reduced_axes(axis, y.ndim)
    at_greatest = xp.where(_first_greatest(raw(y), axes), raw(g), 0.0).sum(axes, keepdims=True)
    g = g - xp.where(xp.isfinite(at_greatest), at_greatest, 0.0)
    return y * (g - sum(g * y, axes, keepdims=True))

@primitive
def log_softmax(xp: Any, x: Any, axis: Axis = -1) -> Any:
    """x − ln Σ eˣ along the axis: the logarithm of softmax, finite where that rounds to 0."""
    axes = reduced_axes(axis, x.ndim)
    with np.errstate(under="ignore"):
        shifted = difference(xp, x, x.max(axis=axes, keepdims=True))
        return shifted - xp.log(total(xp.exp(shifted), axes, keepdims=True))

@log_softmax.set_vjps
def _log_softmax_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis) -> Tensor:
    # ∂yᵢ/∂xⱼ = δᵢⱼ − softmax(x)ⱼ. The shares sum to 0, which gives the greatest one's where its
    # probability rounds to 1.
    axes = reduced_axes(axis, x.ndim)
    with np.errstate(under="ignore"):
        share = g - exp(y) * sum(g, axes, keepdims=True)
    greatest = _first_greatest(raw(y), axes)
    return where(greatest, -sum(where(greatest, 0.0, share), axes, keepdims=True), share)
