"""Errors that say how options are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from minigrad.errors import ArgumentTypeError

P = ParamSpec("P")
Result = TypeVar("Result")
# What other libraries call them.
OTHER_NAMES = {
    "eps": "epsilon", "eps_iter": "step", "eps_step": "step", "alpha": "step", "step_size": "step",
    "nb_iter": "steps", "num_steps": "steps", "max_iter": "steps", "clip_min": "bounds", "clip_max": "bounds",
}  # fmt: skip


def options_by_name(function: Callable[P, Result]) -> Callable[P, Result]:
    """The function, with errors that say what to write where Python's would count arguments: its options,
    and an epsilon without a default, are given by name."""
    called, code = function.__name__, function.__code__
    places, last = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names, options_of = code.co_varnames[:last], ", ".join(code.co_varnames[places:last])
    needs_epsilon = "epsilon" in names and "epsilon" not in (function.__kwdefaults__ or {})

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> Result:
        if len(arguments) > places:
            first, given = names[places], f"{arguments[places]!r:.50}"
            raise ArgumentTypeError(
                f"the options of {called} must be given by name, got {given} at place {places + 1}: write "
                f"{called}({', '.join(names[:places])}, {first}={given}) if that is {first}"
            )
        for name in options:
            if name not in names:
                meant = f": write {OTHER_NAMES[name]}" if OTHER_NAMES.get(name) in names else ""
                if name in ("epsilon", "eps") and "attack" in names and "epsilon" not in names:
                    meant = ": the attack brings its own, functools.partial(fgsm, epsilon=0.25), say"
                raise ArgumentTypeError(
                    f"the options of {called} must be among {options_of}, got {name!r}{meant}"
                )
        if needs_epsilon and "epsilon" not in options:
            raise ArgumentTypeError(
                f"epsilon must be given, how far x may be moved, in its units: {called}(model, x, y, "
                f"epsilon=0.25), say, or functools.partial({called}, epsilon=0.25) as an attack argument"
            )
        return function(*arguments, **options)

    return call
