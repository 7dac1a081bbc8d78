"""Sums, maxima and their like over axes, and broadcasting, which is the transpose of summing.

`axis` is an int, a tuple of ints or None (all axes), negative counting from the end, and
keepdims=True leaves the reduced axes with length 1.
"""

from __future__ import annotations

import builtins
import math
from typing import Any, Literal

import numpy as np

from minigrad import backend
from minigrad.checks import check_flag, check_number, shown
from minigrad.errors import ArgumentError
from minigrad.operands import as_real_tensor, as_tensor
from minigrad.operations.elementwise import difference, exp, sqrt, square, where
from minigrad.operations.shapes import Axis, concatenate, expand_dims, getitem, reshape, transpose
from minigrad.primitives import primitive, structural_primitive, unbroadcast
from minigrad.tensor import Tensor, raw
from minigrad.totals import average, axes_of, count, one_axis, running_total, total

__all__ = [
    "broadcast_to", "cumsum", "log_softmax", "logsumexp", "max", "mean", "min", "norm", "prod",
    "softmax", "std", "sum", "var",
]  # fmt: skip

def _with_axes(reduced: Tensor, x: Tensor, axis: Axis) -> Tensor:
    """A reduction of x with the axes that were reduced back, of length 1: it broadcasts against x."""
    if reduced.ndim == x.ndim:
        return reduced
    return expand_dims(reduced, axes_of(axis, x.ndim))

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

@primitive
def _cumsum(xp: Any, x: Any, axis: int) -> Any:
    return running_total(x, axis)
# xᵢ is in every sum from the i-th on: its share is the sum of g from the end down to i.
_cumsum.set_vjps(lambda g, y, x, axis: _reversed(_cumsum(_reversed(g, axis), axis), axis))

def _reversed(x: Any, axis: int) -> Tensor:
    return getitem(x, (*(slice(None),) * axis, slice(None, None, -1)))

def cumsum(x: Any, axis: int | None = None) -> Tensor:
    """The sums of the first 1, 2, … elements along the axis; None: of all elements, in C order."""
    x = as_real_tensor(x, "x")
    if axis is None or x.ndim == 0:
        x, axis = reshape(x, (x.size,)), 0 if axis is None else axis
    return _cumsum(x, one_axis(axis, x.ndim))

# ---- means and spreads

@primitive
def mean(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """(1/n) Σ x over the axes, n being the number of elements that are summed."""
    return average(x, axis, keepdims)

@mean.set_vjps
def _mean_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return broadcast_to(_with_axes(g / float(count(x, axis)), x, axis), x.shape)

def var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: float = 0) -> Tensor:
    """Σ (x − mean)² / (n − ddof) over the axes, n being the number of elements that are summed: the variance.
    NaN or infinite, as NumPy's, if n is not above ddof."""
    x, keepdims = as_real_tensor(x, "x"), check_flag("keepdims", keepdims)
    freedom = _degrees_of_freedom(x, axis, ddof)
    return sum(square(x - mean(x, axis, True)), axis, keepdims) / freedom

def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: float = 0) -> Tensor:
    """√var: the standard deviation. Its derivative is 0 where all elements are equal, which is a kink."""
    x, keepdims = as_real_tensor(x, "x"), check_flag("keepdims", keepdims)
    freedom = _degrees_of_freedom(x, axis, ddof)
    if freedom == 0.0:
        return sqrt(var(x, axis, keepdims, ddof))  # NaN or infinite, and so is its derivative
    # The mean of equal elements may differ from them by rounding.
    centred = where(_all_equal(x.data, axes_of(axis, x.ndim)), 0.0, x - mean(x, axis, True))
    return _norm(centred, axis, keepdims) / math.sqrt(freedom)

def _all_equal(x: Any, axes: tuple[int, ...]) -> Any:
    """Of each reduced group, with keepdims, whether its elements are one finite number."""
    greatest = x.max(axis=axes, keepdims=True)
    return (greatest == x.min(axis=axes, keepdims=True)) & backend.of(x).xp.isfinite(greatest)

def _degrees_of_freedom(x: Tensor, axis: Axis, ddof: float) -> float:
    """n − ddof, and 0 if that is below."""
    return builtins.max(count(x, axis) - check_number("ddof", ddof), 0.0)

