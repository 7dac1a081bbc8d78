"""Stochastic gradient descent with classical momentum, weight decay and the max-norm constraint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.lanes import replaceable
from minigrad.modules import Parameter
from minigrad.optim.optimiser import Optimiser
from minigrad.optim.schedules import Schedule


class SGD(Optimiser):
    """v ← momentum·v − lr·(g + weight_decay·p),  p ← p + v, for each Parameter p with gradient g; v starts
    at 0.

    parameters    the Parameters to train: a list, or a mapping of names to Parameters, such as
                  model.named_parameters(), whose velocities are saved by name
    lr            ≥ 0, learning rate, or a schedule: a function of the number of updates already made
    momentum      in [0, 1), or a schedule
    weight_decay  ≥ 0, or a schedule: the gradient of weight_decay/2 · Σp² is added to g
    max_norm      in [1e-100, 1e100], or a schedule: after each update, a unit's incoming weights are scaled
                  back to this Euclidean norm if theirs is greater; None for no constraint. A unit is a
                  column of a matrix, or a filter of a convolution's W (rows, columns, channels, filters).

    A Parameter without a grad is left as it is. Updates are made in place, in the arrays that the
    Parameters hold. The settings may be set anew between steps.
    """

    remembers = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Parameter] | Mapping[str, Parameter],
        *,
        lr: float | Schedule,
        momentum: float | Schedule = 0.0,
        weight_decay: float | Schedule = 0.0,
        max_norm: float | Schedule | None = None,
    ) -> None:
        super().__init__(parameters, weight_decay=weight_decay)
        self.lr, self.momentum, self.max_norm = lr, momentum, max_norm
        self.settings()

    def settings(self) -> tuple[float, float, float | None]:
        """(lr, momentum, max_norm) of the next update; an error if they make no sense."""
        return (
            self.setting("lr", low=0.0),
            self.setting("momentum", low=0.0, high=1.0, high_open=True),
            None if self.max_norm is None else self.setting("max_norm", low=1e-100, high=1e100),
        )

    def update_parameter(self, position: int, g: Any, memory: list[Any], settings: Any) -> None:
        lr, momentum, max_norm = settings
        parameter = self.parameters[position]
        update(parameter.data, memory[0], g, lr, momentum)
        if max_norm is not None and has_units(parameter.data):
            limit_columns(parameter.data, max_norm)

    def velocities(self) -> list[Any]:
        """Each Parameter's v, the array itself; zeros before its first update."""
        return [self._remembered(position)[0] for position in range(len(self.parameters))]


@replaceable
def update(p: Any, v: Any, g: Any, lr: float, momentum: float) -> None:
    """v ← momentum·v − lr·g and p ← p + v, in place, for arrays of one shape and library."""
    v *= momentum
    v -= lr * g
    p += v


def has_units(W: Any) -> bool:
    """Whether W holds units along its last axis: the columns of a matrix, the filters of a convolution."""
    return W.ndim in (2, 4)


@replaceable
def limit_columns(W: Any, max_norm: float) -> None:
    """Scale back, in place, each W[…, j] whose Euclidean norm is above max_norm. Squares are added in
    float64; one whose sum is infinite even so becomes NaN."""
    squares = (W.astype(np.float64) ** 2).sum(tuple(range(W.ndim - 1)))
    W[...] = W * column_factors(squares, max_norm)


def column_factors(squares: Any, max_norm: float) -> Any:
    """What brings columns of these squared norms back to max_norm; exactly 1 for one that is within."""
    xp = backend.of(squares).xp
    factors = max_norm / xp.sqrt(xp.maximum(squares, max_norm**2))
    return xp.where(squares == np.inf, np.nan, xp.where(squares > max_norm**2, factors, 1.0))
