"""A computation written down as the array calls that it makes, so that they can be made again.

This is how a tracing compiler begins. While a function runs over `Recorded` arrays, each call on them is made,
and written down with the memory that it reads and the memory of its result. To replay is to make the calls
again, on that memory: no graph, no new arrays, no Python beside the loop.

What keeps it small: recorded arrays present themselves as a library of their own, as CuPy's are. So the engine
runs the forms that never look at values, and there is no branch that could have gone another way. Three kinds
of calls are not written down: views, which look at memory that stays; what is computed from constants alone,
which is the same every time; and fresh memory. An array that was made outside, of which nobody knows what it
will be next time, is refused.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from minigrad.backend import Backend, register
from minigrad.errors import BackendError

Call = Callable[[], Any]
_current: ContextVar[Tape] = ContextVar("tape")  # that is being recorded


class Memory:
    """What several views share: whether it holds something else at every replay."""

    __slots__ = ("fresh", "varies")

    def __init__(self, varies: bool = False, fresh: bool = False) -> None:
        self.varies, self.fresh = varies, fresh


class Tape:
    """The calls of one recording."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.generators: list[np.random.Generator] = []  # which it draws from

    def replay(self) -> None:
        for call in self.calls:
            call()

    def __enter__(self) -> Tape:
        """From here on, constants that this thread makes are of this tape."""
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _current.reset(self._token)

    def variable(self, host: np.ndarray) -> Recorded:
        """An array whose memory is written to between replays: a batch, a Parameter, a setting."""
        return Recorded(self, host, Memory(varies=True))

    def constant(self, host: Any) -> Recorded:
        return Recorded(self, np.asarray(host), Memory())

    def computed(self, function: Callable[..., Any], *operands: Any, **options: Any) -> Any:
        """function(*operands, **options): made now, and at every replay into the memory of this result."""
        hosts = [host_of(operand) for operand in operands]
        result = function(*hosts, **options)
        if isinstance(result, (tuple, list)):
            raise BackendError(f"{_name(function)} returns several arrays, which is not recorded")
        array = np.asarray(result)
        varies = any(map(_varies, operands))
        if varies:
            self.calls.append(_into(array, function, hosts, options))
        return Recorded(self, array, Memory(varies))

    def drawn(self, draw: Callable[..., Any], generator: np.random.Generator, x: Recorded, *settings: Any) -> Any:
        """draw(generator, x, *settings), which looks at x's shape and dtype alone: anew at every replay."""
        if generator not in self.generators:
            self.generators.append(generator)
        array = draw(generator, x.host, *settings)
        self.calls.append(partial(_copied, array, draw, [generator, x.host, *settings], {}))
        return Recorded(self, array, Memory(varies=True))

    def view(self, of: Recorded, host: np.ndarray) -> Recorded:
        return Recorded(self, host, of.memory)

    def write(self, target: Recorded, call: Call, operands: Any, whole: bool = False) -> None:
        """call(), which writes into target's memory; at every replay if something in it varies. `whole`: it
        writes all of the target, and reads nothing of it."""
        memory = target.memory
        varies = any(map(_varies, operands)) or (memory.varies and not whole)
        if varies and not memory.varies:
            owner = target.host if target.host.base is None else target.host.base
            if not memory.fresh and isinstance(owner, np.ndarray):
                self.calls.append(partial(np.copyto, owner, owner.copy()))  # as it is before the first write
            memory.varies = True
        call()
        if memory.varies:
            self.calls.append(call)


def _into(array: np.ndarray, function: Callable[..., Any], hosts: list[Any], options: dict[str, Any]) -> Call:
    """The call that makes a result once more, in its memory."""
    if function is np.matmul and all(getattr(h, "ndim", 0) == 2 for h in hosts):
        return partial(np.dot, *hosts, out=array)  # the same product, by the shorter way
    if isinstance(function, np.ufunc) or function in TAKE_OUT:
        return partial(function, *hosts, out=array, **options)
    return partial(_copied, array, function, hosts, options)


def _copied(array: np.ndarray, function: Callable[..., Any], hosts: list[Any], options: dict[str, Any]) -> None:
    np.copyto(array, function(*hosts, **options))


TAKE_OUT = {np.add.reduce, np.multiply.reduce, np.maximum.reduce, np.minimum.reduce, np.concatenate, np.stack,
            np.clip, np.cumsum, np.einsum, np.take}  # fmt: skip


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _varies(operand: Any) -> bool:
    if isinstance(operand, (list, tuple)):
        return any(map(_varies, operand))
    return isinstance(operand, Recorded) and operand.memory.varies


