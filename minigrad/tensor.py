"""The Tensor: an array that remembers how it was computed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError

# Every result, and every change in place, gets a number: a greater one is younger.
next_age = itertools.count(1).__next__


class Tensor:
    """An array that remembers how it was computed.

    data           the array itself, of NumPy or CuPy; shared with the caller where one was given
    requires_grad  whether gradients with respect to it may be asked for
    grad           where `backward()` leaves ∂(output)/∂(this): an array of the same library, shape
                   and dtype, or None. Only leaves (Tensors that no operation made) have one.

    Data that is no array is made into one as NumPy makes it (so Python floats become float64), in
    the library that `minigrad.backend` has chosen. ArgumentTypeError where requires_grad is asked
    for anything but floating-point data.

    Operations save the data they need for their derivatives. Whoever writes into `data` by hand
    calls `changed_in_place()` after it, as the optimiser does: then a graph recorded before raises,
    where it would otherwise give a wrong gradient.
    """

    __slots__ = (
        "data",
        "grad",
        "requires_grad",
        "_made_by",
        "_age",
        "__weakref__",
    )
    __array_ufunc__ = None  # so that `array + tensor` is left to Tensor.__radd__
    __array_priority__ = 1000

    data: Any
    grad: Any
    requires_grad: bool
    # A result is primitive(*arguments, **options): it keeps (primitive, arguments, their arrays,
    # options), the latter three None once its graph was used up. A leaf has None.
    _made_by: Any
    _age: int  # when it was computed or, for a leaf, last written in place; 0 for a leaf as given

    def __init__(self, data: Any, requires_grad: bool = False, *, dtype: Any = None) -> None:
        if not isinstance(requires_grad, (bool, np.bool_)):
            raise ArgumentTypeError(
                f"requires_grad must be True or False, got {requires_grad!r} (dtype is given by name)"
            )
        if isinstance(data, Tensor):
            data = data.data
        library = backend.find(data) or backend.current()
        self.data = library.asarray(data, dtype)
        if self.data.dtype.kind not in "fiub":
            raise ArgumentTypeError(f"data must be real numbers, got dtype {self.data.dtype}")
        if requires_grad and self.data.dtype.kind != "f":
            raise ArgumentTypeError(
                f"requires_grad=True needs floating-point data, got dtype {self.data.dtype}; "
                "give dtype=numpy.float32"
            )
        self.grad = None
        self.requires_grad = bool(requires_grad)
        self._made_by = None
        self._age = 0

    # ---- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return int(self.data.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this Tensor."""
        return self._made_by is None

    def __repr__(self) -> str:
        library = backend.of(self.data).name
        values = np.array2string(backend.to_numpy(self.data), separator=", ", prefix="Tensor(", threshold=100)
        facts = [values, f"dtype={self.dtype}"]
        if 0 in self.shape or self.size > 100:
            facts.insert(1, f"shape={self.shape}")
        if library != "numpy":
            facts.append(f"backend={library!r}")
        if self._made_by is not None:
            facts.append(f"made by {self._made_by[0].name}")
        elif self.requires_grad:
            facts.append("requires_grad=True")
        return f"Tensor({', '.join(facts)})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, specification: str) -> str:
        return format(self.item() if specification else str(self), specification)

    __hash__ = object.__hash__  # identity, although == compares elements

    # ---- leaving the graph

    def detach(self) -> Tensor:
        """The same data as a Tensor of its own, cut off from the graph. It does not learn of changes
        in place that are announced to the Tensor it came from (`changed_in_place`)."""
        detached = new_tensor(self.data)
        detached._age = self._age
        return detached

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array: on NumPy the array itself, from a GPU a copy."""
        return backend.to_numpy(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not isinstance(self.data, np.ndarray):
            raise BackendError("a Tensor on a GPU is not converted silently: use .numpy()")
        array = np.asarray(self.data, dtype=dtype)
        return array.copy() if copy and array is self.data else array

    def item(self) -> float:
        """The one value as a Python number; ArgumentError where there is not exactly one."""
        if self.size != 1:
            raise ArgumentError(f"item() needs a Tensor of one element, got shape {self.shape}")
        return self.data.item()

    # ---- differentiation

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add ∂(self)/∂(leaf) to the `grad` of every leaf that requires one.

        gradient      the cotangent of this Tensor (its shape); may be left out for a single element
        retain_graph  keep what a second backward through the same graph needs; without it a
                      second one raises GraphError

        Raises ArgumentError where `gradient` is missing or does not fit, and GraphError where there
        is no graph, it was used up, or a Tensor in it was changed in place.
        """
        for leaf, share in mg.engine.walk(self, gradient, None, retain_graph, create_graph=False).items():
            leaf.grad = share.data if leaf.grad is None else mg.add(leaf.grad, share).data

    def changed_in_place(self) -> None:
        """Say that `data` was written to: a graph recorded before then raises, not misleads."""
        self._age = next_age()

    def forget(self) -> None:
        """Let go of the arguments this was computed from; it can no longer be differentiated."""
        if self._made_by is not None:
            self._made_by = (self._made_by[0], None, None, None)

    # ---- operators

    def __add__(self, other: Any) -> Tensor:
        return mg.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return mg.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return mg.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return mg.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return mg.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return mg.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return mg.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return mg.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return mg.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return mg.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return mg.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return mg.matmul(other, self)

    def __neg__(self) -> Tensor:
        return mg.negative(self)

    def __abs__(self) -> Tensor:
        return mg.abs(self)

    # Comparisons have no derivative: they give arrays of booleans, for `where` and for indices.

    def __lt__(self, other: Any) -> Any:
        return self.data < raw(other)

    def __le__(self, other: Any) -> Any:
        return self.data <= raw(other)

    def __gt__(self, other: Any) -> Any:
        return self.data > raw(other)

    def __ge__(self, other: Any) -> Any:
        return self.data >= raw(other)

    def __eq__(self, other: object) -> Any:
        return self.data == raw(other)

    def __ne__(self, other: object) -> Any:
        return self.data != raw(other)

    def __getitem__(self, index: Any) -> Tensor:
        return mg.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GraphError(
            "a Tensor's elements cannot be assigned: earlier results may have been saved for the "
            "derivative. Build a new one with mg.where(condition, a, b) or mg.concatenate, or, "
            "outside any graph, change tensor.data and call tensor.changed_in_place()"
        )

    # ---- methods that are operations: see the functions of the same names

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return mg.transpose(self)

    def to(self, name: str) -> Tensor:
        """This Tensor with its data in the library `name`; gradients come back to this one."""
        return mg.to_backend(self, name)

    def astype(self, dtype: Any) -> Tensor:
        return mg.astype(self, dtype)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return mg.sum(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return mg.mean(self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return mg.min(self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return mg.max(self, axis, keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        return mg.reshape(self, _unpack(shape))

    def transpose(self, *axes: Any) -> Tensor:
        return mg.transpose(self, _unpack(axes) if axes else None)

    def exp(self) -> Tensor:
        return mg.exp(self)

    def log(self) -> Tensor:
        return mg.log(self)

    def sqrt(self) -> Tensor:
        return mg.sqrt(self)

    def abs(self) -> Tensor:
        return mg.abs(self)

    def tanh(self) -> Tensor:
        return mg.tanh(self)

    def sigmoid(self) -> Tensor:
        return mg.sigmoid(self)

    def relu(self) -> Tensor:
        return mg.relu(self)

    def clip(self, low: Any = None, high: Any = None) -> Tensor:
        return mg.clip(self, low, high)


def _unpack(arguments: tuple[Any, ...]) -> Any:
    """`t.reshape(2, 3)` and `t.reshape((2, 3))` mean the same."""
    return arguments[0] if len(arguments) == 1 else arguments


def raw(value: Any) -> Any:
    """A Tensor's array; anything else as it is."""
    return value.data if isinstance(value, Tensor) else value


_new = object.__new__


def new_tensor(data: Any, made_by: tuple[Any, Any, Any, Any] | None = None) -> Tensor:
    """A Tensor around a result, without the constructor's checks."""
    tensor = _new(Tensor)
    tensor.data = data
    tensor.grad = None
    tensor.requires_grad = made_by is not None
    tensor._made_by = made_by
    tensor._age = next_age()
    return tensor
