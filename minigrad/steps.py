"""A step that is run many times: recorded once and replayed, in the fast lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import shown
from minigrad.errors import ArgumentTypeError
from minigrad.lanes import replaceable
from minigrad.modules import Module
from minigrad.optim.optimiser import Optimiser
from minigrad.tensor import Tensor, raw

__all__ = ["CaptureWarning", "Step", "capture"]


class CaptureWarning(UserWarning):
    """A step was not captured, and runs eagerly instead."""


class Step:
    """A function of a batch, as `capture` gives it. `captured` says whether calls replay a record of it."""

    captured = False

    def __init__(self, function: Callable[..., Any], example: tuple[Any, ...], of: Any) -> None:
        if not callable(function):
            raise ArgumentTypeError(f"function must be a function of a batch, got {shown(function)}")
        for position, given in enumerate(example):
            if backend.find(raw(given)) is None:
                raise ArgumentTypeError(
                    f"example[{position}] must be an array or a Tensor, got {shown(given)}"
                )
        for member in of if isinstance(of, (list, tuple)) else [of]:
            if not isinstance(member, (Module, Tensor, Optimiser, np.random.Generator)):
                raise ArgumentTypeError(
                    f"of must be Modules, Tensors, optimisers and generators, got {shown(member)}"
                )
        self.function = function

    def __call__(self, *batch: Any) -> Any:
        return self.function(*map(raw, batch))


@replaceable
def capture(function: Callable[..., Any], *example: Any, of: Any) -> Step:
    """The function as a step that is recorded once, and replayed on each batch: several times as fast on
    small networks, with the same bits.

        def train(x, y):
            optimiser.zero_grad()
            J = adversarial_objective(model, x, y)
            J.backward()
            optimiser.step()
            return J

        step = mg.capture(train, x, y, of=[model, optimiser])
        for x, y in batches:
            J = step(x, y)

    function  computes what a training step or an attack computes of the arrays of a batch, and returns an
              array, a Tensor, several in a tuple, or None. It may call `zero_grad`, `backward` and the step
              of optimisers
    example   a batch, of arrays or Tensors; every other has their shapes and dtypes
    of        all Modules, Tensors, optimisers and random generators that it works with, one or a list

    A replay makes the array calls that the step made, in the same memory, and nothing else. It reads the
    batch, the Tensors, what optimisers remember, and their settings, schedules too; it draws dropout's masks
    from the generators, and makes the checks of values. *Any other number is what it was at the capture*: ε,
    α, a count, an attribute of yours; and what the function keeps elsewhere is not kept. What is returned is
    new at each call. A `grad` is an array that the next call overwrites. Warnings of NumPy's and of zero
    gradients are not given. Within `detect_nonfinite` the function itself runs. The bits are those of a batch
    that lies in memory as the example does.

    Capturing runs the step a few times, on the example and on other numbers like it, and leaves everything as
    it was, but for a small SGD's velocities, which lie side by side in one new array from then on. Meanwhile
    no other thread must use what it works with. If it cannot be recorded, because it looks at a value, brings
    arrays from elsewhere, or has another number at each run, or if the record does not give the bits of the
    eager step, a CaptureWarning says why, `captured` is False, and calls run the function itself. So they do
    where the fast lane is off.

    A replay raises GraphError if an array, a Parameter or a Module was replaced (`load_state_dict`,
    `Module.to`), or a Module's mode, a requires_grad, an SGD's weight_decay or max_norm was changed; and if
    it is called while it runs, for its memory is one: threads need steps of their own. ArgumentError for a
    batch of other shapes or dtypes.
    """
    return Step(function, example, of)
