"""What optimisers share: Parameters by name, checks before anything is changed, and a state saved by name."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_count, check_number, shown
from minigrad.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from minigrad.modes import in_force
from minigrad.modules import Module, Parameter, check_state
from minigrad.optim.schedules import Schedule
from minigrad.tensor import Tensor


class Optimiser:
    """Changes Parameters by their gradients, one `step()` after the other.

    parameters    a list of Parameters, or a mapping of names to them, such as model.named_parameters(), whose
                  state is saved by name
    weight_decay  ≥ 0, or a schedule: the gradient of weight_decay/2 · Σp² is added to each Parameter's

    A subclass has two methods. `settings()` gives the settings of the next update, or raises if one makes no
    sense; `setting` helps, and __init__ may ask for them once, for an early error.
    `update_parameter(position, g, memory, settings)` changes self.parameters[position].data in place by the
    gradient g, which it must not write to. `memory` has arrays of the Parameter's shape, 0 at first, one for
    each name in `remembers`; they are saved and loaded.
    """

    remembers: tuple[str, ...] = ()

    def __init__(
        self,
        parameters: Iterable[Parameter] | Mapping[str, Parameter],
        *,
        weight_decay: float | Schedule = 0.0,
    ) -> None:
        names = self.remembers
        if not isinstance(names, tuple) or len(set(names)) < len(names):
            raise ArgumentTypeError(f"remembers must be a tuple of different names, got {shown(names)}")
        named = _named(parameters)
        self.parameters = list(named.values())
        self.updates = 0  # that were made
        self.weight_decay = weight_decay
        self.setting("weight_decay", low=0.0)
        self._names: list[Any] = list(named)  # names of a mapping, or places in a list
        self._memory: dict[str, list[Any]] = {what: [None] * len(named) for what in self.remembers}

    def __repr__(self) -> str:
        """Its settings, and how much it trains."""
        settings = [f"{name}={shown(value)}" for name, value in vars(self).items()
                    if name[0] != "_" and name not in ("parameters", "updates")]  # fmt: skip
        numbers = sum(p.size for p in self.parameters)
        return (
            f"{type(self).__name__}({', '.join(settings)})  # {len(self.parameters)} Parameters of "
            f"{numbers:,} numbers, {self.updates:,} updates"
        )

    def settings(self) -> Any:
        raise TypeError(f"{type(self).__name__} does not define settings(self)")

    def update_parameter(self, position: int, g: Any, memory: list[Any], settings: Any) -> None:
        raise TypeError(f"{type(self).__name__} does not define update_parameter(self, position, …)")

    def setting(self, name: str, **bounds: Any) -> float:
        """The attribute `name` for the next update: a number, or what a schedule gives; an error if it is out
        of the bounds, which are those of `minigrad.checks.check_number`. Python's float: one of NumPy's would
        turn float32 to float64."""
        value = getattr(self, name)
        if callable(value):
            try:
                name, value = f"{name}({self.updates})", value(self.updates)
            except TypeError as error:
                raise ArgumentTypeError(
                    f"{name} must be a number or a function of the number of updates, got one that raises "
                    f"TypeError: {error}"
                ) from error
        return check_number(name, value, **bounds)

    def zero_grad(self) -> None:
        """Set every Parameter's grad to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every Parameter by its grad; one without, or that requires none, is left as it is.
        Everything is checked before any is changed."""
        settings, weight_decay = self.settings(), self.setting("weight_decay", low=0.0)
        trained = [i for i, p in enumerate(self.parameters) if p.grad is not None and p.requires_grad]
        detecting_nonfinite = in_force.get().detecting_nonfinite
        memories = [self._remembered(position) for position in trained]
        for position, memory in zip(trained, memories, strict=True):
            self._check_arrays(position, memory, detecting_nonfinite)
        for position, memory in zip(trained, memories, strict=True):
            parameter = self.parameters[position]
            g: Any = parameter.grad
            if weight_decay:
                g = backend.of(parameter.data).asarray(g + weight_decay * parameter.data)
            try:
                self.update_parameter(position, g, memory, settings)
            finally:
                parameter.changed_in_place()
        self.updates += 1

    # ---- what it remembers

    def state_dict(self) -> dict[str, np.ndarray]:
        """NumPy copies: the number of "updates", and what is remembered. "velocity.W" is that of the name W
        in a mapping; of a list it is "velocity.0" and so on, with "checksums" that tell the Parameters'
        order."""
        state = {name: np.array(backend.to_numpy(array)) for name, array in self._named_memory().items()}
        counts = {name: np.array(count) for name, count in self._counts().items()}
        return {**counts, **self._checksums(), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. ArgumentError, and nothing changed, if it does not fit.

        Of a list, the order alone tells what is whose. Load the model before its optimiser: then the
        checksums show if the Parameters stand in another order than in `state`, which is an error. A state of
        earlier versions has none, and is trusted.
        """
        own, checksums, counts = self._named_memory(), self._checksums(), self._counts()
        if isinstance(state, Mapping) and "checksums" not in state:
            checksums = {}
        arrays = check_state(state, {**{name: np.array(0) for name in counts}, **checksums, **own})
        counts = {name: check_count(f"state[{name!r}]", int(arrays[name]), low=0) for name in counts}
        for own_sums in checksums.values():
            now, then = own_sums.tolist(), arrays["checksums"].tolist()
            if now != then and sorted(now) == sorted(then):
                raise ArgumentError(
                    "state must be of the same Parameters in the same order, got it of the present ones in "
                    f"the order {[now.index(checksum) for checksum in then]}: give "
                    f"{type(self).__name__} a mapping, model.named_parameters(), to have a state by name"
                )
        self._set_counts(counts)
        for what in self.remembers:
            self._memory[what] = [arrays[f"{what}.{name}"] for name in self._names]

    def _counts(self) -> dict[str, int]:
        """The numbers that a state has beside arrays."""
        return {"updates": self.updates}

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        self.updates = counts["updates"]

    def _remembered(self, position: int) -> list[Any]:
        """The arrays of a Parameter: zeros before its first update, beside it if it was moved."""
        data = self.parameters[position].data
        found = []
        for arrays in self._memory.values():
            array = arrays[position]
            if array is None:
                array = backend.of(data).xp.zeros_like(data)
            elif type(array) is not type(data) or array.dtype != data.dtype:
                array = backend.of(data).asarray(array, data.dtype)
            arrays[position] = array
            found.append(array)
        return found

    def _named_memory(self) -> dict[str, Any]:
        everything = [self._remembered(position) for position in range(len(self.parameters))]
        return {
            f"{what}.{name}": memory[i]
            for i, what in enumerate(self.remembers)
            for name, memory in zip(self._names, everything, strict=True)
        }

    def _checksums(self) -> dict[str, np.ndarray]:
        """Of the data of each Parameter in a list."""
        if isinstance(self._names[0], str):
            return {}
        sums = [zlib.crc32(p.numpy().tobytes()) for p in self.parameters]
        return {"checksums": np.array(sums, np.uint32)}

    def _check_arrays(self, position: int, memory: list[Any], detecting_nonfinite: bool) -> None:
        """Raise unless a Parameter can be changed by its grad and what is remembered of it."""
        data, g = self.parameters[position].data, self.parameters[position].grad
        fits = type(g) is type(data) and g.shape == data.shape and g.dtype == data.dtype
        writable = getattr(data.flags, "writeable", True)
        if fits and writable and not detecting_nonfinite and all(m.shape == data.shape for m in memory):
            return
        name = f"parameters[{self._names[position]!r}]"
        if not writable:
            raise ArgumentError(f"{name}.data must be writable, got a read-only array: take its .copy()")
        if backend.find(g) is not backend.of(data):
            raise ArgumentTypeError(
                f"{name}.grad must be a {backend.of(data).name} array, as its data is, got "
                f"{type(g).__name__}{': give its .data' if isinstance(g, Tensor) else ''}"
            )
        remembered = [(f"the {what} of {name}", m) for what, m in zip(self.remembers, memory, strict=True)]
        for what, array in ((f"{name}.grad", g), *remembered):
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
