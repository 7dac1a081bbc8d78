"""The step of an optimiser in a recording."""

from __future__ import annotations

from functools import partial
from typing import Any

from minigrad import backend
from minigrad.errors import BackendError, GraphError
from minigrad.fast.recording import Recorded, recorded_now
from minigrad.lanes import replace
from minigrad.optim import SGD
from minigrad.optim.optimiser import Optimiser

eager_step = Optimiser.step


def step(optimiser: Any) -> None:
    """The step of an optimiser. In a recording on NumPy, SGD's is array calls, which read lr and momentum
    from arrays; any other is made as it is, on the record's gradients."""
    tape = recorded_now()
    if tape is None:
        return eager_step(optimiser)
    if any(type(array) is not Recorded for memory in optimiser._memory.values() for array in memory):
        raise BackendError("it uses an optimiser that is not named in `of`")
    trained = [p for p in optimiser.parameters if p.grad is not None and p.requires_grad]
    fixed = optimiser.weight_decay, getattr(optimiser, "max_norm", None)
    own = type(optimiser) is not SGD or "settings" in vars(optimiser) or any(map(callable, fixed))
    if own or len({p.dtype for p in trained}) != 1 or tape.library is not backend.NUMPY:
        gradients = [(p, p.grad.array) for p in trained]
        return tape.note((step_with, (optimiser, gradients)), [p.grad for p in trained])
    lr, momentum = (tape.variable(tape.xp.array(0, trained[0].dtype)) for _ in range(2))
    tape.checks[optimiser] = partial(check_fixed, optimiser, fixed)
    tape.note((set_numbers, (optimiser, lr.array, momentum.array)))
    optimiser.settings = lambda: (lr, momentum, fixed[1])
    try:
        eager_step(optimiser)
    finally:
        del optimiser.settings
    return tape.note((count, (optimiser,)))


def step_with(optimiser: Any, gradients: Any) -> None:
    for parameter, gradient in gradients:
        parameter._grad = gradient
    eager_step(optimiser)


def check_fixed(optimiser: SGD, fixed: Any) -> None:
    if (optimiser.weight_decay, optimiser.max_norm) != fixed:
        raise GraphError("weight_decay and max_norm must be what they were: capture the step anew")


def set_numbers(optimiser: SGD, lr: Any, momentum: Any) -> None:
    lr[...], momentum[...], _ = optimiser.settings()


def count(optimiser: SGD) -> None:
    optimiser.updates += 1


replace(Optimiser, step, "step")
