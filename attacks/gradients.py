"""What every attack begins with: the checks of its arguments, and the input gradient."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from inspect import signature
from typing import Any

import numpy as np

import minigrad as mg
from attacks.foreign import predicted_labels
from minigrad.checks import check_examples, check_finite, check_flag, check_number, check_result
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_array


class ZeroGradientWarning(UserWarning):
    """Many examples have no input gradient, so the attack leaves them as they are.

    That says nothing of the model's robustness: the usual cause is a cost whose gradient rounds to
    zero, because it is computed from probabilities or the logits are very large.
    """


def input_gradient(model: Any, x: Any, y: Any) -> Any:
    """∇ₓJ(θ, x, y) of each example: an array of x's shape, dtype and library.

    The cost is summed, not averaged, over the examples: an example's gradient is then its own,
    whatever stands beside it in the batch. The model is run in evaluation mode, and works within
    `no_grad` too; no weight gradient is computed and no `grad` is touched.

    NonFiniteError if a host array of gradients holds NaN or infinities: it says nothing of the model.
    """
    x = real_array(x)
    check_finite("x", x)
    return gradient_at(model, x, y)


def evaluating(model: Any) -> Any:
    """A `with` block in which the model is in evaluation mode, if it has one."""
    if isinstance(model, type):
        raise ArgumentTypeError(f"model must be an object, got the class {model.__name__}: make one of it")
    return getattr(model, "evaluating", nullcontext)()


def gradient_at(model: Any, x: Any, y: Any) -> Any:
    """`input_gradient` of an array that was checked before."""
    with evaluating(model), mg.enable_grad():
        leaf = mg.Tensor(x, requires_grad=True)
        cost = cost_of(model, leaf, y, "sum")
        if not cost.requires_grad:
            raise ArgumentError(
                "model.cost must be computed from x by minigrad's operations: the cost of "
                f"{type(model).__name__} has no graph, so x has no gradient"
            )
        (gradient,) = mg.grad(cost, leaf)
        leaf.requires_grad = False  # a model that keeps its input keeps no leaf to be trained
    check_gradient(model, gradient.data)
    return gradient.data


def check_gradient(model: Any, gradient: Any) -> None:
    """NonFiniteError if a host array of input gradients holds NaN or infinities."""
    check_result(f"the input gradient of {type(model).__name__}", gradient)


def cost_of(model: Any, x: Any, y: Any, reduction: str, shape: tuple[int, ...] | None = None) -> mg.Tensor:
    """model.cost(x, y, reduction), or an error if it is no Tensor of `shape`, or of one element if None."""
    if isinstance(model, type) or not callable(getattr(model, "cost", None)):
        kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ArgumentTypeError(f"model must have a method cost(x, y, reduction), got {kind}")
    try:
        cost = model.cost(x, y, reduction=reduction)
    except TypeError as error:
        if _takes_reduction(model.cost):
            raise
        raise ArgumentTypeError(
            f"the cost of {type(model).__name__} must take x, y and reduction ('sum', 'mean' or 'none'), as "
            f"def cost(self, x, y, reduction='mean') does, got cost{signature(model.cost)}"
        ) from error
    if not isinstance(cost, mg.Tensor) or (cost.size != 1 if shape is None else cost.shape != shape):
        what = f"a Tensor of shape {cost.shape}" if isinstance(cost, mg.Tensor) else type(cost).__name__
        expected = "scalar Tensor" if shape is None else f"Tensor of shape {shape}, a cost an example"
        raise ArgumentTypeError(f"model.cost with reduction={reduction!r} must be a {expected}, got {what}")
    return cost


def _takes_reduction(cost: Any) -> bool:
    try:
        signature(cost).bind(None, None, reduction="sum")
    except TypeError:
        return False
    except ValueError:  # a function without a signature, written in C
        pass
    return True


def prepare(
    model: Any, x: Any, y: Any, bounds: Any, targeted: bool
) -> tuple[Any, Any, tuple[float, float] | None]:
    """Check what every attack is given; returns x as an array, y (predicted if None), bounds."""
    bounds = check_bounds(bounds)
    targeted = check_flag("targeted", targeted)
    x = real_array(x)
    check_finite("x", x, bounds)
    if y is None:
        if targeted:
            raise ArgumentError("y must be given for a targeted attack: the labels to reach")
        if not callable(getattr(model, "predict", None)):
            raise ArgumentError(f"y must be given: {type(model).__name__} has no predict(x)")
        y = predicted_labels(model, x)
    return x, y, bounds


def check_bounds(bounds: Any) -> tuple[float, float] | None:
    """`bounds` as (low, high) with low < high, or None if none are given."""
    if bounds is None:
        return None
    try:
        low, high = bounds
        if isinstance(bounds, (set, frozenset, dict)):  # which have no order
            raise TypeError
    except (TypeError, ValueError):
        raise ArgumentError(f"bounds must be a pair (low, high) or None, got {bounds!r}") from None
    low, high = check_number("bounds[0]", low), check_number("bounds[1]", high)
    if low >= high:
        raise ArgumentError(f"bounds must be (low, high) with low < high, got ({low}, {high})")
    return low, high


def zero_gradient_share(gradient: Any) -> float:
    """The share of examples (first axis) whose gradient is zero in every element; 0 if there are none.

    A Python number: from a GPU, it waits for the device. NaN is no gradient and no zero: on the host it is
    an error.
    """
    gradient = as_array(gradient, "gradient")
    if gradient.ndim == 0:
        raise ArgumentError("gradient must have a first axis, of the examples, got shape ()")
    check_finite("gradient", gradient)
    return share_of_zeros(gradient)


def share_of_zeros(gradient: Any) -> float:
    """`zero_gradient_share` of an array that was checked before."""
    if gradient.size == 0:
        return 0.0
    rows = gradient.reshape(len(gradient), -1)
    zero = rows[:, 0] == 0  # few rows of a sound gradient pass, and only those are read through
    suspects = rows[zero]
    return float((~suspects.any(axis=1)).sum()) / len(rows)


_counted_elsewhere: ContextVar[bool] = ContextVar("zero gradients are counted elsewhere", default=False)


@contextmanager
def zero_gradients_uncounted() -> Iterator[None]:
    """Attacks neither count nor warn, for a `with` block of this thread or task: whoever runs them does."""
    before = _counted_elsewhere.set(True)
    try:
        yield
    finally:
        _counted_elsewhere.reset(before)


def warn_of_zero_gradients(gradient: Any, warn_above: float, stacklevel: int) -> None:
    """ZeroGradientWarning if more than the share `warn_above` of a host array's examples have no
    gradient. One on a GPU passes uncounted: counting would make the device wait."""
    if isinstance(gradient, np.ndarray) and warn_above < 1.0 and not _counted_elsewhere.get():
        share = share_of_zeros(gradient)
        if share > warn_above:
            warnings.warn(
                f"{share:.1%} of {len(gradient)} examples have an all-zero input gradient: the attack "
                "leaves them unchanged, which is not robustness",
                ZeroGradientWarning,
                stacklevel=stacklevel + 1,
            )


def real_array(x: Any) -> Any:
    """x as an array of examples, or an error."""
    x = as_array(x)
    if x.ndim == 0:
        raise ArgumentError("x must have a first axis, of the examples, got shape ()")
    check_examples(x)
    return x
