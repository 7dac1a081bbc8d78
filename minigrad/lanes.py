"""Where the plain core and the fast lane meet.

Everything in minigrad is written in a plain form that is complete and right. Some of it is slow. A
function marked `@replaceable`, and the forward of any primitive, may have a second form in
`minigrad.fast`, which computes the same. Importing that package switches the fast lane on: it hands
each of its forms to `replace`. With MINIGRAD_PLAIN=1 in the environment it is not imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

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


def replace(target: Any, fast: Callable[..., Any], name: str = "forward") -> None:
    """From now on `target`, a primitive or a replaceable function, runs in the form `fast`. `name` is the
    attribute that holds what runs."""
    _forms[target, name] = getattr(target, name), fast
    setattr(target, name, fast)


@contextmanager
def plain_forms(but: Container[str] = ()) -> Iterator[None]:
    """The plain form of everything, in all threads, for a `with` block: to compare the two lanes. The forms
    of the modules named in `but`, such as "sums" of `minigrad.fast`, stay fast, to see what each adds."""
    before = [(target, name, getattr(target, name)) for target, name in _forms]
    for (target, name), (plain, fast) in _forms.items():
        if fast.__module__.rpartition(".")[2] not in but:
            setattr(target, name, plain)
    try:
        yield
    finally:
        for target, name, form in before:
            setattr(target, name, form)
