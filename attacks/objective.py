"""Training on adversarial examples (paper, section 6)."""

from __future__ import annotations

from typing import Any

import minigrad as mg
from attacks.fast_gradient import step_along
from attacks.foreign import Attack, examples_of
from attacks.gradients import check_gradient, cost_of, prepare
from attacks.norms import INFINITY
from attacks.options import options_by_name
from minigrad.checks import check_number
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_array

EPSILON = 0.25
LEAST_WEIGHT = 0.25


@options_by_name
def adversarial_objective(
    model: Any,
    x: Any,
    y: Any,
    *,
    alpha: float = 0.5,
    epsilon: float | None = None,
    attack: Attack | None = None,
) -> mg.Tensor:
    """J̃ = α J(θ, x, y) + (1 − α) J(θ, x + ε sign(∇ₓJ(θ, x, y)), y), a scalar Tensor to train on.

    alpha    in [0, 1], the weight of the clean cost; the paper has .5 throughout
    epsilon  ≥ 0, in the units of x; None is .25, the paper's for MNIST
    attack   another maker of the example: attack(model, x, y), an array like x, as for `evaluate`. It
             brings an ε of its own: `functools.partial(pgd, epsilon=.25, step=.1, steps=5, seed=generator)`.
             It gets copies, and the model's modes and grads are put back after it. The attacks of this
             package work in evaluation mode, without dropout.

    The example is made with the true labels and the parameters of the moment, and taken as data: no
    gradient flows through the sign. J is the mean over the batch, and the model stays in the mode it
    is in: with dropout, the clean pass, and so the gradient it gives, has one mask, and the
    adversarial pass draws another (the paper does not say).

    The clean pass serves twice. Its backward pass is begun here, for ∇ₓJ, and ended when the
    objective is differentiated: two forward and two backward passes in all, and one product more
    for the first layer's input gradient.

    NonFiniteError, on the host, if the input gradient or what the attack returns is not finite.
    """
    alpha = check_number("alpha", alpha, low=0.0, high=1.0)
    if attack is not None and not callable(attack):
        raise ArgumentTypeError(f"attack must be a function attack(model, x, y) or None, got {attack!r}")
    if attack is not None and epsilon is not None:
        raise ArgumentError(
            f"epsilon must be None beside an attack, which brings its own, got {epsilon!r}: write "
            f"attack=functools.partial(fgsm, epsilon={epsilon!r}), say"
        )
    epsilon = EPSILON if epsilon is None else check_number("epsilon", epsilon, low=0.0)
    if y is None:
        raise ArgumentError("y must be given: the labels to train on")
    x, y, _ = prepare(model, x, y, None, targeted=False)
    with mg.enable_grad():
        if alpha == 1.0:
            return cost_of(model, x, y, "mean")
        if attack is not None:
            clean = cost_of(model, x, y, "mean")
            adversarial = cost_of(model, examples_of(attack, model, x, as_array(y, "y")), y, "mean")
            return alpha * clean + (1.0 - alpha) * adversarial
        leaf = mg.Tensor(x, requires_grad=True)
        J = cost_of(model, leaf, y, "mean")
        # α J has the same gradient's sign, and its remainder needs no more scaling, which is a pass over
        # every cotangent; but a small α would round a small gradient to 0.
        weighted = alpha >= LEAST_WEIGHT
        gradient, clean = mg.grad_and_remainder(alpha * J if weighted else J, leaf)
        leaf.requires_grad = False  # a model that keeps its input keeps no leaf to be trained
        check_gradient(model, gradient.data)
        adversarial = cost_of(model, step_along(x, gradient.data, epsilon, INFINITY), y, "mean")
        return (clean if weighted else alpha * clean) + (1.0 - alpha) * adversarial
