"""Parameters, and Modules that own them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_flag
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.modes import Setting, in_force
from minigrad.tensor import Tensor, raw


class Parameter(Tensor):
    """A leaf Tensor that is trained: it owns a C-ordered copy of `data` and requires a gradient.

    A host array is moved to the library that `minigrad.backend` has chosen.
    """

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        library = backend.current()
        super().__init__(library.xp.array(library.asarray(backend.to_numpy(data)), order="C"), True)


class Module:
    """Something with Parameters: its own attributes, and those of the Modules among its attributes.
    Either may also stand in a list or a tuple. Subclasses say in `forward` what calling one
    computes.
    """

    _training = True

    def __call__(self, x: Any) -> Tensor:
        return self.forward(x)

    def forward(self, x: Any) -> Tensor:
        """What calling the Module computes; every subclass has its own."""
        raise TypeError(f"{type(self).__name__} does not define forward(self, x)")

    # ---- what it is made of

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, Module) of this one, named `prefix`, and of every Module within."""
        yield prefix, self
        for name, value in _attributes(self):
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters by dotted name, in the order of definition; a shared one appears once."""
        found: dict[str, Parameter] = {}
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in _attributes(module):
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    found[f"{prefix}.{name}" if prefix else name] = value
        return found

    def parameters(self) -> list[Parameter]:
        return list(self.named_parameters().values())

    def zero_grad(self) -> None:
        """Set every Parameter's grad to None."""
        for parameter in self.parameters():
            parameter.grad = None

    # ---- training and evaluation

    @property
    def training(self) -> bool:
        """Whether this Module is in training (dropout on); False inside `evaluating()`."""
        return self._training and id(self) not in in_force.get().evaluated

    @training.setter
    def training(self, mode: bool) -> None:
        self._training = check_flag("training", mode)

    def train(self, mode: bool = True) -> Module:
        """Switch this Module and those within to training; returns itself."""
        check_flag("mode", mode)
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch this Module and those within to evaluation; returns itself."""
        return self.train(False)

    def evaluating(self) -> Setting:
        """Evaluation mode for a `with` block, in this thread and asyncio task alone: other threads that use
        the Module go on as they were. `training` of each Module is afterwards what it was."""
        return Setting(evaluated=frozenset(id(module) for _, module in self.named_modules()))

    # ---- moving and storing

    def to(self, name: str | None = None, *, dtype: Any = None) -> Module:
        """Move every Parameter, and its grad, to the library `name`, or convert it to the float
        `dtype`, or both; the Parameter objects stay the same. Returns itself."""
        library = None if name is None else backend.get(name)
        if dtype is not None and np.dtype(dtype).kind != "f":
            raise ArgumentTypeError(f"dtype must be a floating-point type, got {np.dtype(dtype)}")
        for parameter in self.parameters():
            target = library or backend.of(parameter.data)
            parameter.data = target.asarray(parameter.data, dtype)
            if parameter.grad is not None:
                parameter.grad = target.asarray(parameter.grad, dtype)
            parameter.changed_in_place()
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """A NumPy copy of each Parameter's data, by name."""
        return {name: np.array(p.numpy()) for name, p in self.named_parameters().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set every Parameter from `state`. ArgumentError, and nothing changed, unless names,
        shapes and dtypes are exactly those of this Module."""
        parameters = self.named_parameters()
        arrays = check_state(state, {name: p.data for name, p in parameters.items()})
        for name, parameter in parameters.items():
            library = backend.of(parameter.data)
            parameter.data = library.xp.array(library.asarray(arrays[name]))
            parameter.changed_in_place()


def _attributes(module: Module) -> Iterator[tuple[str, Any]]:
    """(name, value) of each attribute, and of each item of those that are lists or tuples."""
    for name, value in vars(module).items():
        yield name, value
        if isinstance(value, (list, tuple)):
            for position, item in enumerate(value):
                yield f"{name}.{position}", item


def check_state(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`state` as NumPy arrays; ArgumentError unless its names, shapes and dtypes are those of `own`."""
    if missing := sorted(own.keys() - state.keys()):
        raise ArgumentError(f"state lacks {', '.join(missing)}")
    if unknown := sorted(state.keys() - own.keys()):
        raise ArgumentError(f"state has {', '.join(unknown)}, which belong nowhere here")
    arrays = {name: backend.to_numpy(raw(state[name])) for name in own}
    for name, array in own.items():
        given = arrays[name]
        if given.shape != array.shape or given.dtype != array.dtype:
            raise ArgumentError(
                f"state[{name!r}] must have shape {array.shape} and dtype {array.dtype}, "
                f"got {given.shape} and {given.dtype}"
            )
    return arrays
