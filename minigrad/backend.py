"""The array library under the Tensors: NumPy, or CuPy when asked.

The arrays decide which library runs: an operation uses the library that its operands belong to.
What is chosen here is only where *new* arrays are made, by `use("cupy")` or by the environment
variable MINIGRAD_BACKEND, and how arrays move from one library to the other.

CuPy is imported when the first CuPy array, or the cupy backend, is asked for, and not before.

On a GPU, what needs a value on the host waits for the device: `item()`, `numpy()`, `repr`, `float(t)`,
`if t:`, boolean indices, `detect_nonfinite`, state_dict(), `evaluate`. Operations, gradients and attacks do
not wait. That is why checks of *values* (labels in range, no NaN) look at host arrays alone: check data
before uploading it.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minigrad import other_names
from minigrad.checks import check_choice, check_kind, check_unmasked, host_array
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.modes import Setting, Settings, in_force


class Backend:
    """An array library: its module `xp`, the type of its arrays, and how arrays come to it and leave it."""

    def __init__(self, name: str, xp: Any, array_type: type[Any]) -> None:
        self.name, self.xp, self.array_type = name, xp, array_type

    def __repr__(self) -> str:
        return f"<minigrad backend {self.name!r}>"

    def __reduce__(self) -> Any:
        return get, (self.name,)

    def asarray(self, data: Any, dtype: Any = None) -> Any:
        """`data` (array of either library, number, nested list) as an array of this library."""
        if type(data) is self.array_type:
            return data if dtype is None else data.astype(dtype, copy=False)
        return self.xp.asarray(to_numpy(data), dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        """An array of this library as a NumPy array: itself, or a copy from the device."""
        return np.asarray(array)


NUMPY = Backend("numpy", np, np.ndarray)

_by_name: dict[str, Backend] = {"numpy": NUMPY}
_by_type: dict[type, Backend] = {np.ndarray: NUMPY}


def register(backend: Backend, hidden: bool = False) -> None:
    """Make `backend` known by its array type and, unless it is hidden, by its name."""
    _by_type[backend.array_type] = backend
    if not hidden:
        _by_name[backend.name] = backend


def get(name: str, argument: str = "name") -> Backend:
    """The backend of that name: "numpy" or "cupy". Errors call it `argument`.

    Raises ArgumentError for an unknown name, BackendError if CuPy or a GPU is missing.
    """
    check_choice(argument, name, tuple({**_by_name, "cupy": None}), other_names.LIBRARIES)
    if name not in _by_name:
        from minigrad.cupy_backend import CupyBackend

        register(CupyBackend())
    return _by_name[name]


def find(array: Any) -> Backend | None:
    """The backend that `array` belongs to; None for anything that is no array."""
    backend = _by_type.get(type(array))
    if backend is None and isinstance(array, np.ndarray):
        return NUMPY
    if backend is None and type(array).__module__.partition(".")[0] == "cupy":
        return get("cupy")
    return backend


def of(array: Any) -> Backend:
    """The backend that `array` belongs to, or ArgumentError."""
    backend = find(array)
    if backend is None:
        raise ArgumentError(f"expected an array, got {type(array).__name__}")
    return backend


def to_numpy(data: Any, name: str = "data") -> np.ndarray:
    """`data` as a NumPy array, copied from the device if it lies on one. Errors call it `name`."""
    backend = find(data)
    if backend is None:
        return host_array(name, data)
    check_unmasked(name, data)
    check_kind(name, data)
    return backend.to_numpy(data)


def current() -> Backend:
    """Where this thread or task makes new arrays: the backend last chosen, MINIGRAD_BACKEND's, or NumPy."""
    chosen: Backend | None = in_force.get().library
    return chosen or get(os.environ.get("MINIGRAD_BACKEND") or "numpy", "MINIGRAD_BACKEND")


def for_new(*data: Any) -> Backend:
    """Where an array of this data is made: in the library of an array among it, in NumPy if there is a NumPy
    scalar (what NumPy's arithmetic gives for arrays without dimensions), else in `current()`."""
    for value in data:
        found = find(value)
        if found is not None:
            return found
    return NUMPY if any(isinstance(value, np.generic) for value in data) else current()


class use(Setting):
    """Make new arrays with the backend `name` from here on, in this thread and asyncio task.

    As a plain call it holds until the next one; in a `with` statement, until the block ends:

        mg.backend.use("cupy")
        with mg.backend.use("numpy"):
            ...
    """

    def __init__(self, name: str) -> None:
        super().__init__(library=get(name))
        self.entered = False
        outside = found = in_force.get()
        plain = []
        while found.block is not None:
            if isinstance(found.block, use) and not found.block.entered:
                plain.append(found.block)
            found = found.outside
        for block in plain[1:]:  # the last plain call is kept, for this one may yet become a block
            outside = outside.without(block)
        in_force.set(Settings(self, outside))

    def __call__(self, function: Any) -> Any:
        raise ArgumentTypeError(
            f"use(name) decorates nothing, got {function!r}: write a `with` statement in it"
        )

    def __enter__(self) -> Backend:
        self.entered = True
        in_force.set(Settings(self, in_force.get().without(self)))
        return current()
