"""A computation written down as the array calls that it makes, so that they can be made again.

This is how a tracing compiler begins. A function runs once over `Recorded` arrays. Each call on them is made,
and is written on a *tape*: the library's function, and the arrays that it reads and writes. To replay is

    for function, arguments in lines:
        function(*arguments)

in that same memory: no graph, no new arrays, no Python beside the loop. Not written down are views, which
look at memory that stays; what is computed from constants alone, which is the same every time; and in the end
what nobody reads (`Tape.needed`). Parts that are joined later are put side by side from the start
(`Tape.homes`).

Nothing may look at a value, for a branch would go the same way at every replay. The engine has forms that
never do: those that it runs on a GPU. So recorded arrays present themselves as a library of their own, as
CuPy's are, and those forms run. An array that was made outside, of which nobody knows what it will be next
time, is refused.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigrad import backend
from minigrad.backend import Backend
from minigrad.errors import BackendError
from minigrad.fast.lines import Line, copied, name_of, written_into
from minigrad.tensor import Tensor

NOTHING: Line = (lambda: None, ())  # what is left of joining parts that lie side by side
VIEWS = {"reshape", "transpose", "getitem", "ravel", "squeeze", "expand_dims", "broadcast_to", "swapaxes",
         "moveaxis", "ascontiguousarray", "sliding_window_view", "diagonal"}  # fmt: skip


class Memory:
    """What the views of one array share."""

    __slots__ = ("array", "fresh", "number", "varies")

    def __init__(self, array: Any, varies: bool = False, fresh: bool = False, number: int = -1) -> None:
        self.array = array  # all of it
        self.varies = varies  # whether it holds something else at every replay
        self.fresh = fresh  # whether nothing was written to it yet
        self.number = number  # its place among the results of the tape; -1 if it is none


class Call(NamedTuple):
    """A line of the tape. `writes` is None for one that is made for something else than its result."""

    line: Line
    reads: set[Memory]
    writes: Memory | None


class Tape:
    """The calls of one recording, on arrays of one library.

    homes  where results that are joined later lie side by side: by a result's number its place, by the
           numbers of several the whole; found by an earlier recording
    """

    def __init__(self, library: Backend, homes: dict[Any, Any]) -> None:
        self.library, self.xp, self.homes = library, library.xp, homes
        self.calls: list[Call] = []
        self.restored: list[Call] = []  # constants that are written to: made anew before all calls
        self.checks: dict[Any, Callable[[], Any]] = {}  # of what is given: made before anything
        self.given: set[Memory] = set()  # what is written to between replays
        self.said: list[str] = []  # each call as text, with its numbers: to compare two recordings
        # Results that were joined, and what of them; () if they were joined again, or written to after it.
        self.joined: dict[tuple[int, ...], tuple[Memory, ...]] = {}
        self.results = 0
        self.acted = False  # whether anything was drawn, or written to what is given
        self.generators: list[np.random.Generator] = []  # which it draws from

    def __enter__(self) -> Tape:
        """From here on, this thread's recorded arrays are of this tape."""
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _current.reset(self._token)

    def needed(self, kept: Iterable[Memory]) -> list[Line]:
        """What to replay: without the calls whose results nobody reads. In the end, what is `kept` is read,
        and what was given."""
        live, lines = {*kept, *self.given}, []
        for call in reversed(self.restored + self.calls):
            if call.writes is None or call.writes in live:
                live |= call.reads
                if call.line is not NOTHING:
                    lines.append(call.line)
        return lines[::-1]

    def found_homes(self) -> dict[Any, Any]:
        """Places for results that are joined, so that joining them is no work."""
        homes: dict[Any, Any] = {}
        for numbers, parts in self.joined.items():
            if parts and homes.keys().isdisjoint(numbers):
                homes[numbers] = parts[-1].array.copy()
                left = homes[numbers].reshape(-1)
                for part in parts[:-1]:
                    place, left = left[: part.array.size], left[part.array.size :]
                    homes[part.number] = place.reshape(part.array.shape)
        return homes

    # ---- arrays

    def placed(self, array: Any, **of_memory: Any) -> Recorded:
        """The next result, in its home if it has one."""
        home = self.homes.get(self.results)
        if home is not None and home.shape == array.shape and home.dtype == array.dtype:
            home[...] = array
            array = home
        self.results += 1
        return Recorded(self, array, Memory(array, number=self.results - 1, **of_memory))

    def variable(self, array: Any) -> Recorded:
        """An array that is written to between replays, where it lies: a Parameter, say."""
        memory = next((m for m in self.given if m.array is array), None) or Memory(array, varies=True)
        self.given.add(memory)
        return Recorded(self, array, memory)

    def constant(self, array: Any) -> Recorded:
        return Recorded(self, array, Memory(array))

    # ---- what is written down

    def call(self, function: Callable[..., Any], *operands: Any, **options: Any) -> Recorded:
        """function(*operands, **options): made now, and at every replay, into the memory of this result."""
        arguments, named = array_of(operands), array_of(options)
        result = function(*arguments, **named)
        if not isinstance(result, (np.generic, self.library.array_type)):
            raise BackendError(f"{name_of(function)} looks at values, or returns several arrays")
        array, read = self.xp.asarray(result), recorded_in((operands, options))
        for x in read:
            if self.xp.may_share_memory(array, x.array):
                if name_of(function) not in VIEWS:
                    raise BackendError(f"{name_of(function)} writes into what it is given")
                return Recorded(self, array, x.memory)
        recorded = self.placed(array, varies=any(x.memory.varies for x in read))
        if recorded.memory.varies:
            line = written_into(recorded.array, function, arguments, named)
            self.note(line, (operands, options), recorded.memory, name_of(function))
        return recorded

    def write(self, target: Recorded, line: Line, operands: Any) -> None:
        """A call that writes into target's memory: made now; at every replay if something in it varies."""
        memory = target.memory
        read = any(memory in call.reads for call in self.calls)  # before it changes here
        if not memory.varies and (read or any(x.memory.varies for x in recorded_in(operands))):
            if not memory.fresh:
                before = (self.xp.copyto, (memory.array, memory.array.copy()))
                self.restored.append(Call(before, set(), memory))
            memory.varies = True
        memory.fresh = False
        self.joined |= {numbers: () for numbers, joined in self.joined.items() if memory in joined}
        line[0](*line[1])
        if memory.varies:
            self.note(line, (target, operands), memory)

    def note(self, line: Line, operands: Any = (), writes: Memory | None = None, name: str = "") -> None:
        """A line for every replay."""
        numbers = ["·" if isinstance(leaf, Recorded) else str(leaf) for leaf in leaves(operands)]
        self.said.append(f"{name or name_of(line[0])}({', '.join(numbers)})")
        self.calls.append(Call(line, {x.memory for x in recorded_in(operands)}, writes))
        self.acted = self.acted or writes in self.given

    def draw(
        self, draw: Callable[..., Any], generator: np.random.Generator, x: Recorded, *settings: Any
    ) -> Any:
        """draw(generator, x, *settings), a host array; it looks at x's shape and dtype alone. Drawn anew at
        every replay."""
        self.generators.append(generator)
        self.acted = True

        def drawn() -> Any:
            return self.library.asarray(draw(generator, x.array, *settings))

        recorded = self.placed(drawn(), varies=True)
        self.note((copied, (recorded.array, drawn, (), {})), settings)
        return recorded

    def later(self, x: Recorded, check: Callable[..., Any], *arguments: Any) -> None:
        """check(*arguments), which raises if values of x are wrong: at every replay; once, and before all
        else, if x is all of what is given, as it was. Not on a device, which it would stop."""
        whole = x.memory in self.given and x.size == x.memory.array.size and not self.acted
        if self.library is backend.NUMPY and whole:
            kind = tuple(a for a in arguments if not isinstance(a, (str, Recorded)))  # whatever x is called
            self.checks.setdefault((check, x.memory, kind), partial(check, *array_of(arguments)))
        elif self.library is backend.NUMPY and x.memory.varies:
            self.note((check, array_of(arguments)), arguments)


