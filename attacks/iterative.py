"""Projected gradient descent: many small steps, each kept within ε of the start.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018 (arXiv
1706.06083), section 2.1. It is here because a model trained on one-step examples can withstand
those alone: whatever is measured under FGSM is to be measured under PGD too.
"""

from __future__ import annotations

from typing import Any

from attacks.fast_gradient import gradient_at, prepare, step_along_sign
from minigrad import backend
from minigrad.errors import check_count, check_number


def pgd(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    epsilon: float,
    step: float,
    steps: int,
    bounds: tuple[float, float] | None = None,
    targeted: bool = False,
    random_start: bool = True,
    seed: int = 0,
) -> Any:
    """`steps` times x' ← clip(x' + step · sign(∇J(θ, x', y)), x − ε, x + ε), a new array.

    It is clipped to bounds as well where they are given, and steps go down where targeted.
    random_start begins at x + U(−ε, ε), drawn on the host from `seed`. The other arguments are as
    for `fgsm`.
    """
    epsilon = check_number("epsilon", epsilon, low=0.0)
    step = check_number("step", step, low=0.0)
    check_count("steps", steps)
    x, y, bounds = prepare(model, x, y, bounds, targeted)
    library = backend.of(x)
    xp = library.xp
    lowest, highest = x - epsilon, x + epsilon
    if bounds is not None:
        lowest, highest = xp.maximum(lowest, bounds[0]), xp.minimum(highest, bounds[1])
    result = x.copy()
    if random_start:
        noise = backend.random_generator(seed).uniform(-epsilon, epsilon, x.shape)
        result = xp.clip(result + library.asarray(noise.astype(x.dtype)), lowest, highest)
    for _ in range(steps):
        gradient = gradient_at(model, result, y)
        result = step_along_sign(result, gradient, -step if targeted else step, None)
        xp.clip(result, lowest, highest, out=result)
    return result
