"""The step of an optimiser in a recording."""

from __future__ import annotations

import itertools
from functools import partial
from operator import is_
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.errors import BackendError, GraphError
from minigrad.fast.forms import BLOCK
from minigrad.fast.recording import RECORDING, Recorded, recorded_now
from minigrad.lanes import replace
from minigrad.optim import SGD
from minigrad.optim.optimiser import Optimiser
from minigrad.optim.sgd import has_units, limit_columns

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
    own = type(optimiser) is not SGD or any(map(callable, fixed))
    own = own or not {"settings", "update_parameter"}.isdisjoint(vars(optimiser))
    if own or len({p.dtype for p in trained}) != 1 or tape.library is not backend.NUMPY:
        found = [(p, p.grad.array) for p in trained]
        return tape.note((step_with, (optimiser, found)), [p.grad for p in trained])
    lr, momentum = (tape.variable(tape.xp.array(0, trained[0].dtype)) for _ in range(2))
    tape.checks[optimiser] = partial(check_fixed, optimiser, fixed)
    tape.note((set_numbers, (optimiser, lr.array, momentum.array, [])))
    whole = velocities_side_by_side([array.array for array in optimiser._memory["velocity"]])
    optimiser.settings = lambda: (lr, momentum, fixed[1])
    gradients: list[Recorded] = []
    if whole is not None and len(trained) == len(optimiser.parameters) and are_apart(trained):
        optimiser.update_parameter = lambda position, g, memory, settings: gradients.append(g)
    try:
        eager_step(optimiser)
    finally:
        del optimiser.settings
        vars(optimiser).pop("update_parameter", None)
    if gradients:
        update_at_once(optimiser, gradients, tape.variable(whole), lr, momentum)
    return tape.note((count, (optimiser,)))


def velocities_side_by_side(arrays: list[Any]) -> Any:
    """The array in which all of these lie, one after the other, if there is one."""
    whole, start = arrays[0].base, 0
    if whole is None or whole.shape != (sum(array.size for array in arrays),):
        return None
    for array in arrays:
        own = whole[start : start + array.size]
        if array.base is not whole or (own.size and not np.may_share_memory(own, array)):
            return None
        start += array.size
    return whole


def are_apart(parameters: list[Any]) -> bool:
    """Whether no Parameter lies in another's memory, or has a gradient that does: then it is all the same if
    they are moved in turn or at once."""
    arrays = [p.data.array for p in parameters]
    shared = (np.may_share_memory(a, b) for a, b in itertools.combinations(arrays, 2))
    return not any(shared) and all(p.grad.memory.number >= 0 for p in parameters)


def put_side_by_side(optimiser: Any) -> None:
    """Has the velocities of a small SGD on NumPy lie in one array: they are changed by two calls then, where
    two for each take longer."""
    arrays = optimiser._memory.get("velocity", [])
    small = sum(array.size for array in arrays) <= BLOCK
    if type(optimiser) is not SGD or len({(type(a), a.dtype) for a in arrays}) > 1 or not small:
        return
    plain = type(arrays[0]) is np.ndarray and arrays[0].dtype.isnative
    if plain and velocities_side_by_side(arrays) is None:
        left = np.concatenate([array.reshape(-1) for array in arrays])
        for i, array in enumerate(arrays):
            place, left = left[: array.size], left[array.size :]
            arrays[i] = place.reshape(array.shape)


def update_at_once(
    optimiser: Any, gradients: list[Recorded], velocities: Recorded, lr: Recorded, momentum: Recorded
) -> None:
    """`optim.sgd.update` of all Parameters, whose velocities lie side by side. So do their gradients, once a
    first recording has shown that they are joined here."""
    step = RECORDING.xp.concatenate([g.reshape(-1) for g in gradients]) * lr
    velocities *= momentum
    velocities -= step
    start = 0
    for parameter in optimiser.parameters:
        p: Any = parameter.data
        p += velocities[start : start + p.size].reshape(p.shape)
        start += p.size
        if optimiser.max_norm is not None and has_units(p):
            limit_columns(p, optimiser.max_norm)


def step_with(optimiser: Any, gradients: Any) -> None:
    for parameter, gradient in gradients:
        parameter._grad = gradient
    eager_step(optimiser)


def check_fixed(optimiser: SGD, fixed: Any) -> None:
    if (optimiser.weight_decay, optimiser.max_norm) != fixed:
        raise GraphError("weight_decay and max_norm must be what they were: capture the step anew")


def set_numbers(optimiser: SGD, lr: Any, momentum: Any, last: list[Any]) -> None:
    """lr and momentum of this step. Numbers that the arrays have from the last one are not checked again; a
    schedule is asked anew."""
    given = optimiser.lr, optimiser.momentum
    if not last or not all(map(is_, given, last)):
        lr[...], momentum[...], _ = optimiser.settings()
        last[:] = () if any(map(callable, given)) else given


def count(optimiser: SGD) -> None:
    optimiser.updates += 1


replace(Optimiser, step, "step")
