"""Elementwise operations: each with its forward, its derivative and, if it is not plain, why.

In a rule, g is the cotangent of the result, and x, y are the arguments; a result named after its
operation is reused if it gives the derivative at no cost. Operands broadcast as NumPy's do; a
rule need not care, because the walk sums its share back to the argument's shape.

A share is g times the derivative, in an order of products that is right wherever the derivative
and the share are both in the dtype's range.

At a kink the rule of the whole library is: the *first* of the tied candidates counts. So
maximum(x, x) sends all of g to its first argument, and clip lets g through at its bounds. |x| and
relu have derivative 0 at 0. Of candidates with a NaN among them the first NaN is selected: it is the
result, and it gets g (in relu and clip, x does). What was not selected gets 0, however large g is.

NaN and infinity go where NumPy's arithmetic takes them. A derivative that is selected away by
`where` can still poison: in where(x > 0, log(x), 0) the branch not taken gives 0 · ∞ = NaN at
x = 0. Make the branch harmless first: where(x > 0, log(where(x > 0, x, 1)), 0).
"""

from __future__ import annotations

import math
from types import NoneType
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_dtype, check_number
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError
from minigrad.lanes import replaceable
from minigrad.operands import as_array, as_array_beside, as_tensor
from minigrad.primitives import primitive, structural_primitive
from minigrad.tensor import Tensor, raw

__all__ = [
    "abs", "add", "astype", "clip", "copy", "cos", "divide", "exp", "expm1", "log", "log1p", "logaddexp",
    "maximum", "minimum", "multiply", "negative", "power", "relu", "sigmoid", "sign", "sin", "softplus",
    "sqrt", "square", "subtract", "tanh", "to_backend", "where",
]  # fmt: skip

# ---- arithmetic

@primitive
def add(xp: Any, x: Any, y: Any) -> Any:
    """x + y."""
    return x + y
add.set_vjps(lambda g, z, x, y: g,
             lambda g, z, x, y: g)

@primitive
def subtract(xp: Any, x: Any, y: Any) -> Any:
    """x − y."""
    return x - y
subtract.set_vjps(lambda g, z, x, y: g,
                  lambda g, z, x, y: -g)

@primitive
def multiply(xp: Any, x: Any, y: Any) -> Any:
    """x · y, elementwise."""
    return x * y
multiply.set_vjps(lambda g, z, x, y: g * y,
                  lambda g, z, x, y: g * x)

@primitive
def divide(xp: Any, x: Any, y: Any) -> Any:
    """x / y."""
    return x / y
divide.set_vjps(lambda g, z, x, y: g / y,
                lambda g, z, x, y: g * -(z / y))  # ∂(x/y)/∂y = −x/y² = −z/y

@primitive
def negative(xp: Any, x: Any) -> Any:
    """−x."""
    return -x
negative.set_vjps(lambda g, y, x: -g)

@primitive
def square(xp: Any, x: Any) -> Any:
    """x²."""
    return x * x
square.set_vjps(lambda g, y, x: g * (2.0 * x))

@primitive
def power(xp: Any, x: Any, n: Any) -> Any:
    """xⁿ. The derivative in n exists for x > 0, and is 0 at x = 0 (n > 0); it is NaN for x < 0."""
    return x**n

def _power_in_base(g: Tensor, y: Tensor, x: Any, n: Any) -> Tensor:
    # n xⁿ⁻¹; where n = 0 it is 0, also at x = 0, where the formula would give 0 · ∞.
    if isinstance(n, (int, float)):
        return where(False, g, 0.0) if n == 0 else g * (n * x ** (n - 1))
    # There the base is replaced, not the exponent: with that the derivative in n would go too.
    return g * (n * where((n == 0) & (x == 0), 1.0, x) ** (n - 1))

def _power_in_exponent(g: Tensor, y: Tensor, x: Any, n: Any) -> Tensor:
    if isinstance(x, (int, float)):
        return g * (y * (math.log(x) if x > 0 else 0.0 if x == 0 else math.nan))
    return g * _power_times_log(x, n, 1)

power.set_vjps(_power_in_base, _power_in_exponent)

@primitive
def _power_times_log(xp: Any, x: Any, n: Any, k: int) -> Any:
    """xⁿ (ln x)ᵏ, which goes to 0 with x if n > 0: the k-th derivative of xⁿ in n."""
    goes_to_zero = (x == 0) & (n > 0)
    with np.errstate(divide="ignore"):  # ln 0 = −∞ where it is right
        return xp.where(goes_to_zero, 0.0, x**n * xp.log(xp.where(goes_to_zero, 1.0, x)) ** k)

def _power_times_log_in_base(g: Tensor, y: Tensor, x: Any, n: Any, k: int) -> Tensor:
    # n xⁿ⁻¹ (ln x)ᵏ + k xⁿ⁻¹ (ln x)ᵏ⁻¹; towards 0 the first outweighs the second, unless n = 0.
    first = n * _power_times_log(x, n - 1, k)
    second = k * (_power_times_log(x, n - 1, k - 1) if k > 1 else x ** (n - 1))
    at_zero, flat = x == 0, n == 0
    return g * (where(at_zero & flat, 0.0, first) + where(at_zero & ~flat, 0.0, second))

