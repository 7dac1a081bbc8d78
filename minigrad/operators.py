"""What can be written with Tensors: x + y, x @ W, x[i], x.sum(), y.backward(), print(x).

Most of it calls the operation of its name, or the backward pass. Both are built on Tensors, so this file
imports what stands above it. No derivative is found here.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import minigrad.operations as operations  # still loading at this moment, complete when a method runs
from minigrad import backend, other_names
from minigrad.errors import BackendError, GraphError

if TYPE_CHECKING:
    from minigrad.operations.shapes import Axis
    from minigrad.tensor import Tensor


class Operators:
    """The operators and methods of a Tensor, which is the only class built on this one."""

    __slots__ = ()
    data: Any

    # ---- NumPy's functions

    __array_priority__ = 1000  # for what asks neither of the two methods below

    def __array_ufunc__(self, ufunc: Any, method: str, *arguments: Any, **options: Any) -> Any:
        from minigrad.numpy_calls import call_ufunc

        return call_ufunc(ufunc, method, arguments, options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        from minigrad.numpy_calls import call_function

        return call_function(function, arguments, options)

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise GraphError(
                "an array of a Tensor that requires a gradient would lose it: join Tensors with mg.stack or "
                "mg.concatenate, compute with minigrad's operations, or write .numpy() for the array"
            )
        if not isinstance(self.data, np.ndarray):
            raise BackendError("a Tensor on a GPU is not converted silently: use .numpy()")
        array = np.asarray(self.data, dtype=dtype)
        return array.copy() if copy and array is self.data else array

    # ---- differentiation

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add ∂(self)/∂(leaf) to the `grad` of every leaf that requires one.

        gradient      the cotangent of this Tensor (its shape); may be left out for a single element
        retain_graph  keep what a second backward through the same graph needs

        Errors are those of `minigrad.engine.backward`, which it is.
        """
        from minigrad import engine

        engine.backward(cast("Tensor", self), gradient, retain_graph)

    # ---- arithmetic

    # fmt: off
    def __add__(self, other: Any) -> Tensor: return operations.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return operations.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return operations.subtract(self, other)
    def __rsub__(self, other: Any) -> Tensor: return operations.subtract(other, self)
    def __mul__(self, other: Any) -> Tensor: return operations.multiply(self, other)
    def __rmul__(self, other: Any) -> Tensor: return operations.multiply(other, self)
    def __truediv__(self, other: Any) -> Tensor: return operations.divide(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return operations.divide(other, self)
    def __pow__(self, other: Any) -> Tensor: return operations.power(self, other)
    def __rpow__(self, other: Any) -> Tensor: return operations.power(other, self)
    def __matmul__(self, other: Any) -> Tensor: return operations.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return operations.matmul(other, self)
    def __neg__(self) -> Tensor: return operations.negative(self)
    def __abs__(self) -> Tensor: return operations.abs(self)
    def __getitem__(self, index: Any) -> Tensor: return operations.getitem(self, index)
    # fmt: on

    def _in_place(self: Any, other: Any) -> Any:
        if self.requires_grad and self.made_by is None:
            raise GraphError(
                "a leaf that requires a gradient is not changed by +=, -= and their like, which would only "
                "give its name to a new Tensor: write x = x + y for that, and to update it use mg.optim.SGD, "
                "or x.data += y and x.changed_in_place()"
            )
        return NotImplemented  # so Python makes x = x + y of it

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __imatmul__ = __ipow__ = _in_place

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GraphError(
            "a Tensor's elements cannot be assigned: earlier results may have been saved for the "
            "derivative. Build a new one with mg.where(condition, a, b) or mg.concatenate, or, "
            "outside any graph, change tensor.data and call tensor.changed_in_place()"
        )

    # ---- comparisons: they have no derivative, and give arrays of booleans for `where` and for indices

    # fmt: off
    def __lt__(self: Any, other: Any) -> Any: return self.data < raw(other)
    def __le__(self: Any, other: Any) -> Any: return self.data <= raw(other)
    def __gt__(self: Any, other: Any) -> Any: return self.data > raw(other)
    def __ge__(self: Any, other: Any) -> Any: return self.data >= raw(other)
    def __eq__(self: Any, other: object) -> Any: return self.data == raw(other)
    def __ne__(self: Any, other: object) -> Any: return self.data != raw(other)
    # fmt: on

    __hash__ = object.__hash__  # identity, although == compares elements

    # ---- methods that are operations: see the functions of the same names

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return operations.transpose(self)

    def to(self, name: str) -> Tensor:
        """This Tensor with its data in the library `name`; gradients come back to this one."""
        return operations.to_backend(self, name)

    # fmt: off
    def astype(self, dtype: Any) -> Tensor: return operations.astype(self, dtype)
    def reshape(self, *shape: Any) -> Tensor: return operations.reshape(self, _unpack(shape))
    def exp(self) -> Tensor: return operations.exp(self)
    def log(self) -> Tensor: return operations.log(self)
    def sqrt(self) -> Tensor: return operations.sqrt(self)
    def abs(self) -> Tensor: return operations.abs(self)
    def tanh(self) -> Tensor: return operations.tanh(self)
    def sigmoid(self) -> Tensor: return operations.sigmoid(self)
    def relu(self) -> Tensor: return operations.relu(self)
    def clip(self, low: Any = None, high: Any = None) -> Tensor: return operations.clip(self, low, high)
    def transpose(self, *axes: Any) -> Tensor:
        return operations.transpose(self, _unpack(axes) if axes else None)
    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operations.sum(self, axis, keepdims)
    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operations.mean(self, axis, keepdims)
    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operations.min(self, axis, keepdims)
    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operations.max(self, axis, keepdims)
    def var(self, axis: Axis = None, keepdims: bool = False, ddof: float = 0) -> Tensor:
        return operations.var(self, axis, keepdims, ddof)
    def std(self, axis: Axis = None, keepdims: bool = False, ddof: float = 0) -> Tensor:
        return operations.std(self, axis, keepdims, ddof)
    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return operations.prod(self, axis, keepdims)
    def cumsum(self, axis: int | None = None) -> Tensor: return operations.cumsum(self, axis)
    def squeeze(self, axis: Axis = None) -> Tensor: return operations.squeeze(self, axis)
    # fmt: on

    # ---- as Python's own things

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        """Leaves are copied and pickled with what they hold."""
        if self.made_by is not None:
            raise GraphError(
                f"a computed Tensor, here the result of {self.made_by.name}, cannot be copied or pickled, "
                "for its graph cannot: take .detach(), or mg.copy(tensor) for a copy that is recorded"
            )
        held = type(self), self.data, self.requires_grad, self.grad
        return leaf_again, held, (getattr(self, "__dict__", None), _own_slots(self))

    def __repr__(self: Any) -> str:
        library = backend.of(self.data).name
        values = np.array2string(backend.to_numpy(self.data), separator=", ", prefix="Tensor(", threshold=100)
        facts = [values, f"dtype={self.dtype}"]
        if 0 in self.shape or self.size > 100:
            facts.insert(1, f"shape={self.shape}")
        if library != "numpy":
            facts.append(f"backend={library!r}")
        if self.made_by is not None:
            facts.append(f"made by {self.made_by.name}")
        elif self.requires_grad:
            facts.append("requires_grad=True")
        return f"Tensor({', '.join(facts)})"

    def __len__(self: Any) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without dimensions")
        return self.shape[0]

    def __iter__(self: Any) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self: Any) -> bool:
        return bool(self.data)

    def __float__(self: Any) -> float:
        """The one value, for Python and for C: float(t), math.exp(t), array.fill(t). It has no gradient."""
        if self.requires_grad and _assigns_an_element():
            raise GraphError(
                "array[i] = t would lose the gradient of a Tensor that requires one: join Tensors with "
                "mg.stack or mg.concatenate, or write array[i] = t.item() for the number"
            )
        return float(self.item())

    def __int__(self: Any) -> int:
        return int(self.item())

    def __format__(self: Any, specification: str) -> str:
        return format(self.item() if specification else str(self), specification)


