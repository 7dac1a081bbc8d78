"""Stochastic gradient descent with classical momentum, its schedules, and the max-norm constraint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_count, check_number
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.lanes import replaceable
from minigrad.modules import Module, Parameter, check_state

Schedule = Callable[[int], float]


def exponential_decay(start: float, divisor: float, minimum: float = 0.0) -> Schedule:
    """update t ↦ max(start / divisorᵗ, minimum)."""
    check_number("start", start, low=0.0)
    check_number("divisor", divisor, low=1.0)
    check_number("minimum", minimum, low=0.0)
    # Through logarithms: divisorᵗ itself overflows for a large t.
    return lambda t: max(start * math.exp(-t * math.log(divisor)), minimum)


def linear_ramp(start: float, end: float, updates: int) -> Schedule:
    """update t ↦ start + (end − start)·t/updates, and `end` from t = updates on."""
    check_number("start", start)
    check_number("end", end)
    check_count("updates", updates)
    return lambda t: start + (end - start) * min(t / updates, 1.0)


class SGD:
    """v ← momentum·v − lr·g,  p ← p + v, for each Parameter p with gradient g; v starts at 0.

    parameters  the Parameters to train
    lr          learning rate, or a schedule: a function of the number of updates already made
    momentum    in [0, 1), or a schedule
    max_norm    after each update, scale back every column of a weight matrix (a unit's incoming
                weights) whose Euclidean norm is greater; None for no constraint

    A Parameter without a grad is left as it is. Updates are made in place, in the arrays that the
    Parameters hold.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        *,
        lr: float | Schedule,
        momentum: float | Schedule = 0.0,
        max_norm: float | None = None,
    ) -> None:
        if isinstance(parameters, Module):
            raise ArgumentTypeError("parameters must be a list of Parameters: give model.parameters()")
        self.parameters = [parameters] if isinstance(parameters, Parameter) else list(parameters)
        if not self.parameters:
            raise ArgumentError("parameters must hold at least one Parameter, got none")
        for position, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Parameter):
                raise ArgumentTypeError(
                    f"parameters[{position}] must be a Parameter, got {type(parameter).__name__}"
                )
        if len({id(parameter) for parameter in self.parameters}) < len(self.parameters):
            raise ArgumentError("parameters must be different Parameters, got one of them twice")
        if not callable(lr):
            check_number("lr", lr, low=0.0)
        if not callable(momentum):
            check_number("momentum", momentum, low=0.0, high=1.0, high_open=True)
        if max_norm is not None:
            check_number("max_norm", max_norm, low=0.0, low_open=True)
        self.lr = lr
        self.momentum = momentum
        self.max_norm = max_norm
        self.updates = 0
        self._velocities: list[Any] = [None] * len(self.parameters)

    def zero_grad(self) -> None:
        """Set every Parameter's grad to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every Parameter by its grad."""
        lr = self.lr(self.updates) if callable(self.lr) else self.lr
        momentum = self.momentum(self.updates) if callable(self.momentum) else self.momentum
        for position, parameter in enumerate(self.parameters):
            if parameter.grad is not None and parameter.grad.shape != parameter.shape:
                raise ArgumentError(
                    f"parameters[{position}].grad must have shape {parameter.shape}, "
                    f"got {parameter.grad.shape}"
                )
        for position, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            update(parameter.data, self._velocity(position), parameter.grad, lr, momentum)
            if self.max_norm is not None and parameter.ndim == 2:
                limit_columns(parameter.data, self.max_norm)
            parameter.changed_in_place()
        self.updates += 1

    def velocities(self) -> list[Any]:
        """Each Parameter's v, the array itself; zeros before its first update."""
        return [self._velocity(position) for position in range(len(self.parameters))]

    def _velocity(self, position: int) -> Any:
        data, velocity = self.parameters[position].data, self._velocities[position]
        if velocity is None:
            velocity = backend.of(data).xp.zeros_like(data)
        elif type(velocity) is not type(data) or velocity.dtype != data.dtype:
            velocity = backend.of(data).asarray(velocity, data.dtype)  # the model was moved
        self._velocities[position] = velocity
        return velocity

    def state_dict(self) -> dict[str, np.ndarray]:
        """The number of updates and each Parameter's velocity, as NumPy copies."""
        state = {
            f"velocity.{position}": np.array(backend.to_numpy(velocity))
            for position, velocity in enumerate(self.velocities())
        }
        return {"updates": np.array(self.updates), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. ArgumentError, and nothing changed, if it does not fit."""
        own = self.state_dict()
        arrays = check_state(state, own)
        self.updates = check_count("state['updates']", int(arrays["updates"]), low=0)
        for position, parameter in enumerate(self.parameters):
            library = backend.of(parameter.data)
            self._velocities[position] = library.xp.array(library.asarray(arrays[f"velocity.{position}"]))


@replaceable
def update(p: Any, v: Any, g: Any, lr: float, momentum: float) -> None:
    """v ← momentum·v − lr·g and p ← p + v, in place, for arrays of one shape and library."""
    v *= momentum
    v -= lr * g
    p += v


@replaceable
def limit_columns(W: Any, max_norm: float) -> None:
    """Scale back, in place, each column of W whose Euclidean norm is above max_norm."""
    W *= column_factors(backend.of(W).xp.einsum("ij,ij->j", W, W), max_norm)


def column_factors(squares: Any, max_norm: float) -> Any:
    """What brings columns of these squared norms back to max_norm; exactly 1 for one that is within."""
    xp = backend.of(squares).xp
    factors = xp.where(squares > max_norm**2, max_norm / xp.sqrt(xp.maximum(squares, max_norm**2)), 1.0)
    return factors.astype(squares.dtype)