_current: ContextVar[Tape | None] = ContextVar("the tape that is being recorded", default=None)
recorded_now = _current.get


def current_tape() -> Tape:
    tape = recorded_now()
    if tape is None:
        raise BackendError("an array of a recording is used after it")
    return tape


# ---- what operands hold


def array_of(operand: Any) -> Any:
    """What the library computes with. BackendError for an array that was made outside of the recording."""
    if isinstance(operand, Recorded):
        return operand.array
    if isinstance(operand, (list, tuple)):
        return type(operand)(map(array_of, operand))
    if isinstance(operand, dict):
        return {name: array_of(value) for name, value in operand.items()}
    if backend.find(operand) is not None:
        raise BackendError(
            f"an array of shape {operand.shape} was made outside of the step, and would be the same at every "
            "replay: give it to the step, or name what has it in `of`"
        )
    return operand


def leaves(operands: Any) -> list[Any]:
    """What lies in lists, tuples and dicts, the names in dicts among it."""
    if isinstance(operands, (tuple, list)):
        return [leaf for operand in operands for leaf in leaves(operand)]
    return leaves(list(operands.items())) if isinstance(operands, dict) else [operands]


def recorded_in(operands: Any) -> list[Recorded]:
    return [leaf for leaf in leaves(operands) if isinstance(leaf, Recorded)]


# ---- the arrays, and their library


def _look(*_: Any, **__: Any) -> Any:
    raise BackendError("the step looks at the values of an array, and what it does may depend on them")


