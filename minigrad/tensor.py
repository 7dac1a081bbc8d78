"""The Tensor: an array that remembers how it was computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_dtype, check_flag, check_grad, check_kind, check_required
from minigrad.errors import ArgumentError, GraphError, NoGradError
from minigrad.operators import Operators
from minigrad.operators import raw as raw  # which users of Tensors import from here
from minigrad.writes import next_age, writes


class Tensor(Operators):
    """An array that remembers how it was computed.

    data           the array itself, of NumPy or CuPy; shared with the caller if one was given
    requires_grad  whether gradients with respect to it may be asked for
    grad           where `backward()` leaves ∂(output)/∂(this): an array of the same library, shape
                   and dtype, or None. Only leaves have one: that of a computed Tensor raises.

    A *leaf* is a Tensor without a recorded call: one that was given, or computed under `no_grad()` or from
    Tensors that require no gradient. Any other Tensor is the result of a *primitive*, a function that
    comes with its derivative. It remembers the call that made it, made_by(*arguments, **options):

    made_by        the Primitive; None for a leaf
    arguments      what it was called with; () for a leaf, None once the graph was used up
    options        the settings of the call, such as an axis, by name
    arrays         the arguments after conversion: bare arrays, or Python numbers if another argument
                   is an array. A derivative that is not recorded is computed from these.
    age            the number of this result: a result is younger than its arguments, so its number
                   is greater; 0 for a leaf that was given

    Data that is no array is made into one as NumPy makes it (so Python floats become float64), in
    the library that `minigrad.backend` has chosen. ArgumentTypeError if requires_grad is asked for
    anything but float32 or float64 data, GraphError for a Tensor that requires one, which would be lost.

    Operations save the data they need for their derivatives. If you write into `data` by hand, or put
    another array there, call `changed_in_place()` after it, as the optimiser does. A backward pass through
    an operation that used this memory, by whatever Tensor, then raises an error; without the call it would
    give a wrong gradient. What is promised, and what is not, is said in `minigrad.writes`.
    """

    __slots__ = ("data", "_grad", "_requires_grad", "made_by", "arguments", "options", "age", "arrays",
                 "__weakref__")  # fmt: skip

    data: Any
    _grad: Any
    _requires_grad: bool
    made_by: Any  # Primitive | None
    arguments: Any
    options: Mapping[str, Any]
    age: int
    arrays: Any

    def __init__(self, data: Any, requires_grad: bool = False, *, dtype: Any = None) -> None:
        check_flag("requires_grad", requires_grad)
        if isinstance(data, Tensor):
            if data.requires_grad:
                raise GraphError(
                    "data must be an array, got a Tensor that requires a gradient, which would be lost: take "
                    "the Tensor as it is, or its detach()"
                )
            data = data.data
        library = backend.find(data) or backend.for_new(data)
        array = data if type(data) is library.array_type else backend.to_numpy(data)
        check_kind("data", array)
        self.data = library.asarray(array, None if dtype is None else check_dtype("dtype", dtype))
        self._grad = self.made_by = None
        self._requires_grad = bool(requires_grad) and check_required(self, True)
        self.arguments = self.arrays = ()
        self.options = NONE
        self.age = 0

    # ---- what it is

    # fmt: off
    @property
    def shape(self) -> tuple[int, ...]: return self.data.shape
    @property
    def ndim(self) -> int: return self.data.ndim
    @property
    def size(self) -> int: return int(self.data.size)
    @property
    def dtype(self) -> np.dtype[Any]: return self.data.dtype
    # fmt: on

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this Tensor."""
        return self.made_by is None

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient goes back to this Tensor. Of a leaf it can be set; a result requires one if
        something that it was computed from does."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if check_required(self, value) and not self._requires_grad:
            self.changed_in_place()  # what was computed from it before does not lead back to it
        self._requires_grad = bool(value)

    @property
    def grad(self) -> Any:
        """Of a leaf: what `backward()` left, or None. GraphError for a computed Tensor, which has none."""
        if self.made_by is not None:
            raise NoGradError(
                f"only a leaf has a grad, and this is the result of {self.made_by.name}: ask for its "
                "gradient with mg.grad(output, tensor)"
            )
        return self._grad

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if gradient is not None:
            if self.made_by is not None:
                raise NoGradError(f"only a leaf has a grad, and this is the result of {self.made_by.name}")
            gradient = check_grad(self.data, gradient)
        self._grad = gradient

    # ---- leaving the graph

    def detach(self) -> Tensor:
        """The same data as a leaf, cut off from the graph."""
        return new_tensor(self.data)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array: on NumPy the array itself, from a GPU a copy."""
        return backend.to_numpy(self.data)

    def item(self) -> float:
        """The one value as a Python number; ArgumentError if there is not exactly one."""
        if self.size != 1:
            raise ArgumentError(f"item() needs a Tensor of one element, got shape {self.shape}")
        return self.data.item()

    # ---- the graph's upkeep

    def changed_in_place(self) -> None:
        """Say that `data` was written to: what was computed from this memory before, and what these values
        are the result of, cannot be differentiated any more."""
        if isinstance(self.data, np.generic):
            self.data = np.asarray(self.data)  # what NumPy's arithmetic gives if there are no dimensions
        writes.record(self.data)

    def forget(self) -> None:
        """Let go of the arguments this was computed from; it can no longer be differentiated."""
        if self.made_by is not None:
            self.arguments = self.arrays = None
            self.options = NONE


NONE: Mapping[str, Any] = {}  # no options: one for all


def new_tensor(
    data: Any, made_by: Any = None, arguments: Any = (), arrays: Any = (), options: Mapping[str, Any] = NONE
) -> Tensor:
    """The result of a recorded call, or a leaf, without the constructor's checks."""
    tensor = object.__new__(Tensor)
    tensor.data = data
    tensor._grad = None
    tensor._requires_grad = made_by is not None
    tensor.made_by = made_by
    tensor.arguments = arguments
    tensor.arrays = arrays
    tensor.options = options
    tensor.age = next_age()
    return tensor
