"""Derivatives that somebody claims, against numeric differentiation.

For a function f, a random cotangent c and a random direction v in one of its inputs x, the number
d/dt ⟨c, f(x + t v)⟩ at t = 0 is computed twice:

    as claimed:       ⟨(∂f/∂x)ᵀ c, v⟩
    by differences:   ⟨c, f(x + h v) − f(x − h v)⟩ / 2h

Two evaluations check a whole gradient, however many elements it has: what is wrong in all of them
shows along almost every direction, and so does a large error in one of them. The cotangent is random
because an all-ones one hides rules that misuse it. Differences are taken in float64 always: those of
float32 are mostly rounding.

The direction is a random unit vector, stretched in each element to that element's size, so that large
and small elements are moved by the same share of themselves.

If the two agree within the tolerance, and rounding explains less than the tolerance, that is all. If not,
the slope is found with care (`minigrad.testing.differences`): many steps, and a bound on the error that
holds for functions that bend sharply or cancel inside. Only what that bound does not explain is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigrad.checks import check_choice, check_count, check_flag, check_number
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.testing.comparison import Check
from minigrad.testing.failures import UndecidedError
from minigrad.testing.subjects import Arguments, EngineFunction, Function, function_name

__tracebackhide__ = True  # pytest then leaves this file out of a failure


def check_gradients(
    function: Callable[..., Any],
    *inputs: Any,
    gradient: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    keywords: Mapping[str, Any] | None = None,
    with_respect_to: Any = None,
    order: int = 1,
    dtype: Any = None,
    directions: int = 2,
    exact: bool = False,
    strict: bool = False,
    tolerance: float | None = None,
    seed: int = 0,
    name: str | None = None,
) -> None:
    """Assert that the derivatives of `function` at `inputs` are right.

    function    from arrays to an array or a tuple of arrays; deterministic. If none of the next three is
                given, it takes and returns Tensors, and the engine's gradient is checked.
    gradient    its derivative, if it returns one number: gradient(*inputs) is an array of the input's
                shape and dtype, or a tuple of them if there are several inputs
    vjp         the same for any output: vjp(g, *inputs), g being an array of the output's shape (or a
                tuple, as the output is), returns (∂f/∂x)ᵀ g
    jvp         jvp(v, *inputs), v being an array of the input's shape (a tuple if there are several),
                returns (∂f/∂x) v, of the output's shape
    inputs      arrays, floats or Tensors, and tuples, lists or dicts of them. Whatever is not
                floating-point (integers, booleans, strings, None) is passed on as it is.
    keywords    passed to the function, and to its derivatives, by name
    with_respect_to  the inputs to differentiate in, by position or name; None for all
    order       2 also checks the gradient of the gradient, 3 that one's, … (the engine's alone)
    dtype       in which the derivative is computed: float64, float32 or float16; None for each input's
                own. The tolerance goes with it. Differences are always taken in float64.
    directions  how many random directions are tried in each input, at two evaluations each (more
                only if they do not agree, or rounding is too large)
    exact       compare element by element, each relative to itself
    strict      raise UndecidedError if rounding leaves too few digits to judge
    tolerance   relative to the size of the gradient in the input concerned; None for the dtype's own:
                10⁻⁶, 10⁻⁴, 3·10⁻²
    seed        of the cotangent and the directions
    name        what failures call the function; None for its own name

    Raises GradientError if a derivative is wrong, or if the function writes into its inputs or gives
    another value each time, and KinkError if there is no derivative at the inputs. A relative error of
    10⁻⁵ in all elements is found in 57 of 60 checks at least, at any size, if the differences keep six
    digits. If rounding leaves fewer, the check passes (see `strict`).
    """
    check_count("order", order)
    check_count("directions", directions)
    check_count("seed", seed, low=0)
    if dtype is not None:
        try:
            dtype = np.dtype(dtype).name
        except TypeError:
            dtype = str(dtype)
        check_choice("dtype", dtype, ("float64", "float32", "float16"))
    if tolerance is not None:
        check_number("tolerance", tolerance, low=0.0, low_open=True)
    check_functions(function, keywords, gradient=gradient, vjp=vjp, jvp=jvp)
    if gradient is not None and vjp is not None:
        raise ArgumentError("gradient and vjp must not both be given: the gradient is the vjp at g = 1")
    is_plain = not (gradient is None and vjp is None and jvp is None)
    if order > 1 and is_plain:
        raise ArgumentError(
            f"order must be 1 for a function with a derivative of its own, got {order}: "
            "check the derivative as a function, with its own derivative"
        )
    arguments = Arguments(function, inputs, with_respect_to, dtype)
    options = keywords or {}
    subject = (
        Function(function, arguments, options, gradient, vjp, jvp)
        if is_plain
        else EngineFunction(function, arguments, options)
    )
    for flag, value in (("exact", exact), ("strict", strict)):
        check_flag(flag, value)
    check = Check(subject, name or function_name(function), tolerance, seed, strict)
    check.run(directions, exact)
    if strict and check.undecided:
        raise UndecidedError(
            f"{check.name}: rounding leaves too few digits of the differences to judge the gradient in "
            f"{', '.join(dict.fromkeys(check.undecided))}\n\n{check.where()}"
        )
    if order > 1:
        assert isinstance(subject, EngineFunction)
        check_gradients(
            subject.next_order(check.cotangents, check.random), *inputs, with_respect_to=with_respect_to,
            order=order - 1, dtype=dtype, directions=directions, exact=exact, strict=strict,
            tolerance=tolerance, seed=seed, name=f"the gradient of {check.name}",
        )  # fmt: skip


def check_differentiable(
    function: Callable[..., Any],
    *inputs: Any,
    keywords: Mapping[str, Any] | None = None,
    with_respect_to: Any = None,
    directions: int = 2,
    seed: int = 0,
    name: str | None = None,
) -> None:
    """Assert that `function`, of arrays, has a derivative at `inputs`; none has to be given.

    The arguments are those of `check_gradients`. Raises KinkError, with the slopes on both sides and the
    elements concerned, if it has a kink or a jump exactly there, or is not finite beside it. What
    rounding hides is not seen.
    """
    check_functions(function, keywords)
    check_count("directions", directions)
    check_count("seed", seed, low=0)
    arguments = Arguments(function, inputs, with_respect_to, None)
    subject = Function(function, arguments, keywords or {}, None, None, None)
    Check(subject, name or function_name(function), None, seed).see_that_it_is_smooth(directions)


def check_functions(function: Any, keywords: Any, **derivatives: Any) -> None:
    """Raise ArgumentTypeError unless these can be called."""
    for what, given in {"function": function, **derivatives}.items():
        if not callable(given) and (given is not None or what == "function"):
            raise ArgumentTypeError(f"{what} must be a function, got {type(given).__name__}")
    if keywords is not None and not isinstance(keywords, Mapping):
        raise ArgumentTypeError(
            f"keywords must be a mapping of names to values, got {type(keywords).__name__}"
        )
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if unknown := [key for key in keywords or {} if not takes_any and key not in parameters]:
        raise ArgumentError(
            f"keywords must be among the parameters of function, {', '.join(parameters)}, got {unknown[0]!r}"
        )
