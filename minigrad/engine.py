"""Reverse-mode automatic differentiation: the Tensor, the Primitive, the graph and the walk.

How it works, in one page
-------------------------
A *primitive* is a function on plain arrays that comes with its own derivative. When one is called
on Tensors, it computes at once, and the result remembers how it was made: a *node* with the
primitive and its arguments. Nodes point to the Tensors they were made from, those to their nodes,
and so on: the graph is a by-product of computing.

For a scalar cost J and any intermediate result y, call ∂J/∂y the *cotangent* of y; it has y's
shape. If y = f(x, …), the chain rule turns the cotangent g of y into x's share of its own:

    g  ↦  (∂y/∂x)ᵀ g            the *vector-Jacobian product* (VJP) of f in x

No Jacobian is ever formed: each primitive has one short rule per argument that computes the
product. Reverse mode starts with ∂J/∂J = 1 and visits the nodes from the youngest to the oldest.
A node is always younger than what it was made from, so when its turn comes every node that used
its result has already been visited and its cotangent is complete: the sum of the shares, one for
each use. That visit is `_walk` below; everything else in this file is bookkeeping around it.

Rules are written in the operations they differentiate, on Tensors. By default nothing is recorded
while they run, so they cost what their array arithmetic costs. With create_graph=True they are
recorded as any other computation is, and their results can be differentiated again.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ContextDecorator
from typing import Any, Concatenate, Generic, ParamSpec

import numpy as np

from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError, NonFiniteError

P = ParamSpec("P")
Rule = Callable[..., Any]

_ages = itertools.count(1)


class _Thread(threading.local):
    recording = True
    detecting_nonfinite = False

    def __init__(self) -> None:  # runs once in every thread
        self.previous: list[bool] = []


_thread = _Thread()


class _Setting(ContextDecorator):
    """Set one attribute of this thread's state for a `with` block or for a decorated function."""

    def __init__(self, attribute: str, value: bool) -> None:
        self._attribute, self._value = attribute, value

    def __enter__(self) -> None:
        _thread.previous.append(getattr(_thread, self._attribute))
        setattr(_thread, self._attribute, self._value)

    def __exit__(self, *exception: object) -> None:
        setattr(_thread, self._attribute, _thread.previous.pop())


def no_grad() -> _Setting:
    """Record nothing inside: `with mg.no_grad(): …`, or `@mg.no_grad()` on a function.

    Per thread, and may be nested.
    """
    return _Setting("recording", False)


def enable_grad() -> _Setting:
    """Record inside, even within `no_grad()`. Used as `no_grad` is."""
    return _Setting("recording", True)


def detect_nonfinite() -> _Setting:
    """Raise NonFiniteError where the first NaN or infinity appears, naming the operation.

    Every result is inspected, which is slow and makes a GPU wait: for hunting a NaN, not for work.
    Used as `no_grad` is.
    """
    return _Setting("detecting_nonfinite", True)


class Node:
    """How a Tensor was made: primitive(*arguments, **options) = output.

    `edges` are the (position, Tensor) pairs of the arguments whose gradient may be asked for.
    """

    __slots__ = ("primitive", "arguments", "options", "output", "edges", "age")

    def __init__(
        self,
        primitive: Any,
        arguments: tuple[Any, ...],
        options: dict[str, Any],
        output: Any,
        edges: list[tuple[int, Tensor]],
    ) -> None:
        self.primitive = primitive
        self.arguments = arguments
        self.options = options
        self.output = output
        self.edges = edges
        self.age = next(_ages)

    def free(self) -> None:
        """Let go of everything that only a derivative needs; `output` None marks it as gone."""
        self.arguments = self.options = self.output = None  # type: ignore[assignment]
        self.edges = []


