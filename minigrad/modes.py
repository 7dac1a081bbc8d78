"""What is switched on and off for a while: recording, the search for NaN and infinities, evaluation mode, and
the library of new arrays.

All of it is changed by *blocks*, `with mg.no_grad(): …`. An open block holds in the thread and the asyncio
task that opened it, and nowhere else. Blocks may be left in any order: each takes only its own setting away.
A new thread begins with no block. A new task begins with those that are open where it is made, and keeps
them even if they are left there.

A generator that is suspended inside a block leaves it open for its caller, because Python has no other place
for it: leave the block before each `yield`. A block that another thread closes, as when that thread collects
such a generator, changes nothing there, and stays open where it was opened.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeVar, cast

from minigrad.errors import ArgumentTypeError

Decorated = TypeVar("Decorated")


class Settings:
    """What holds at a moment: the values of all open blocks, the innermost first. Never changed."""

    __slots__ = ("recording", "detecting_nonfinite", "evaluated", "library", "block", "outside")

    def __init__(self, block: Setting | None = None, outside: Any = None) -> None:
        self.block = block  # the innermost open block
        self.outside = outside  # the Settings without it
        if block is None:
            self.recording, self.detecting_nonfinite = True, False
            self.evaluated: frozenset[int] = frozenset()  # the ids of the Modules in evaluation mode
            self.library: Any = None  # where new arrays are made, if it was chosen
            return
        recording, detecting, evaluated, library = block.values
        self.recording = outside.recording if recording is None else recording
        self.detecting_nonfinite = outside.detecting_nonfinite if detecting is None else detecting
        self.evaluated = outside.evaluated | evaluated if evaluated else outside.evaluated
        self.library = outside.library if library is None else library

    def without(self, block: Setting) -> Settings:
        """These with a block taken away; the same if it is not open."""
        if self.block is block or self.block is None:
            return self.outside or self
        outside = self.outside.without(block)
        return self if outside is self.outside else Settings(self.block, outside)


in_force: ContextVar[Settings] = ContextVar("in_force", default=Settings())  # noqa: B039 (never changed)


class Setting:
    """A block, or the decorator of a function that runs in one."""

    def __init__(
        self,
        recording: bool | None = None,
        detecting_nonfinite: bool | None = None,
        evaluated: frozenset[int] = frozenset(),
        library: Any = None,
        held: Any = None,
    ) -> None:
        self.held = held  # what must live as long as the block: the Modules whose ids `evaluated` has
        self.values = recording, detecting_nonfinite, evaluated, library

    def __enter__(self) -> Any:
        in_force.set(Settings(self, in_force.get()))

    def __exit__(self, *exception: object) -> None:
        in_force.set(in_force.get().without(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.values[2]:  # the ids of Modules mean nothing in another process, or for a copy
            raise ArgumentTypeError("an evaluating() block cannot be copied or pickled: ask the copy for one")
        return super().__reduce_ex__(protocol)

    def __call__(self, function: Decorated) -> Decorated:
        if not callable(function):
            raise ArgumentTypeError(f"function must be a function to decorate, got {function!r}")
        if any(is_one(function) for is_one in (isgeneratorfunction, iscoroutinefunction, isasyncgenfunction)):
            raise _runs_later(function, "is")

        @wraps(function)
        def in_block(*arguments: Any, **options: Any) -> Any:
            with self:
                result = function(*arguments, **options)
            # Made behind a wrapper: its body has not begun, and would run outside.
            if isinstance(result, (GeneratorType, CoroutineType, AsyncGeneratorType)):
                if not isinstance(result, AsyncGeneratorType):
                    result.close()
                raise _runs_later(function, "returns")
            return result

        return cast("Decorated", in_block)


def no_grad(*nothing: Any) -> Setting:
    """Record nothing inside: `with mg.no_grad(): …`, or `@mg.no_grad()` on a function.

    Per thread and asyncio task, and may be nested: see `minigrad.modes`.
    """
    return _block("no_grad", nothing, recording=False)


def enable_grad(*nothing: Any) -> Setting:
    """Record inside, even within `no_grad()`. Used as `no_grad` is."""
    return _block("enable_grad", nothing, recording=True)


def detect_nonfinite(*nothing: Any) -> Setting:
    """Raise NonFiniteError as soon as the first NaN or infinity appears, naming the operation.

    Every result is inspected, which is slow and makes a GPU wait: for hunting a NaN, not for work.
    Used as `no_grad` is.
    """
    return _block("detect_nonfinite", nothing, detecting_nonfinite=True)


def _runs_later(function: Any, verb: str) -> ArgumentTypeError:
    name = getattr(function, "__name__", repr(function))
    return ArgumentTypeError(
        f"{name} {verb} a generator or a coroutine, whose body runs after the call: "
        "put a `with` statement inside it"
    )


def _block(name: str, given: tuple[Any, ...], **values: Any) -> Setting:
    if given:
        raise ArgumentTypeError(f"{name} takes no argument, got {given[0]!r}: write @{name}() to decorate")
    return Setting(**values)