_power_times_log.set_vjps(_power_times_log_in_base,
                          lambda g, y, x, n, k: g * _power_times_log(x, n, k + 1))

# ---- exponentials and logarithms

@primitive
def exp(xp: Any, x: Any) -> Any:
    """eˣ."""
    return xp.exp(x)
exp.set_vjps(lambda g, y, x: g * y)

@primitive
def expm1(xp: Any, x: Any) -> Any:
    """eˣ − 1, without cancellation near 0."""
    return xp.expm1(x)
expm1.set_vjps(lambda g, y, x: g * exp(x))  # not y + 1, which loses eˣ far below 0

@primitive
def log(xp: Any, x: Any) -> Any:
    """ln x."""
    return xp.log(x)
log.set_vjps(lambda g, y, x: g / x)

@primitive
def log1p(xp: Any, x: Any) -> Any:
    """ln(1 + x), without cancellation near 0."""
    return xp.log1p(x)
log1p.set_vjps(lambda g, y, x: g / (1.0 + x))

@primitive
def sqrt(xp: Any, x: Any) -> Any:
    """√x. Its derivative is infinite at 0."""
    return xp.sqrt(x)
sqrt.set_vjps(lambda g, y, x: g / (2.0 * y + 0.0))  # √−0 is −0, and 0 added to it is 0

# ---- trigonometric functions, of radians

@primitive
def sin(xp: Any, x: Any) -> Any:
    """sin x, x in radians."""
    return xp.sin(x)

@primitive
def cos(xp: Any, x: Any) -> Any:
    """cos x, x in radians."""
    return xp.cos(x)
sin.set_vjps(lambda g, y, x: g * cos(x))
cos.set_vjps(lambda g, y, x: g * -sin(x))

# ---- squashing functions

@primitive
def tanh(xp: Any, x: Any) -> Any:
    """tanh x."""
    return xp.tanh(x)

@primitive
def _tanh_slope(xp: Any, x: Any) -> Any:
    """1 − tanh² x, which keeps its digits where tanh x rounds to ±1."""
    with np.errstate(under="ignore"):
        e = xp.exp(-2.0 * xp.abs(x))
        return 4.0 * e / (1.0 + e) ** 2
tanh.set_vjps(lambda g, y, x: g * _tanh_slope(x))
_tanh_slope.set_vjps(lambda g, y, x: g * (-2.0 * tanh(x) * y))

@primitive
def sigmoid(xp: Any, x: Any) -> Any:
    """σ(x) = 1 / (1 + e⁻ˣ), accurate far from 0 on both sides."""
    # e^−|x| never overflows; σ(x) is 1/(1 + e⁻ˣ) above 0 and eˣ/(1 + eˣ) below.
    with np.errstate(under="ignore"):
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, 1.0, e) / (1.0 + e)

@primitive
def _sigmoid_slope(xp: Any, x: Any) -> Any:
    """σ(x)(1 − σ(x)), which keeps its digits where σ(x) rounds to 1."""
    with np.errstate(under="ignore"):
        e = xp.exp(-xp.abs(x))
        return e / (1.0 + e) ** 2
sigmoid.set_vjps(lambda g, y, x: g * _sigmoid_slope(x))
_sigmoid_slope.set_vjps(lambda g, y, x: g * (-tanh(0.5 * x) * y))  # 1 − 2σ(x) = −tanh(x/2)

@primitive
def softplus(xp: Any, x: Any) -> Any:
    """ζ(x) = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|), which cannot overflow."""
    with np.errstate(under="ignore"):
        return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))
softplus.set_vjps(lambda g, y, x: g * sigmoid(x))

@replaceable
def difference(xp: Any, x: Any, y: Any) -> Any:
    """x − y; 0 where both are the same infinity, so that equal scores are equally probable."""
    with np.errstate(invalid="ignore"):
        return xp.where(x == y, 0.0, x - y)

@primitive
def _difference(xp: Any, x: Any, y: Any) -> Any:
    return difference(xp, x, y)
_difference.set_vjps(lambda g, z, x, y: g,
                     lambda g, z, x, y: -g)

@primitive
def logaddexp(xp: Any, x: Any, y: Any) -> Any:
    """ln(eˣ + eʸ), which cannot overflow."""
    with np.errstate(under="ignore"):
        return xp.logaddexp(x, y)
# eˣ/(eˣ + eʸ) = σ(x − y)
logaddexp.set_vjps(lambda g, z, x, y: g * sigmoid(_difference(x, y)),
                   lambda g, z, x, y: g * sigmoid(_difference(y, x)))

# ---- piecewise linear functions: a mask, which has no derivative of its own, selects

@replaceable
def selected(xp: Any, mask: Any, x: Any) -> Any:
    """x where the mask is True, and 0 elsewhere, also where x is infinite or NaN there."""
    return xp.where(mask, x, 0.0)