class Primitive(Generic[P]):
    """A forward function on raw arrays, and one vector-Jacobian product per array argument.

    `forward(xp, *arrays, **options)` gets the array library and the arrays themselves: arguments
    that have a derivative come first, settings such as an axis after them. A VJP is called as
    `rule(g, y, *arguments, **options)`, with the cotangent g of the result, the result y and the
    arguments as Tensors, and is written in minigrad's own operations. It may return its share in
    the shape of the result where an argument was broadcast, and in another float dtype: the walk
    reduces it to the argument's. A rule of None says that there is no derivative in that argument.

        @primitive
        def multiply(xp, x, y):
            return x * y

        multiply.set_vjps(
            lambda g, z, x, y: g * y,  # ∂z/∂x = y
            lambda g, z, x, y: g * x,  # ∂z/∂y = x
        )

    Called with Tensors, arrays and numbers in any mixture it returns a Tensor.
    """

    def __init__(self, forward: Callable[Concatenate[Any, P], Any], real: bool = True) -> None:
        code = forward.__code__
        self.forward = forward
        self.real = real  # whether arguments must be floating-point
        self.name = forward.__name__.strip("_")
        self.vjps: Sequence[Rule | None] = ()
        self._names = code.co_varnames[1 : code.co_argcount]
        values = forward.__defaults__ or ()
        self._defaults = dict(zip(self._names[len(self._names) - len(values) :], values, strict=True))
        self._variadic = False
        self._complete_call = -1  # so many arguments, and no options, are a complete call
        self.__name__, self.__doc__ = forward.__name__, forward.__doc__
        self.__module__, self.__qualname__ = forward.__module__, forward.__qualname__
        self.__wrapped__ = forward

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def set_vjps(self, *vjps: Rule | None) -> None:
        """One rule per array argument, in order; None where there is no derivative."""
        self.vjps = vjps
        self._complete_call = len(vjps) if len(vjps) == len(self._names) else -1

    def set_vjp_of_each(self, rule_at: Callable[[int], Rule]) -> None:
        """For a forward that takes any number of arrays: `rule_at(position)` is a position's rule.

        Options of such a primitive are given by keyword.
        """
        self.vjps = _EachPosition(rule_at)
        self._variadic = True

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> Tensor:
        if (options or len(arguments) != self._complete_call) and not self._variadic:
            arguments, options = self._bind(arguments, options)  # type: ignore[assignment]
        arrays: list[Any] = []
        edges: list[tuple[int, Tensor]] = []
        dtype: Any = None
        array_type: Any = None
        plain = True  # every operand is a number, or an array of one type and dtype
        for position, argument in enumerate(arguments):
            if isinstance(argument, Tensor):
                array = argument.data
                if argument.requires_grad:
                    edges.append((position, argument))
            else:
                array = argument
            arrays.append(array)
            kind = type(array)
            if kind is float or kind is int:
                continue
            if array_type is None:
                array_type, dtype = kind, getattr(array, "dtype", None)
            elif kind is not array_type or array.dtype is not dtype:
                plain = False
        if plain and array_type is np.ndarray and (dtype.kind == "f" or not self.real):
            xp: Any = np
        else:
            xp = self._reconcile(arrays)
        output: Any = self.forward(xp, *arrays, **options)
        if type(output) is not np.ndarray:
            output = xp.asarray(output)  # NumPy gives a scalar where there are no dimensions
        if _thread.detecting_nonfinite:
            _raise_if_nonfinite(self.name, xp, output)
        if edges and _thread.recording:
            return self._record(arguments, options, arrays, output, edges)
        return _tensor(output, None)

    def _record(self, arguments: Any, options: Any, arrays: list[Any], output: Any, edges: Any) -> Tensor:
        vjps = self.vjps
        for position, _ in edges:
            if vjps[position] is None:
                edges = [edge for edge in edges if vjps[edge[0]] is not None]
                break
        if not edges:
            return _tensor(output, None)
        if len(edges) < len(arguments):  # keep what was not a Tensor in its converted form
            arguments = tuple(
                argument if isinstance(argument, Tensor) else array
                for argument, array in zip(arguments, arrays, strict=True)
            )
        return _tensor(output, Node(self, arguments, options, output, edges))

    def _bind(self, arguments: Any, options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort a call into (array arguments, all options) by the forward's signature."""
        names, arity = self._names, len(self.vjps)
        if len(arguments) == len(names) and not options:
            return arguments[:arity], dict(zip(names[arity:], arguments[arity:], strict=True))
        given = {**self._defaults, **options}
        for name, argument in zip(names, arguments, strict=False):
            given[name] = argument
        unknown = [name for name in options if name not in names[len(arguments) :]]
        missing = [name for name in names if name not in given]
        if unknown or missing or len(arguments) > len(names):
            problem = f"missing {missing[0]!r}" if missing else "too many or unknown arguments"
            raise ArgumentTypeError(
                f"{self.name}({', '.join(names)}): {problem}; got {len(arguments)} by position "
                f"and {sorted(options)} by name"
            )
        return tuple(given[n] for n in names[:arity]), {n: given[n] for n in names[arity:]}

    def _reconcile(self, arrays: list[Any]) -> Any:
        """Bring the operands of one call together, in place; returns their array library.

        Numbers, lists of numbers and arrays without dimensions take the dtype of the operands that
        have dimensions: none of them turns float32 into float64. Arrays of two libraries, and
        integers where a real number is needed, raise.
        """
        library = None
        for position, array in enumerate(arrays):
            own = backend.find(array)
            if own is None:
                arrays[position] = self._number_or_list(position, array)
            elif library is not None and own is not library:
                raise BackendError(
                    f"{self.name}: a {library.name} array meets a {own.name} array; "
                    f'move one with .to("{library.name}") or .to("{own.name}")'
                )
            else:
                library = own
                if self.real and self.vjps[position] is not None and array.dtype.kind != "f":
                    raise ArgumentTypeError(
                        f"{self.name}: argument {position + 1} must be real (floating point), got "
                        f"dtype {array.dtype}; convert it with .astype(numpy.float32)"
                    )
        no_array = library is None
        library = library or backend.current()
        dtype = _common_dtype(arrays)
        for position, array in enumerate(arrays):
            conditional = self.vjps[position] is None
            if isinstance(array, list) or (isinstance(array, (int, float)) and (no_array or conditional)):
                own_dtype = None if conditional else dtype or (np.float64 if self.real else None)
                arrays[position] = library.asarray(array, own_dtype)
            elif dtype is None or conditional or isinstance(array, (int, float)):
                continue
            elif array.ndim == 0 and array.dtype != dtype:
                arrays[position] = array.astype(dtype)
        return library.xp

    def _number_or_list(self, position: int, operand: Any) -> Any:
        if isinstance(operand, np.generic):
            operand = operand.item()
        if isinstance(operand, (int, float)):
            return operand + 0  # True is 1
        if isinstance(operand, (list, tuple)) and np.asarray(operand).dtype.kind in "biuf":
            return list(operand)
        raise ArgumentTypeError(
            f"{self.name}: argument {position + 1} must be a Tensor, an array or a real number, "
            f"got {type(operand).__name__}"
        )


def primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """Make a forward function on real arrays a Primitive; its VJPs are set next to it."""
    return Primitive(forward)


def structural_primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """The same for one that only moves elements about, and so takes any dtype."""
    return Primitive(forward, real=False)


def _common_dtype(arrays: list[Any]) -> Any:
    """The float dtype of the operands that have dimensions; where there is none, of the others."""
    for with_dimensions in (True, False):
        dtypes = [
            array.dtype
            for array in arrays
            if not isinstance(array, (int, float, list))
            and array.dtype.kind == "f"
            and (array.ndim > 0) == with_dimensions
        ]
        if dtypes:
            return np.result_type(*dtypes)
    return None


class _EachPosition(Sequence[Rule]):
    """The rules of a primitive that takes any number of arrays."""

    def __init__(self, rule_at: Callable[[int], Rule]) -> None:
        self._rule_at = rule_at

    def __getitem__(self, position: Any) -> Any:
        return self._rule_at(position)

    def __len__(self) -> int:
        raise TypeError("as many rules as there are arguments")


def _raise_if_nonfinite(where: str, xp: Any, array: Any) -> None:
    if array.dtype.kind == "f" and not bool(xp.isfinite(array).all()):
        raise NonFiniteError(f"{where} made a NaN or an infinity (result of shape {array.shape})")


class Tensor:
    """An array that remembers how it was computed.

    data           the array itself, of NumPy or CuPy; shared with the caller where one was given
    requires_grad  whether gradients with respect to it may be asked for
    grad           where `backward()` leaves ∂(output)/∂(this): an array of the same library, shape
                   and dtype, or None. Only leaves (Tensors that no operation made) have one.

    Data that is no array is made into one as NumPy makes it (so Python floats become float64), in
    the library that `minigrad.backend` has chosen. ArgumentTypeError where requires_grad is asked
    for anything but floating-point data.
    """

    __slots__ = ("data", "grad", "requires_grad", "_node", "_changed", "__weakref__")
    __array_ufunc__ = None  # so that `array + tensor` is left to Tensor.__radd__
    __array_priority__ = 1000

    data: Any
    grad: Any
    requires_grad: bool
    _node: Node | None
    _changed: int  # the age at which the data was last written in place

    def __init__(self, data: Any, requires_grad: bool = False, *, dtype: Any = None) -> None:
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
        self._node = None
        self._changed = 0

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
        return self._node is None

    def __repr__(self) -> str:
        library = backend.of(self.data).name
        values = np.array2string(backend.to_numpy(self.data), separator=", ", prefix="Tensor(", threshold=100)
        facts = [values, f"dtype={self.dtype}"]
        if 0 in self.shape or self.size > 100:
            facts.insert(1, f"shape={self.shape}")
        if library != "numpy":
            facts.append(f"backend={library!r}")
        if self._node is not None:
            facts.append(f"made by {self._node.primitive.name}")
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

    __hash__ = object.__hash__  # identity, although == compares elements

    # ---- leaving the graph

    def detach(self) -> Tensor:
        """The same data as a Tensor of its own, cut off from the graph."""
        return _tensor(self.data, None)

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
        """
        for leaf, share in _walk(self, gradient, None, retain_graph, create_graph=False).items():
            leaf.grad = share.data if leaf.grad is None else operations.add(leaf.grad, share).data

    def changed_in_place(self) -> None:
        """Say that `data` was written to: a graph recorded before then raises, not misleads."""
        self._changed = next(_ages)

    # ---- operators; the operations live in minigrad.operations

    def __add__(self, other: Any) -> Tensor:
        return operations.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return operations.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return operations.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return operations.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return operations.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return operations.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return operations.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return operations.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return operations.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return operations.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return operations.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return operations.matmul(other, self)

    def __neg__(self) -> Tensor:
        return operations.negative(self)

    def __abs__(self) -> Tensor:
        return operations.abs(self)

    # Comparisons have no derivative: they give arrays of booleans, for `where` and for indices.

    def __lt__(self, other: Any) -> Any:
        return self.data < _data(other)

    def __le__(self, other: Any) -> Any:
        return self.data <= _data(other)

    def __gt__(self, other: Any) -> Any:
        return self.data > _data(other)

    def __ge__(self, other: Any) -> Any:
        return self.data >= _data(other)

    def __eq__(self, other: object) -> Any:
        return self.data == _data(other)

    def __ne__(self, other: object) -> Any:
        return self.data != _data(other)

    def __getitem__(self, index: Any) -> Tensor:
        return operations.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GraphError(
            "a Tensor's elements cannot be assigned: earlier results may have been saved for the "
            "derivative. Build a new one with mg.where(condition, a, b) or mg.concatenate, or, "
            "outside any graph, change tensor.data"
        )

    # ---- methods that are operations

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return operations.transpose(self)

    def to(self, name: str) -> Tensor:
        """This Tensor with its data in the library `name`; gradients come back to this one."""
        return operations.to_backend(self, name)

    def astype(self, dtype: Any) -> Tensor:
        return operations.astype(self, dtype)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operations.sum(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operations.mean(self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operations.max(self, axis, keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        return operations.reshape(self, _unpack(shape))

    def transpose(self, *axes: Any) -> Tensor:
        return operations.transpose(self, _unpack(axes) if axes else None)

    def exp(self) -> Tensor:
        return operations.exp(self)

    def log(self) -> Tensor:
        return operations.log(self)

    def sqrt(self) -> Tensor:
        return operations.sqrt(self)

    def abs(self) -> Tensor:
        return operations.abs(self)

    def tanh(self) -> Tensor:
        return operations.tanh(self)

    def sigmoid(self) -> Tensor:
        return operations.sigmoid(self)

    def relu(self) -> Tensor:
        return operations.relu(self)

    def clip(self, low: Any = None, high: Any = None) -> Tensor:
        return operations.clip(self, low, high)


def _unpack(arguments: tuple[Any, ...]) -> Any:
    """`t.reshape(2, 3)` and `t.reshape((2, 3))` mean the same."""
    return arguments[0] if len(arguments) == 1 else arguments


def _data(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _tensor(data: Any, node: Node | None) -> Tensor:
    """A Tensor around a result, without the constructor's checks."""
    tensor = Tensor.__new__(Tensor)
    tensor.data = data
    tensor.grad = None
    tensor.requires_grad = node is not None
    tensor._node = node
    tensor._changed = 0
    return tensor


def grad(
    output: Tensor,
    inputs: Tensor | Iterable[Tensor],
    *,
    gradient: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """(∂output/∂input for each input), as Tensors; no `.grad` is read or written.

    output        the Tensor to differentiate
    inputs        one Tensor or several, leaves or intermediate results; only what leads to them is
                  computed. One that `output` does not depend on has gradient zero.
    gradient      the cotangent of output, of its shape; may be left out for a single element
    retain_graph  keep what a second pass through the same graph needs (always so with create_graph)
    create_graph  record the gradients, so that they can be differentiated in turn

    Raises ArgumentError where an input does not require a gradient or `gradient` does not fit, and
    GraphError where output was computed without recording, its graph was already used up, or a
    Tensor in it has been written to since.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for position, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"inputs[{position}] must be a Tensor, got {type(tensor).__name__}")
        if not tensor.requires_grad:
            raise ArgumentError(
                f"inputs[{position}] does not require a gradient: make it with "
                "Tensor(data, requires_grad=True) before computing output from it"
            )
    shares = _walk(output, gradient, inputs, retain_graph or create_graph, create_graph)
    results: list[Tensor] = []
    for tensor in inputs:
        share = shares.get(tensor._node or tensor)
        if share is None:
            share = _tensor(backend.of(tensor.data).xp.zeros_like(tensor.data), None)
        elif any(share is earlier for earlier in results):  # one input, given twice
            share = operations.copy(share)
        # A gradient that happens to be constant can be differentiated too: its derivative is zero.
        share.requires_grad = create_graph
        results.append(share)
    return tuple(results)


def grad_and_remainder(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(∂output/∂x, remainder): one backward pass, cut in two where the input gradient is needed.

    The remainder is a scalar Tensor with output's value and with output's derivative in everything
    but x. Differentiating it later costs only what this call has not done: the cotangents of the
    results between output and x are known now, so what is left is the last product to each
    Tensor beside that way. For a network's cost J and its input x these are the weight gradients:
    ∇ₓJ now and the weights' gradients later cost no more than one pass for both.
    """
    on_the_way: dict[Node, Tensor] = {}
    found = _walk(output, None, (x,), True, create_graph=False, visited=on_the_way)
    gradient = found.get(x._node or x)
    if gradient is None:
        return _tensor(backend.of(x.data).xp.zeros_like(x.data), None), output
    done = {x._node or x, *on_the_way}
    stops = []
    cotangents = []
    for node, g in on_the_way.items():
        beside = [edge for edge in node.edges if (edge[1]._node or edge[1]) not in done]
        if beside and node is not x._node:
            stop = Node(node.primitive, node.arguments, node.options, node.output, beside)
            stops.append(_tensor(node.output, stop))
            cotangents.append(g)
    if not stops:
        return gradient, output.detach()
    return gradient, _tensor(output.data, _RemainderNode(output, stops, cotangents))


class _RemainderNode(Node):
    """Hands each stop on the way from `whole` to x the cotangent that is already known for it."""

    __slots__ = ("whole",)

    def __init__(self, whole: Tensor, stops: list[Tensor], cotangents: list[Tensor]) -> None:
        self.whole: Tensor | None = whole
        super().__init__(_Remainder(cotangents), tuple(stops), {}, whole.data, list(enumerate(stops)))

    def restore(self) -> None:
        """Stand for the whole graph again: what is known are numbers, with no graph of their own."""
        if self.whole is not None:
            self.primitive, self.arguments = operations.copy, (self.whole,)
            self.edges = [(0, self.whole)]
            self.whole = None

    def free(self) -> None:
        super().free()
        self.whole = None


class _Remainder:
    name = "remainder"

    def __init__(self, cotangents: list[Tensor]) -> None:
        self.vjps = [lambda g, *_, known=known: known * g for known in cotangents]


def _walk(
    output: Tensor,
    gradient: Any,
    inputs: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool,
    visited: dict[Node, Tensor] | None = None,
) -> dict[Any, Tensor]:
    """The backward pass: the cotangents of `inputs` (of every leaf where None) under `gradient`.

    Cotangents are kept under the node that made a Tensor, or under the Tensor itself for a leaf;
    that key is called its source. `visited`, where given, collects every node's cotangent.
    """
    seed = _seed(output, gradient)
    cotangents: dict[Any, Tensor] = {output._node or output: seed}
    order = _youngest_first(output, create_graph)
    asked = wanted = None
    if inputs is not None:
        asked = {tensor._node or tensor for tensor in inputs}
        wanted = _leading_to(asked, order)
    owned: set[Any] = set()  # sources whose cotangent is a buffer that only this pass can see
    found: dict[Any, Tensor] = {}
    with _Setting("recording", create_graph):
        for node in order:
            if wanted is not None and node not in wanted:
                continue
            g = cotangents.pop(node, None)
            if g is None:
                continue
            if asked is not None and node in asked:
                found[node] = g if node in owned else operations.copy(g)
            if visited is not None:
                visited[node] = g
            y = _tensor(node.output, node if create_graph else None)
            for position, tensor in node.edges:
                source = tensor._node or tensor
                if wanted is not None and source not in wanted:
                    continue
                share = _share(node, position, tensor, g, y)
                earlier = cotangents.get(source)
                if earlier is None:
                    cotangents[source] = share
                    if share.data.base is None and share.data is not g.data and not create_graph:
                        owned.add(source)
                elif source in owned:
                    earlier.data += share.data
                else:
                    cotangents[source] = earlier + share
                    if not create_graph:
                        owned.add(source)
            if not retain_graph:
                node.free()
        for source, g in cotangents.items():
            if isinstance(source, Tensor) and (asked is None or source in asked):
                found[source] = g if source in owned else operations.copy(g)
    return found


def _share(node: Node, position: int, tensor: Tensor, g: Tensor, y: Tensor) -> Tensor:
    """What one use of `tensor`, as an argument of `node`, adds to its cotangent."""
    if tensor._changed > node.age:
        raise GraphError(
            f"an argument of {node.primitive.name} was changed in place after it was used (by an "
            "optimiser step, say): compute the output anew before differentiating it"
        )
    try:
        share = node.primitive.vjps[position](g, y, *node.arguments, **node.options)
    except NonFiniteError as error:
        raise NonFiniteError(f"in the derivative of {node.primitive.name}: {error}") from error
    if share.data.shape != tensor.data.shape:
        share = operations.unbroadcast(share, tensor.data.shape)
    if share.data.dtype != tensor.data.dtype:
        share = operations.astype(share, tensor.data.dtype)
    return share


def _seed(output: Tensor, gradient: Any) -> Tensor:
    """The cotangent that a backward pass starts from."""
    if not isinstance(output, Tensor):
        raise ArgumentTypeError(f"output must be a Tensor, got {type(output).__name__}")
    if not output.requires_grad:
        raise GraphError(
            "output has no graph: nothing that it was computed from requires a gradient, or it was "
            "computed inside no_grad()"
        )
    library = backend.of(output.data)
    if gradient is None:
        if output.data.size != 1:
            raise ArgumentError(
                f"gradient must be given for an output of several elements, here of shape {output.shape}"
            )
        return _tensor(library.xp.ones_like(output.data), None)
    seed = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if seed.shape != output.shape:
        raise ArgumentError(f"gradient must have output's shape {output.shape}, got {seed.shape}")
    if backend.of(seed.data) is not library:
        raise BackendError(f"gradient must be a {library.name} array, as output is")
    if seed.dtype.kind not in "fiu":
        raise ArgumentTypeError(f"gradient must be real, got dtype {seed.dtype}")
    return seed if seed.dtype == output.dtype else operations.astype(seed, output.dtype)


def _youngest_first(output: Tensor, create_graph: bool) -> list[Node]:
    """Every node that output was computed from, found without recursion and ordered by age."""
    if output._node is None:
        return []
    seen = {output._node}
    stack = [output._node]
    while stack:
        node = stack.pop()
        if node.output is None:
            raise GraphError(
                "this graph was differentiated before, and what that needs was freed: pass "
                "retain_graph=True to the first backward() or grad()"
            )
        if create_graph and isinstance(node, _RemainderNode):
            node.restore()
        for _, tensor in node.edges:
            maker = tensor._node
            if maker is not None and maker not in seen:
                seen.add(maker)
                stack.append(maker)
    return sorted(seen, key=_age, reverse=True)


def _age(node: Node) -> int:
    return node.age


def _leading_to(asked: set[Any], order: list[Node]) -> set[Any]:
    """The sources from which some asked-for source is reached: those, and the nodes above them."""
    leading = set(asked)
    for node in reversed(order):
        for _, tensor in node.edges:
            if (tensor._node or tensor) in leading:
                leading.add(node)
                break
    return leading


from minigrad import operations  # noqa: E402  (operations needs the names above)