def host_of(operand: Any) -> Any:
    """What NumPy computes with. BackendError for an array that was made outside of the recording."""
    if isinstance(operand, Recorded):
        return operand.host
    if isinstance(operand, (list, tuple)):
        return type(operand)(map(host_of, operand))
    if isinstance(operand, np.ndarray) and operand.size > 1:
        raise BackendError(
            f"an array of shape {operand.shape} was made outside of the step that is recorded: it would be the "
            "same at every replay. Give it to the step as an argument"
        )
    return operand


class Recorded:
    """An array of a step that is being recorded. Nobody may look at its values: a branch on them would be
    taken the same way at every replay."""

    __slots__ = ("tape", "host", "memory", "__weakref__")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tape: Tape, host: np.ndarray, memory: Memory) -> None:
        self.tape, self.host, self.memory = tape, host, memory

    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    dtype = property(lambda self: self.host.dtype)
    strides = property(lambda self: self.host.strides)
    flags = property(lambda self: self.host.flags)
    base = property(lambda self: self.host.base)
    nbytes = property(lambda self: self.host.nbytes)
    T = property(lambda self: self.tape.view(self, self.host.T))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options.get("out") is not None:
            return NotImplemented
        return self.tape.computed(ufunc, *inputs, **options)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise BackendError("the step looks at the values of an array")

    def _look(self, *_: Any) -> Any:
        raise BackendError("the step looks at the values of an array, and what it does may depend on them")

    item = tolist = __bool__ = __int__ = __float__ = __index__ = _look

    def __len__(self) -> int:
        return len(self.host)

    # ---- the same elements

    def _moved(self, host: np.ndarray, again: Callable[[Any], Any]) -> Recorded:
        """A view; where NumPy had to copy, that copy, made again at every replay."""
        if np.may_share_memory(host, self.host):
            return self.tape.view(self, host)
        return self.tape.computed(again, self)

    def reshape(self, *shape: Any) -> Recorded:
        return self._moved(self.host.reshape(*shape), lambda host: host.reshape(*shape))

    def ravel(self) -> Recorded:
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> Recorded:
        return self.tape.view(self, self.host.transpose(*axes))

    def squeeze(self, axis: Any = None) -> Recorded:
        return self.tape.view(self, self.host.squeeze(axis))

    def view(self, dtype: Any) -> Recorded:
        return self.tape.view(self, self.host.view(dtype))

    def copy(self, order: Any = "C") -> Recorded:
        return self.tape.computed(partial(np.array, order=order), self)

    def astype(self, dtype: Any, copy: bool = True) -> Recorded:
        if not copy and self.dtype == dtype:
            return self
        return self.tape.computed(lambda host: host.astype(dtype), self)

    def __getitem__(self, index: Any) -> Recorded:
        index = host_of(index) if not isinstance(index, tuple) else tuple(map(host_of, index))
        host = np.asarray(self.host[index])
        if np.may_share_memory(host, self.host):
            return self.tape.view(self, host)
        return self.tape.computed(lambda host: host[index], self)

    def __setitem__(self, index: Any, value: Any) -> None:
        hosts = tuple(map(host_of, index)) if isinstance(index, tuple) else host_of(index)
        call = partial(operator.setitem, self.host, hosts, host_of(value))
        self.tape.write(self, call, (index, value))

    # ---- sums and their like

    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Recorded:
        return self._reduced(np.add.reduce, axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Recorded:
        total = self.sum(axis, dtype, keepdims)
        total /= self.size // max(total.size, 1)
        return total

    def max(self, axis: Any = None, keepdims: bool = False, **initial: Any) -> Recorded:
        return self._reduced(np.maximum.reduce, axis, keepdims=keepdims, **initial)

    def min(self, axis: Any = None, keepdims: bool = False, **initial: Any) -> Recorded:
        return self._reduced(np.minimum.reduce, axis, keepdims=keepdims, **initial)

    def argmax(self, axis: Any = None) -> Recorded:
        return self.tape.computed(np.argmax, self, axis=axis)

    def any(self, axis: Any = None, keepdims: bool = False) -> Recorded:
        return self.tape.computed(np.any, self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Recorded:
        return self.tape.computed(np.all, self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None) -> Recorded:
        return self.tape.computed(np.cumsum, self, axis=axis, dtype=dtype)

    def _reduced(self, function: Any, axis: Any, **options: Any) -> Recorded:
        return self.tape.computed(function, self, axis=axis, **options)


OPERATORS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
             "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}  # fmt: skip
COMPARISONS = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
               "ne": np.not_equal}  # fmt: skip


def _define(name: str, ufunc: np.ufunc) -> None:
    def forward(self: Recorded, other: Any) -> Any:
        if not isinstance(other, (Recorded, np.ndarray, np.generic, int, float)):
            return NotImplemented
        return self.tape.computed(ufunc, self, other)

    def reflected(self: Recorded, other: Any) -> Any:
        return self.tape.computed(ufunc, other, self)

    def in_place(self: Recorded, other: Any) -> Recorded:
        self.tape.write(self, partial(ufunc, self.host, host_of(other), out=self.host), (self, other))
        return self

    setattr(Recorded, f"__{name}__", forward)
    if name in OPERATORS:
        setattr(Recorded, f"__r{name}__", reflected)
        setattr(Recorded, f"__i{name}__", in_place)


for _operator, _ufunc in {**OPERATORS, **COMPARISONS}.items():
    _define(_operator, _ufunc)
for _operator, _ufunc in {"neg": np.negative, "invert": np.invert, "abs": np.absolute}.items():
    setattr(Recorded, f"__{_operator}__", lambda self, ufunc=_ufunc: self.tape.computed(ufunc, self))


class Library(types.ModuleType):
    """NumPy's functions under their names, on recorded arrays."""

    ndarray = Recorded
    JOINS = ("concatenate", "stack")
    MADE = ("zeros", "ones", "full", "arange")
    LIKE = ("zeros_like", "ones_like")

    @property
    def _tape(self) -> Tape:
        return _current.get()

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function
        if name in self.MADE:
            return lambda *shape, **options: self._tape.constant(function(*shape, **options))
        if name in self.LIKE:
            return lambda x, *shape, **options: self._tape.constant(function(x.host, *shape, **options))

        def call(*arguments: Any, **options: Any) -> Any:
            out = options.pop("out", None)
            if out is None:
                return self._tape.computed(function, *arguments, **options)
            hosts = [host_of(argument) for argument in arguments]
            written = partial(function, *hosts, out=out.host, **options)
            self._tape.write(out, written, arguments, whole=all(a is not out for a in arguments))
            return out

        return call

    def empty(self, shape: Any, dtype: Any = None) -> Recorded:
        return Recorded(self._tape, np.empty(shape, dtype), Memory(fresh=True))

    def empty_like(self, x: Recorded, dtype: Any = None) -> Recorded:
        return Recorded(self._tape, np.empty_like(x.host, dtype), Memory(fresh=True))

    def asarray(self, data: Any, dtype: Any = None) -> Recorded:
        if isinstance(data, Recorded):
            return data if dtype is None or data.dtype == dtype else data.astype(dtype)
        return self._tape.constant(np.asarray(host_of(data), dtype))

    def array(self, data: Any, dtype: Any = None, order: Any = "K") -> Recorded:
        return self._tape.computed(partial(np.array, dtype=dtype, order=order), self.asarray(data))

    def broadcast_to(self, x: Recorded, shape: Any) -> Recorded:
        return self._tape.view(x, np.broadcast_to(x.host, shape))

    def expand_dims(self, x: Recorded, axis: Any) -> Recorded:
        return self._tape.view(x, np.expand_dims(x.host, axis))

    def reshape(self, x: Recorded, shape: Any) -> Recorded:
        return x.reshape(shape)

    def transpose(self, x: Recorded, axes: Any = None) -> Recorded:
        return self._tape.view(x, np.transpose(x.host, axes))

    def where(self, condition: Any, x: Any, y: Any) -> Recorded:
        """In two calls: NumPy's takes no memory to write to."""
        operands = (condition, x, y)
        mask, if_true, if_false = map(host_of, operands)
        result = np.asarray(np.where(mask, if_true, if_false))
        varies = any(map(_varies, operands))
        if varies:
            self._tape.calls.append(partial(np.copyto, result, if_false))
            self._tape.calls.append(partial(np.copyto, result, if_true, where=mask))
        return Recorded(self._tape, result, Memory(varies))

    def copyto(self, target: Recorded, value: Any, where: Any = True) -> None:
        call = partial(np.copyto, target.host, host_of(value), where=host_of(where))
        self._tape.write(target, call, (value, where), whole=where is True)

    def shares_memory(self, a: Recorded, b: Recorded) -> bool:
        return np.shares_memory(a.host, b.host)


class RecordingBackend(Backend):
    """The library of recorded arrays; its constants belong to the tape that this thread records."""

    def __init__(self) -> None:
        super().__init__("recording", Library("recording"), Recorded)

    def to_numpy(self, array: Any) -> np.ndarray:
        if isinstance(array, Recorded):
            array._look()
        return np.asarray(array)


RECORDING = RecordingBackend()
register(RECORDING)
