"""Stochastic gradient descent with classical momentum, its schedules, and the max-norm constraint."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_count, check_number
from minigrad.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from minigrad.lanes import replaceable
from minigrad.modes import in_force
from minigrad.modules import Module, Parameter, check_state
from minigrad.tensor import Tensor

Schedule = Callable[[int], float]


def exponential_decay(start: float, divisor: float, minimum: float = 0.0) -> Schedule:
    """update t ↦ max(start / divisorᵗ, minimum)."""
    start = check_number("start", start, low=0.0)
    divisor = check_number("divisor", divisor, low=1.0)
    return partial(_decayed, start, divisor, check_number("minimum", minimum, low=0.0))


def _decayed(start: float, divisor: float, minimum: float, t: int) -> float:
    # Through logarithms: divisorᵗ itself overflows for a large t.
    return max(start * math.exp(-t * math.log(divisor)), minimum)


def linear_ramp(start: float, end: float, updates: int) -> Schedule:
    """update t ↦ start + (end − start)·t/updates, and `end` from t = updates on."""
    start, end = check_number("start", start), check_number("end", end)
    return partial(_ramped, start, end, check_count("updates", updates))


def _ramped(start: float, end: float, updates: int, t: int) -> float:
    return start + (end - start) * min(t / updates, 1.0)


class SGD:
    """v ← momentum·v − lr·g,  p ← p + v, for each Parameter p with gradient g; v starts at 0.

    parameters  the Parameters to train: a list, or a mapping of names to Parameters, such as
                model.named_parameters(), whose velocities are saved by name
    lr          ≥ 0, learning rate, or a schedule: a function of the number of updates already made
    momentum    in [0, 1), or a schedule
    max_norm    in [1e-100, 1e100]: after each update, scale back every column of a weight matrix (a unit's
                incoming weights) whose Euclidean norm is greater; None for no constraint

    A Parameter without a grad is left as it is. Updates are made in place, in the arrays that the
    Parameters hold. lr, momentum and max_norm may be set anew between steps.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter] | Mapping[str, Parameter],
        *,
        lr: float | Schedule,
        momentum: float | Schedule = 0.0,
        max_norm: float | None = None,
    ) -> None:
        named = _named(parameters)
        self.parameters = list(named.values())
        self.lr = lr
        self.momentum = momentum
        self.max_norm = max_norm
        self.updates = 0
        self._names: list[Any] = list(named)  # names of a mapping, or places in a list
        self._velocities: list[Any] = [None] * len(named)
        self._checked: tuple[Any, ...] = (None, None, None)  # the settings that were found right
        self._settings()

    def zero_grad(self) -> None:
        """Set every Parameter's grad to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every Parameter by its grad. An error comes before any was changed."""
        lr, momentum, max_norm = self._settings()
        trained = [position for position, p in enumerate(self.parameters) if p.grad is not None]
        detecting_nonfinite = in_force.get().detecting_nonfinite
        for position in trained:
            self._check_arrays(position, detecting_nonfinite)
        for position in trained:
            parameter = self.parameters[position]
            update(parameter.data, self._velocities[position], parameter.grad, lr, momentum)
            if max_norm is not None and parameter.ndim == 2:
                limit_columns(parameter.data, max_norm)
            parameter.changed_in_place()
        self.updates += 1

    def velocities(self) -> list[Any]:
        """Each Parameter's v, the array itself; zeros before its first update."""
        return [self._velocity(position) for position in range(len(self.parameters))]

    def state_dict(self) -> dict[str, np.ndarray]:
        """NumPy copies: the number of "updates", and the velocities. "velocity.W" is that of the name W in a
        mapping; of a list it is "velocity.0" and so on, with "checksums" that tell the Parameters' order."""
        state = {name: np.array(backend.to_numpy(v)) for name, v in self._named_velocities().items()}
        return {"updates": np.array(self.updates), **self._checksums(), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. ArgumentError, and nothing changed, if it does not fit.

        Of a list, the order alone tells which velocity is whose. Load the model before its optimiser: then
        the checksums show if the Parameters stand in another order than in `state`, which is an error. A
        state of earlier versions has none, and is trusted.
        """
        velocities, checksums = self._named_velocities(), self._checksums()
        if isinstance(state, Mapping) and "checksums" not in state:
            checksums = {}
        arrays = check_state(state, {"updates": np.array(0), **checksums, **velocities})
        updates = check_count("state['updates']", int(arrays["updates"]), low=0)
        for own in checksums.values():
            now, then = own.tolist(), arrays["checksums"].tolist()
            if now != then and sorted(now) == sorted(then):
                raise ArgumentError(
                    "state must be of the same Parameters in the same order, got it of the present ones in "
                    f"the order {[now.index(checksum) for checksum in then]}: give SGD a mapping, "
                    "model.named_parameters(), to have velocities by name"
                )
        self.updates = updates
        self._velocities = [arrays[name] for name in velocities]

    def _velocity(self, position: int) -> Any:
        data, velocity = self.parameters[position].data, self._velocities[position]
        if velocity is None:
            velocity = backend.of(data).xp.zeros_like(data)
        elif type(velocity) is not type(data) or velocity.dtype != data.dtype:
            velocity = backend.of(data).asarray(velocity, data.dtype)  # the model was moved
        self._velocities[position] = velocity
        return velocity

    def _named_velocities(self) -> dict[str, Any]:
        return {f"velocity.{name}": v for name, v in zip(self._names, self.velocities(), strict=True)}

    def _checksums(self) -> dict[str, np.ndarray]:
        """Of the data of each Parameter in a list."""
        if isinstance(self._names[0], str):
            return {}
        sums = [zlib.crc32(p.numpy().tobytes()) for p in self.parameters]
        return {"checksums": np.array(sums, np.uint32)}

    def _settings(self) -> tuple[float, float, float | None]:
        """lr, momentum and max_norm of the next update; an error if they make no sense."""
        given: Any = self.lr, self.momentum, self.max_norm
        if all(now is then for now, then in zip(given, self._checked, strict=True)):
            return given
        t = self.updates
        lr = ("lr", self.lr) if not callable(self.lr) else (f"lr({t})", self.lr(t))
        momentum = (
            ("momentum", self.momentum)
            if not callable(self.momentum)
            else (f"momentum({t})", self.momentum(t))
        )
        if self.max_norm is not None:
            check_number("max_norm", self.max_norm, low=1e-100, high=1e100)
        found = (
            check_number(*lr, low=0.0),
            check_number(*momentum, low=0.0, high=1.0, high_open=True),
            self.max_norm,
        )
        if not (callable(self.lr) or callable(self.momentum)):
            self.lr, self.momentum = found[:2]  # Python's floats: one of NumPy would turn float32 to float64
            self._checked = found
        return found

    def _check_arrays(self, position: int, detecting_nonfinite: bool) -> None:
        """Raise unless a Parameter's grad and velocity can be added to its data."""
        data, g, v = self.parameters[position].data, self.parameters[position].grad, self._velocity(position)
        fits = type(g) is type(data) and g.shape == data.shape == v.shape and g.dtype == data.dtype
        writable = getattr(data.flags, "writeable", True)
        if fits and writable and not detecting_nonfinite:
            return
        name = f"parameters[{self._names[position]!r}]"
        if not writable:
            raise ArgumentError(f"{name}.data must be writable, got a read-only array: take its .copy()")
        if backend.find(g) is not backend.of(data):
            raise ArgumentTypeError(
                f"{name}.grad must be a {backend.of(data).name} array, as its data is, got "
                f"{type(g).__name__}{': give its .data' if isinstance(g, Tensor) else ''}"
            )
        for what, array in ((f"{name}.grad", g), (f"the velocity of {name}", v)):
            if array.shape != data.shape:
                raise ArgumentError(f"{what} must have shape {data.shape}, got {array.shape}")
        if g.dtype != data.dtype:
            raise ArgumentTypeError(
                f"{name}.grad must have dtype {data.dtype}, as its data has, got {g.dtype}"
            )
        if detecting_nonfinite and not bool(backend.of(g).xp.isfinite(g).all()):
            raise NonFiniteError(f"{name}.grad holds a NaN or an infinity")


def _named(parameters: Any) -> dict[Any, Parameter]:
    """The Parameters by name, or by place in a list; an error unless they are different Parameters."""
    if isinstance(parameters, Parameter):
        parameters = [parameters]
    strange = isinstance(parameters, (Module, Tensor, str, set, frozenset))
    if strange or not isinstance(parameters, Iterable):
        raise ArgumentTypeError(
            "parameters must be a list of Parameters or a mapping of names to them: give model.parameters() "
            f"or model.named_parameters(), got {type(parameters).__name__}"
        )
    by_name = isinstance(parameters, Mapping)
    named: dict[Any, Any] = dict(parameters) if by_name else dict(enumerate(parameters))
    if not named:
        raise ArgumentError("parameters must hold at least one Parameter, got none")
    for name, parameter in named.items():
        if by_name and not isinstance(name, str):
            raise ArgumentTypeError(f"parameters must have strings for names, got {name!r}")
        if not isinstance(parameter, Parameter):
            raise ArgumentTypeError(
                f"parameters[{name!r}] must be a Parameter, got {type(parameter).__name__}"
                f"{': make it one, Parameter(data)' if isinstance(parameter, Tensor) else ''}"
            )
    if len({id(parameter) for parameter in named.values()}) < len(named):
        raise ArgumentError("parameters must be different Parameters, got one of them twice")
    return named


@replaceable
def update(p: Any, v: Any, g: Any, lr: float, momentum: float) -> None:
    """v ← momentum·v − lr·g and p ← p + v, in place, for arrays of one shape and library."""
    v *= momentum
    v -= lr * g
    p += v


@replaceable
def limit_columns(W: Any, max_norm: float) -> None:
    """Scale back, in place, each column of W whose Euclidean norm is above max_norm. Squares are added in
    float64; a column whose sum is infinite even so becomes NaN."""
    W[...] = W * column_factors((W.astype(np.float64) ** 2).sum(0), max_norm)


def column_factors(squares: Any, max_norm: float) -> Any:
    """What brings columns of these squared norms back to max_norm; exactly 1 for one that is within."""
    xp = backend.of(squares).xp
    factors = max_norm / xp.sqrt(xp.maximum(squares, max_norm**2))
    return xp.where(squares == np.inf, np.nan, xp.where(squares > max_norm**2, factors, 1.0))
