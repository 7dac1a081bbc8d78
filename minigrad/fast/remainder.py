"""`grad_and_remainder` as one backward pass, cut in two at the input gradient.

Take J = f(z), z = x W. On the way to x, the first part finds g = ∂J/∂z, and with it ∂J/∂x = g Wᵀ. What
is left is ∂J/∂W = xᵀ g. So the remainder gets a *stop* for each result between J and x: here a z that was
computed from W and, as it seems, not from x. The derivative of the remainder in that stop is g, which
is known. ∇ₓJ now and the weights' gradients later then cost no more than one pass for both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.checks import check_input
from minigrad.engine import differentiate
from minigrad.fast.recording import Recorded
from minigrad.fast.sums import ThriftySums
from minigrad.modes import in_force
from minigrad.remainder import grad_and_remainder, made_again, without
from minigrad.tensor import Tensor, new_tensor


def cut_pass(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The fast form of `minigrad.remainder.grad_and_remainder`."""
    check_input("x", x)
    if in_force.get().detecting_nonfinite:  # on Tensors, which keep no cotangents
        return grad_and_remainder.plain(output, x)
    sums = ThriftySums((x,))
    way: dict[Tensor, Any] = {}
    sums.way = way  # the cotangent of every result that is visited, the youngest first
    gradient = differentiate(output, None, (x,), True, sums_of_arrays=lambda asked: sums).get(x)
    if gradient is None:
        return grad_and_remainder.plain(output, x)
    way.pop(x, None)
    if any(isinstance(y.made_by, Remainder) for y in way):  # its known cotangents may depend on x
        return gradient, without(output, x)
    again = {x: x.detach()}  # the way, recorded anew with x cut off: see `minigrad.remainder.without`
    stops, cotangents = [], []
    for y, g in reversed(way.items()):
        beside = [a.detach() if isinstance(a, Tensor) and a in again else a for a in y.arguments]
        stop = made_again(y, beside)
        if stop.requires_grad:
            stops.append(stop)
            cotangents.append(g)
        again[y] = made_again(y, [again.get(a, a) if isinstance(a, Tensor) else a for a in y.arguments])
    if not stops:
        return gradient, output.detach()
    arguments = (again[output], *stops)
    arrays = [argument.data for argument in arguments]
    return gradient, new_tensor(
        output.data, REMAINDER, arguments, arrays, {"cotangents": dict(enumerate(cotangents, 1))}
    )


class Remainder:
    """What made a remainder, from (output without x, stop, stop, …). It is its own list of rules.

    Each stop is handed the cotangent that is known for it. If the derivative is recorded, numbers that
    are known are no use, for they have no graph: then all goes to the output without x.
    """

    name = "remainder"
    sees_others = False

    @property
    def vjps(self) -> Remainder:
        return self

    def __getitem__(self, position: Any) -> Any:
        recording = in_force.get().recording
        if position == 0:
            return (lambda g, y, without_x, cotangents: g) if recording else None
        if recording:
            return None

        def rule(g: Any, y: Any, stop: Any, cotangents: dict[int, Any]) -> Any:
            known = cotangents[position]
            return known if is_one(g) else known * g

        return rule


REMAINDER = Remainder()


def is_one(g: Any) -> bool:
    """Whether g is known to be 1: on the host alone, for looking at it would make a GPU wait. Of a step that
    is being recorded, only a constant is known."""
    if isinstance(g, Recorded) and not g.memory.varies:
        g = g.array
    return type(g) is np.ndarray and bool(g == 1.0)
