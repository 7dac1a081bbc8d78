"""The gradient in one Tensor now, and in all others later: for training on adversarial examples.

The adversarial objective needs ∇ₓJ first, to make the example, and the weights' gradients of J in the end.
The *remainder* is what is left of J to differentiate: J with x cut out of its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.checks import check_input
from minigrad.engine import computed_from, grad, order
from minigrad.lanes import replaceable
from minigrad.tensor import Tensor, new_tensor


@replaceable
def grad_and_remainder(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(∂output/∂x, remainder): the gradient in x, and a Tensor to differentiate in everything else later.

    The remainder has output's value, and output's derivative in everything but x. If output is a network's
    cost and x its input, remainder.backward() gives the weights' gradients.

    The plain form differentiates twice. The fast form (`minigrad.lanes`) goes through the graph once: it
    keeps the cotangents that it finds on the way to x.

    output is a Tensor of one element. Raises as `grad` does.
    """
    check_input("x", x)
    (gradient,) = grad(output, (x,), retain_graph=True)
    return gradient, without(output, x)


def without(output: Tensor, x: Tensor) -> Tensor:
    """output with x cut out of its graph: nothing is computed, only recorded anew."""
    results = order(output)
    way = computed_from((x,), results)
    again = {x: x.detach()}
    for y in results:
        if y in way and y is not x:
            arguments = [again.get(a, a) if isinstance(a, Tensor) else a for a in y.arguments]
            again[y] = made_again(y, arguments)
    return again.get(output, output)


def made_again(y: Tensor, arguments: Sequence[Any]) -> Tensor:
    """y's value, as if it had been computed by the same primitive from other arguments."""
    for a in arguments:
        if isinstance(a, Tensor) and a.requires_grad:
            return new_tensor(y.data, y.made_by, arguments, y.arrays, y.options)
    return new_tensor(y.data)
