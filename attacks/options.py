"""Errors that say how options are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
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
    called, parameters = function.__name__, signature(function).parameters
    own_options = [name for name, parameter in parameters.items() if parameter.kind is Parameter.KEYWORD_ONLY]
    by_place = [name for name in parameters if name not in own_options]
    needs_epsilon = "epsilon" in own_options and parameters["epsilon"].default is Parameter.empty

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> Result:
        if len(arguments) > len(by_place):
            first, given = own_options[0], f"{arguments[len(by_place)]!r:.50}"
            raise ArgumentTypeError(
                f"the options of {called} must be given by name, got {given} at place {len(by_place) + 1}: "
                f"write {called}({', '.join(by_place)}, {first}={given}) if that is {first}"
            )
        for name in options:
            if name not in parameters:
                meant = f": write {OTHER_NAMES[name]}" if OTHER_NAMES.get(name) in parameters else ""
                if name in ("epsilon", "eps") and "attack" in parameters and "epsilon" not in parameters:
                    meant = ": the attack brings its own, functools.partial(fgsm, epsilon=0.25), say"
                raise ArgumentTypeError(
                    f"the options of {called} must be among {', '.join(own_options)}, got {name!r}{meant}"
                )
        if needs_epsilon and "epsilon" not in options:
            raise ArgumentTypeError(
                f"epsilon must be given, how far x may be moved, in its units: {called}(model, x, y, "
                f"epsilon=0.25), say, or functools.partial({called}, epsilon=0.25) as an attack argument"
            )
        return function(*arguments, **options)

    return call