# Not by __getattr__: with one, Python looks up every attribute of a Tensor the slow way.
for _name, _advice in other_names.TENSOR.items():
    setattr(Operators, _name, other_names.Elsewhere(_name, _advice))


def raw(value: Any) -> Any:
    """A Tensor's array; anything else as it is."""
    return value.data if isinstance(value, Operators) else value


def _own_slots(tensor: Any) -> dict[str, Any]:
    """What a subclass keeps in slots of its own."""
    from minigrad.tensor import Tensor

    owners = [cls for cls in type(tensor).__mro__ if cls not in Tensor.__mro__]
    slots = [vars(cls).get("__slots__", ()) for cls in owners]
    names = [n for own in slots for n in ((own,) if isinstance(own, str) else own) if n[:2] != "__"]
    return {name: getattr(tensor, name) for name in names if hasattr(tensor, name)}


def leaf_again(cls: type[Tensor], data: Any, requires_grad: bool, gradient: Any) -> Tensor:
    """A leaf that was copied or pickled. Ages are those of this process."""
    from minigrad.tensor import Tensor

    tensor = cls.__new__(cls)
    Tensor.__init__(tensor, data, requires_grad)
    tensor.grad = gradient
    return tensor


def _assigns_an_element() -> bool:
    """Whether the statement that asks for a number is array[i] = t. NumPy calls __float__ there and nothing
    that names the assignment, so the caller's bytecode is read. (The frames are those of __float__ and of
    that statement.) NumPy raises a ValueError then, with our error as its cause."""
    frame = sys._getframe(2)
    return frame.f_code.co_code[frame.f_lasti] == _STORE_SUBSCR


_STORE_SUBSCR = opcode.opmap["STORE_SUBSCR"]


def _unpack(arguments: tuple[Any, ...]) -> Any:
    """`t.reshape(2, 3)` and `t.reshape((2, 3))` mean the same."""
    return arguments[0] if len(arguments) == 1 else arguments


# Python's own errors call a method by the name that users know.
for _name, _method in list(vars(Operators).items()):
    if isinstance(_method, FunctionType):
        _method.__qualname__ = f"Tensor.{_name}"
