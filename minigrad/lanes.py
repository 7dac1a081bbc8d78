"""Where the plain core and the fast lane meet.

Everything in minigrad is written in a plain form that is complete and right. Some of it is slow. A
function marked `@replaceable`, and the forward of any primitive, may have a second form in
`minigrad.fast`, which computes the same. Importing that package switches the fast lane on: it hands
each of its forms to `replace`. With MINIGRAD_PLAIN=1 in the environment it is not imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

from minigrad.errors import ArgumentError

PLAIN = os.environ.get("MINIGRAD_PLAIN", "") not in ("", "0")  # whether the fast lane is off

P = ParamSpec("P")
R = TypeVar("R")


class Replaceable(Generic[P, R]):
    """A function that is called in its plain form, or in the fast lane's form if there is one."""

    def __init__(self, plain: Callable[P, R]) -> None:
        self.forward = self.plain = plain
        update_wrapper(self, plain)

    def __reduce__(self) -> str:
        """By name, as any function is pickled; a copy is the function itself."""
        names = (name for name, value in vars(sys.modules[self.__module__]).items() if value is self)
        return next(names, self.plain.__qualname__)

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> R:
        return self.forward(*arguments, **options)


replaceable = Replaceable

_forms: dict[tuple[Any, str], tuple[Any, Any]] = {}  # (plain, fast) of what has a fast form
_blocks: list[tuple[str, ...]] = []  # what each block of `plain_forms` that is open keeps fast
_lock = threading.Lock()


def replace(target: Any, fast: Callable[..., Any], name: str = "forward") -> None:
    """From now on `target`, a primitive or a replaceable function, runs in the form `fast`. `name` is the
    attribute that holds what runs."""
    _forms[target, name] = getattr(target, name), fast
    _choose()


def _choose() -> None:
    """Have everything run in its fast form, unless a block that is open says otherwise."""
    for (target, name), (plain, fast) in _forms.items():
        setattr(target, name, fast if all(_module(fast) in kept for kept in _blocks) else plain)


def _module(fast: Any) -> str:
    """The name of the module that a fast form is of, without its package."""
    return str(fast.__module__).rpartition(".")[2]


@contextmanager
def plain_forms(but: Iterable[str] = ()) -> Iterator[None]:
    """The plain form of everything, in all threads, for a `with` block: to compare the two lanes. The forms
    of the modules named in `but`, such as "sums" of `minigrad.fast`, stay fast, to see what each adds."""
    kept = (but,) if isinstance(but, str) else tuple(but)
    known = {_module(fast) for _, fast in _forms.values()}
    if _forms and not known.issuperset(kept):
        raise ArgumentError(f"but must name modules with fast forms, {', '.join(sorted(known))}, got {kept}")
    with _lock:
        _blocks.append(kept)
        _choose()
    try:
        yield
    finally:
        with _lock:
            _blocks.remove(kept)
            _choose()
