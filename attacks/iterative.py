"""Many steps, each brought back to within ε of the start.

They are here because a model trained on one-step examples can withstand those alone: whatever is
measured under FGSM is to be measured under PGD too.

Basic iterative: Kurakin, Goodfellow, Bengio, "Adversarial Examples in the Physical World", 2017
(arXiv 1607.02533), section 2.2. PGD: Madry et al., "Towards Deep Learning Models Resistant to
Adversarial Attacks", 2018 (1706.06083), section 2.1. Momentum: Dong et al., "Boosting Adversarial
Attacks with Momentum", 2018 (1710.06081), section 3.1. One step from a random start: Wong, Rice,
Kolter, "Fast is Better than Free", 2020 (2001.03994), section 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from attacks.fast_gradient import step_along
from attacks.gradients import cost_of, evaluating, gradient_at, prepare, warn_of_zero_gradients
from attacks.norms import INFINITY, check_norm, into_ball, l1_shares, random_in_ball
from attacks.options import options_by_name
from minigrad import backend
from minigrad.checks import check_count, check_flag, check_number, check_result
from minigrad.errors import ArgumentError
from minigrad.generators import random_generator

Bounds = tuple[float, float] | None


@options_by_name
def basic_iterative(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    step: float | None = None,
    steps: int = 10,
    norm: float = INFINITY,
    bounds: Bounds = None,
    targeted: bool = False,
    warn_above: float = 0.1,
) -> Any:
    """`pgd` that starts at x itself."""
    return _iterate(model, x, y, epsilon, step, steps, norm, bounds, targeted, warn_above)


@options_by_name
def pgd(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    step: float | None = None,
    steps: int = 10,
    norm: float = INFINITY,
    bounds: Bounds = None,
    targeted: bool = False,
    random_start: bool = True,
    restarts: int = 1,
    seed: int | np.random.Generator = 0,
    warn_above: float = 0.1,
) -> Any:
    """`steps` times x' ← P(x' + step · argmax{⟨d, ∇J(θ, x', y)⟩ : ‖d‖ ≤ 1}), a new array.

    P takes each example to the nearest point within ε of x, and into bounds if they are given.

    step          ≥ 0, length of a step in the units of x; 2.5 ε / steps if None, as Madry et al. take: long
                  enough to reach the ball's border from anywhere in it, and to move along that
    norm          inf or 2, of the steps and of ε
    random_start  begin at a point drawn uniformly from the ball of radius ε, on the host
    seed          of the starts: a number makes every call begin alike; a numpy.random.Generator goes on
                  from call to call, as training needs it
    restarts      as many runs, each from another start; of an example's results the one with the
                  greatest cost is kept (targeted: the least). More than one needs random_start, and a
                  model whose cost has reduction="none" (one forward pass sees to that first).

    The other arguments are as for `fgsm`; its warning looks at the gradients of the first step.
    """
    random_start = check_flag("random_start", random_start)
    restarts = check_count("restarts", restarts)
    if restarts > 1 and not random_start:
        raise ArgumentError(f"restarts must be 1 without a random start, got {restarts}")
    generator = random_generator(seed) if random_start else None
    return _iterate(model, x, y, epsilon, step, steps, norm, bounds, targeted, warn_above,
                    generator=generator, restarts=restarts)  # fmt: skip


@options_by_name
def momentum_iterative(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    step: float | None = None,
    steps: int = 10,
    decay: float = 1.0,
    norm: float = INFINITY,
    bounds: Bounds = None,
    targeted: bool = False,
    warn_above: float = 0.1,
) -> Any:
    """`basic_iterative` along G ← decay · G + ∇J/‖∇J‖₁, the gradients gathered so far.

    decay  ≥ 0; with 0 it is `basic_iterative` of that step
    step   ε / steps if None, as Dong et al. take

    It leaves poor maxima behind, and its examples transfer better to other models.
    """
    decay = check_number("decay", decay, low=0.0)
    return _iterate(model, x, y, epsilon, step, steps, norm, bounds, targeted, warn_above,
                    reach=1.0, decay=decay)  # fmt: skip


@options_by_name
def fgsm_random_start(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    step: float | None = None,
    bounds: Bounds = None,
    targeted: bool = False,
    seed: int | np.random.Generator = 0,
    warn_above: float = 0.1,
) -> Any:
    """One step of `pgd` from a random start: P(x + u + step · sign(∇J(θ, x + u, y))), u ~ U(−ε, ε).

    step  1.25 ε if None, as Wong et al. found best for training
    seed  as for `pgd`

    A network trained on these withstands more than those alone, unlike one trained on `fgsm`.
    """
    return _iterate(model, x, y, epsilon, step, 1, INFINITY, bounds, targeted, warn_above,
                    reach=1.25, generator=random_generator(seed))  # fmt: skip


def _iterate(
    model: Any,
    x: Any,
    y: Any,
    epsilon: Any,
    step: Any,
    steps: Any,
    norm: Any,
    bounds: Any,
    targeted: bool,
    warn_above: Any,
    *,
    reach: float = 2.5,
    decay: float = 0.0,
    generator: Any = None,
    restarts: int = 1,
) -> Any:
    """`reach` is how far, in ε, all steps go together if step is None."""
    epsilon = check_number("epsilon", epsilon, low=0.0)
    steps = check_count("steps", steps)
    step = reach * epsilon / steps if step is None else check_number("step", step, low=0.0)
    norm = check_norm(norm, (INFINITY, 2))
    warn_above = check_number("warn_above", warn_above, low=0.0, high=1.0)
    x, y, bounds = prepare(model, x, y, bounds, targeted)
    xp = backend.of(x).xp
    signed_step = -step if targeted else step

    def back(moved: Any) -> Any:
        inside = into_ball(moved, x, norm, epsilon)
        # x lies in the bounds, so clipping only brings an example nearer to it.
        return inside if bounds is None else xp.clip(inside, *bounds, out=inside)

    if restarts > 1:
        _costs(model, x, y)  # refused now, and not after a run, if the model does not give each its own
    best = costs = None
    for run in range(restarts):
        result = x if generator is None else back(x + random_in_ball(x, norm, epsilon, generator))
        gathered: Any = 0
        for number in range(steps):
            gradient = gradient_at(model, result, y)
            if run == number == 0:
                warn_of_zero_gradients(gradient, warn_above, stacklevel=4)
            if decay:
                gathered = gradient = decay * gathered + l1_shares(gradient)
            result = back(step_along(result, gradient, signed_step, norm))
        check_result("the adversarial x", result)
        if restarts == 1:
            return result
        reached = _costs(model, result, y)
        if best is None:
            best, costs = result, reached
        else:
            better = reached < costs if targeted else reached > costs
            costs = xp.where(better, reached, costs)
            best = xp.where(better.reshape(-1, *(1,) * (x.ndim - 1)), result, best)
    return best


def _costs(model: Any, x: Any, y: Any) -> Any:
    """Each example's own cost."""
    with evaluating(model), mg.no_grad():
        costs = cost_of(model, mg.Tensor(x), y, "none", (len(x),)).data
    check_result("the examples' costs", costs)
    return costs