@primitive
def _norm(xp: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    if x.size == 0:
        return total(x, axis, keepdims)  # there is no greatest
    axes = axes_of(axis, x.ndim)
    # Squares of shares of the greatest are near 1: those of elements may be 0 or infinite.
    greatest = xp.abs(x).max(axis=axes, keepdims=True)
    greatest = xp.where((greatest > 0) & (greatest < math.inf), greatest, 1.0)
    with np.errstate(under="ignore"):
        result = greatest * xp.sqrt(total((x / greatest) ** 2, axes, keepdims=True))
    return result if keepdims else result.squeeze(axes)

@_norm.set_vjps
def _norm_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    y = _with_axes(y, x, axis)
    flat = y == 0
    return where(flat, 0.0, _with_axes(g, x, axis) * (x / where(flat, 1.0, y)))

def norm(
    x: Any,
    ord: Literal[2, "fro"] | None = None,  # noqa: A002
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor:
    """√Σ x² over the axes, as numpy.linalg.norm's: the Euclidean length of vectors, Frobenius' norm of
    matrices. Its derivative x/‖x‖ is set to 0 where x is 0, a kink. It neither overflows nor loses small x.

    ord  None; or 2 over one axis, "fro" over two, which are the same. Others of vectors are a line:
         mg.sum(mg.abs(x), axis), mg.max(mg.abs(x), axis).
    """
    x, keepdims = as_real_tensor(x, "x"), check_flag("keepdims", keepdims)
    over = len(axes_of(axis, x.ndim))
    same = {1: 2, 2: "fro"}.get(over)
    if ord is not None and ord != same:
        instead = ": write mg.sum(mg.abs(x), axis) for 1, mg.max(mg.abs(x), axis) for infinity"
        raise ArgumentError(
            f"ord must be None{f' or {same}' if same else ''} over {over} axes, got {shown(ord)}"
            f"{instead if over == 1 else ''}"
        )
    return _norm(x, axis, keepdims)

# ---- products

def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """∏ x over the axes. An element's derivative is the product of the others, so zeros do no harm: nothing
    is divided, but neighbours are multiplied two and two until one is left. Products on the way may
    overflow."""
    x = as_real_tensor(x, "x")
    axes, keepdims = axes_of(axis, x.ndim), check_flag("keepdims", keepdims)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    n, shape = count(x, axis), tuple(x.shape[a] for a in kept)
    if n == 0:
        return sum(x, axis, keepdims) + 1.0  # of no factors, and still computed from x
    factors = reshape(transpose(x, (*axes, *kept)), (n, *shape))
    while len(factors) > 1:
        half = len(factors) // 2
        pairs = factors[0 : 2 * half : 2] * factors[1 : 2 * half : 2]
        factors = concatenate([pairs, factors[2 * half :]]) if len(factors) % 2 else pairs
    product = reshape(factors, shape)
    return _with_axes(product, x, axis) if keepdims else product

# ---- the greatest, and what behaves as it does

@primitive
def max(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The greatest element over the axes; of several, the first in C order gets the gradient."""
    return x.max(axis=axis, keepdims=check_flag("keepdims", keepdims))

@max.set_vjps
def _max_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return where(_first_greatest(raw(x), axes_of(axis, x.ndim)), _with_axes(g, x, axis), 0.0)

def _first_greatest(x: Any, axes: tuple[int, ...]) -> Any:
    """True at the one element of each reduced group that is its first maximum."""
    xp = backend.of(x).xp
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    size = count(x, axes)
    groups = x.transpose(kept + axes).reshape(*(x.shape[a] for a in kept), size)
    is_first = xp.arange(size) == groups.argmax(-1)[..., None]
    return is_first.reshape([x.shape[a] for a in kept + axes]).transpose(np.argsort(kept + axes).tolist())

def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:  # noqa: A001
    """The least element over the axes; of several, the first in C order gets the gradient."""
    return -max(-as_tensor(x, "x"), axis, keepdims)

@primitive
def logsumexp(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """ln Σ eˣ over the axes = m + ln Σ eˣ⁻ᵐ with m = max x, which cannot overflow."""
    axes, keepdims = axes_of(axis, x.ndim), check_flag("keepdims", keepdims)
    greatest = x.max(axis=axes, keepdims=True)
    greatest = xp.where(xp.isfinite(greatest), greatest, 0.0)  # ∞ − ∞ would be NaN
    with np.errstate(divide="ignore", under="ignore"):  # ln 0 = −∞ is right where every x is −∞
        result = greatest + xp.log(total(xp.exp(x - greatest), axes, keepdims=True))
    return result if keepdims else result.squeeze(axes)

@primitive
def softmax(xp: Any, x: Any, axis: Axis = -1) -> Any:
    """eˣ / Σ eˣ along the axis. Equal elements are equally probable, infinite ones too: −∞ has
    probability 0 beside anything else, and +∞ shares 1 with other +∞ alone."""
    axes = axes_of(axis, x.ndim)
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
    xp, axes = backend.of(raw(y)).xp, axes_of(axis, y.ndim)
    at_greatest = xp.where(_first_greatest(raw(y), axes), raw(g), 0.0).sum(axes, keepdims=True)
    g = g - xp.where(xp.isfinite(at_greatest), at_greatest, 0.0)
    return y * (g - sum(g * y, axes, keepdims=True))

@primitive
def log_softmax(xp: Any, x: Any, axis: Axis = -1) -> Any:
    """x − ln Σ eˣ along the axis: the logarithm of softmax, finite where that rounds to 0."""
    axes = axes_of(axis, x.ndim)
    with np.errstate(under="ignore"):
        shifted = difference(xp, x, x.max(axis=axes, keepdims=True))
        return shifted - xp.log(total(xp.exp(shifted), axes, keepdims=True))

@log_softmax.set_vjps
def _log_softmax_in_x(g: Tensor, y: Tensor, x: Tensor, axis: Axis) -> Tensor:
    # ∂yᵢ/∂xⱼ = δᵢⱼ − softmax(x)ⱼ. The shares sum to 0, which gives the greatest one's where its
    # probability rounds to 1.
    axes = axes_of(axis, x.ndim)
    with np.errstate(under="ignore"):
        share = g - exp(y) * sum(g, axes, keepdims=True)
    greatest = _first_greatest(raw(y), axes)
    return where(greatest, -sum(where(greatest, 0.0, share), axes, keepdims=True), share)