class Recorded(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of a step that is being recorded. Nobody may look at its values."""

    __slots__ = ("__weakref__", "array", "memory", "tape")
    __hash__ = None  # type: ignore[assignment]
    item = tolist = __array__ = __bool__ = __int__ = __float__ = __index__ = _look

    def __init__(self, tape: Tape, array: Any, memory: Memory) -> None:
        self.tape, self.array, self.memory = tape, array, memory

    def __getattr__(self, name: str) -> Any:
        if name not in ("shape", "ndim", "size", "dtype", "strides", "flags", "nbytes"):
            raise AttributeError(f"a recorded array has no {name}")
        return getattr(self.array, name)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def is_whole(self) -> bool:
        """Whether it has all elements of its memory, one after the other."""
        both = self.array, self.memory.array
        return self.size == self.memory.array.size and all(x.flags.c_contiguous for x in both)

    @property
    def base(self) -> Any:
        return None if self.array is self.memory.array else self.memory.array

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        """NumPy's function of recorded arrays, and every operator."""
        if method != "__call__" or any(isinstance(x, Tensor) for x in inputs):
            return NotImplemented
        return of_numpy(ufunc)(*inputs, **options, **({"out": out[0]} if out else {}))

    def __array_function__(self, function: Any, _: Any, inputs: Any, options: Any) -> Any:
        return of_numpy(function)(*inputs, **options)

    def reshape(self, *shape: Any) -> Recorded:
        return self.tape.call(self.tape.xp.reshape, self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Recorded:
        return self.tape.call(self.tape.xp.transpose, self, axes[0] if len(axes) == 1 else axes or None)

    T = property(transpose)

    def view(self, dtype: Any) -> Recorded:
        return Recorded(self.tape, self.array.view(dtype), self.memory)

    def copy(self) -> Recorded:
        return self.tape.call(operator.methodcaller("copy"), self)

    def astype(self, dtype: Any, copy: bool = True) -> Recorded:
        same = not copy and self.dtype == dtype
        return self if same else self.tape.call(operator.methodcaller("astype", dtype), self)

    def __getitem__(self, index: Any) -> Recorded:
        if any(x.dtype == bool for x in recorded_in(index)):
            _look()
        return self.tape.call(operator.getitem, self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        line = operator.setitem, (self.array, array_of(index), array_of(value))
        self.tape.write(self, line, (index, value))


def of_numpy(function: Any) -> Callable[..., Any]:
    """The recorded function that is NumPy's; others may have its name."""
    name = function.__name__
    if getattr(np, name, None) is not function:
        raise BackendError(f"{name} of {function.__module__} is not recorded")
    return getattr(RECORDING.xp, name)


def _method(name: str) -> Callable[..., Any]:
    return lambda self, *arguments, **options: getattr(RECORDING.xp, name)(self, *arguments, **options)


for _name in ("sum", "mean", "max", "min", "argmax", "any", "all", "cumsum", "ravel", "squeeze", "clip"):
    setattr(Recorded, _name, _method(_name))


class Library(types.ModuleType):
    """The functions of the tape's library, under their names, on recorded arrays."""

    ndarray = Recorded
    CONSTANT = ("zeros", "ones", "full", "arange", "zeros_like", "ones_like")
    FRESH = ("empty", "empty_like")

    def __getattr__(self, name: str) -> Any:
        tape = current_tape()
        function = getattr(tape.xp, name)
        if not callable(function) or isinstance(function, type):
            return function

        def call(*operands: Any, out: Any = None, **options: Any) -> Any:
            if name in ("shares_memory", "may_share_memory"):
                return function(*array_of(operands))
            of_values = name in ("full", "arange") and recorded_in(operands)
            if name in self.FRESH:
                return tape.placed(function(*array_of(operands), **options), fresh=True)
            if name in self.CONSTANT and not of_values:
                return tape.constant(function(*array_of(operands), **options))
            if out is None:
                return tape.call(function, *operands, **options)
            line = written_into(out.array, function, array_of(operands), array_of(options))
            tape.write(out, line, (operands, options))
            return out

        return call

    def concatenate(self, parts: Any, axis: int = 0) -> Recorded:
        tape, operands = current_tape(), ((list(parts),), {"axis": axis})
        numbers = tuple(part.memory.number if part.is_whole else -1 for part in parts)
        if axis == 0 and numbers in tape.homes:  # nothing is left to do
            memory = Memory(tape.homes[numbers], varies=any(part.memory.varies for part in parts))
            if memory.varies:
                tape.note(NOTHING, operands, memory, "concatenate")
            tape.results += 1
            return Recorded(tape, memory.array, memory)
        result = tape.call(tape.xp.concatenate, *operands[0], **operands[1])
        one_dtype = {part.dtype for part in parts} == {result.dtype}
        if axis == 0 and one_dtype and -1 not in numbers and len({*numbers}) == len(parts):
            once = *(part.memory for part in parts), result.memory
            tape.joined[numbers] = () if numbers in tape.joined else once
        return result

    def copyto(self, target: Recorded, value: Any, where: Any = True) -> None:
        line = partial(current_tape().xp.copyto, where=array_of(where)), (target.array, array_of(value))
        current_tape().write(target, line, (value, where))

    def asarray(self, data: Any, dtype: Any = None) -> Recorded:
        if isinstance(data, Recorded):
            return data if dtype is None else data.astype(dtype, copy=False)
        return current_tape().constant(current_tape().xp.asarray(array_of(data), dtype))

    def array(self, data: Any, dtype: Any = None, order: Any = "K") -> Recorded:
        return current_tape().call(partial(current_tape().xp.array, order=order), self.asarray(data, dtype))


RECORDING = Backend("recording", Library("recording"), Recorded)
backend.register(RECORDING, hidden=True)
