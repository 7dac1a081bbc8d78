"""One step along the input gradient: the fast gradient sign method (paper, section 4), and its like
in other norms."""

from __future__ import annotations

from typing import Any

from attacks.gradients import gradient_at, prepare, warn_of_zero_gradients
from attacks.norms import INFINITY, check_norm, steepest
from attacks.options import options_by_name
from minigrad import backend
from minigrad.checks import check_number, check_result
from minigrad.lanes import replaceable


@options_by_name
def fgsm(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    bounds: tuple[float, float] | None = None,
    targeted: bool = False,
    warn_above: float = 0.1,
) -> Any:
    """x + ε sign(∇ₓJ(θ, x, y)), a new array of x's shape, dtype and library.

    y           labels; None takes the model's predictions (which cannot leak the true label)
    epsilon     ≥ 0, in the units of x: the change of every element with a gradient, up to rounding
    bounds      (low, high) of valid inputs: x must lie within, and the result is clipped to them.
                The paper clips nothing: None.
    targeted    y are labels to reach, and their cost is descended: x − ε sign(∇ₓJ(θ, x, y))
    warn_above  ZeroGradientWarning if a greater share of the examples has an all-zero gradient
                (on the host only: counting them would make a GPU wait)

    NonFiniteError, on the host, if the gradient or the result holds NaN or infinities.
    """
    return _one_step(model, x, y, epsilon, INFINITY, bounds, targeted, warn_above)


@options_by_name
def fast_gradient(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    norm: float,
    bounds: tuple[float, float] | None = None,
    targeted: bool = False,
    warn_above: float = 0.1,
) -> Any:
    """x + ε·argmax{⟨d, ∇ₓJ⟩ : ‖d‖ ≤ 1}: the step that gains most, to first order, at its length.

    norm  of η and so of ε: inf (this is `fgsm`), 2 (along the gradient), or 1 (one element of each
          example, that of the greatest slope: the first of equal ones)

    The other arguments are as for `fgsm`. The result is clipped to bounds if they are given, so
    that a step of norm 1 at a saturated element changes nothing.
    """
    return _one_step(model, x, y, epsilon, check_norm(norm), bounds, targeted, warn_above)


def _one_step(
    model: Any, x: Any, y: Any, epsilon: Any, norm: float, bounds: Any, targeted: bool, warn_above: Any
) -> Any:
    epsilon = check_number("epsilon", epsilon, low=0.0)
    warn_above = check_number("warn_above", warn_above, low=0.0, high=1.0)
    x, y, bounds = prepare(model, x, y, bounds, targeted)
    gradient = gradient_at(model, x, y)
    warn_of_zero_gradients(gradient, warn_above, stacklevel=4)
    adversarial = step_along(x, gradient, -epsilon if targeted else epsilon, norm, bounds)
    check_result("the adversarial x", adversarial)
    return adversarial


@replaceable
def step_along(
    x: Any, gradient: Any, step: float, norm: float, bounds: tuple[float, float] | None = None
) -> Any:
    """x + step · steepest(gradient), clipped to bounds, in new memory and x's dtype."""
    result = steepest(gradient, norm)
    result *= step
    result += x
    return result if bounds is None else backend.of(x).xp.clip(result, *bounds, out=result)