@primitive
def where(xp: Any, condition: Any, x: Any, y: Any) -> Any:
    """x where condition holds, y elsewhere. No derivative in the condition (see the module's note)."""
    return xp.where(condition, x, y)
where.set_vjps(None,
               lambda g, z, condition, x, y: where(condition, g, 0.0),
               lambda g, z, condition, x, y: where(condition, 0.0, g))

@primitive
def sign(xp: Any, x: Any) -> Any:
    """−1, 0 or +1: the sign of x. Its derivative is zero wherever it has one, so none is recorded."""
    return xp.sign(x)
sign.set_vjps(None)

@primitive
def abs(xp: Any, x: Any) -> Any:  # noqa: A001
    """|x|. The derivative at 0 is 0."""
    return xp.abs(x)
abs.set_vjps(lambda g, y, x: g * sign(x))

@primitive
def relu(xp: Any, x: Any) -> Any:
    """max(0, x). The derivative at 0 is 0."""
    return xp.maximum(x, 0.0)
relu.set_vjps(lambda g, y, x: where(x <= 0, 0.0, g))

@primitive
def maximum(xp: Any, x: Any, y: Any) -> Any:
    """The greater of x and y; of two equal ones, x gets the gradient."""
    return xp.maximum(x, y)
maximum.set_vjps(lambda g, z, x, y: where((x >= y) | (x != x), g, 0.0),
                 lambda g, z, x, y: where((x >= y) | (x != x), 0.0, g))

@primitive
def minimum(xp: Any, x: Any, y: Any) -> Any:
    """The lesser of x and y; of two equal ones, x gets the gradient."""
    return xp.minimum(x, y)
minimum.set_vjps(lambda g, z, x, y: where((x <= y) | (x != x), g, 0.0),
                 lambda g, z, x, y: where((x <= y) | (x != x), 0.0, g))

@primitive
def _clip(xp: Any, x: Any, low: float | None, high: float | None) -> Any:
    return x.copy() if low is None and high is None else xp.clip(x, low, high)

@_clip.set_vjps
def _clip_in_x(g: Tensor, y: Tensor, x: Tensor, low: float | None, high: float | None) -> Tensor:
    # The result equals x exactly where nothing was cut off, but a NaN equals nothing.
    return where((y == x) | (x != x), g, 0.0)

def clip(x: Any, low: Any = None, high: Any = None) -> Tensor:
    """x limited to [low, high]: numbers, arrays that broadcast against x, or None for no bound.

    The gradient passes inside and at the bounds. Arrays as bounds have gradients too: the result is
    minimum(maximum(x, low), high), which is high where low is above it, and has their dtype. Of numbers,
    ArgumentError if low is above high.
    """
    given, x = x, as_tensor(x, "x")
    low, high = _checked_bound("low", low, x, high), _checked_bound("high", high, x, low)
    if isinstance(low, (float, NoneType)) and isinstance(high, (float, NoneType)):
        if low is not None and high is not None and low > high:
            raise ArgumentError(f"low must not be above high, got {low} and {high}")
        return _clip(given, low, high)
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)

def _checked_bound(name: str, bound: Any, x: Tensor, other: Any) -> Any:
    """None, a float, or an array or Tensor that can stand beside x."""
    if bound is None:
        return None
    if not isinstance(bound, (list, tuple)) and backend.find(raw(bound)) is None:
        return check_number(name, bound)
    bound = as_array_beside(bound, (x, other), name)
    shape = as_array(bound, name).shape
    own, library = backend.of(raw(bound)), backend.of(x.data)
    if own is not library:
        raise BackendError(f"{name} must be a {library.name} array, as x is, got one of {own.name}: move it")
    try:
        np.broadcast_shapes(shape, x.shape)
    except ValueError as error:
        raise ArgumentError(f"{name} must broadcast against x of shape {x.shape}, got {shape}") from error
    return bound

# ---- the same values elsewhere

@structural_primitive
def copy(xp: Any, x: Any) -> Any:
    """x, in memory of its own."""
    return x.copy()
copy.set_vjps(lambda g, y, x: g)

@structural_primitive
def _astype(xp: Any, x: Any, dtype: Any) -> Any:
    return x.astype(dtype)
_astype.set_vjps(lambda g, y, x, dtype: g)  # the walk brings it back to x's dtype

def astype(x: Any, dtype: Any) -> Tensor:
    """x converted to dtype. Integers and booleans have no derivative: a conversion to them cuts the
    graph, as `detach` does."""
    dtype = check_dtype("dtype", dtype)
    if dtype.kind != "f":
        x = raw(x)
    elif dtype.char not in "fd":
        raise ArgumentTypeError(f"dtype must be float32 or float64, integers or booleans, got {dtype}")
    return _astype(x, dtype)

@structural_primitive
def to_backend(xp: Any, x: Any, name: str) -> Any:
    """x as an array of the library `name` ("numpy" or "cupy"); the same array if it is one."""
    return backend.get(name).asarray(x)
to_backend.set_vjps(lambda g, y, x, name: to_backend(g, backend.of(raw(x)).name))
