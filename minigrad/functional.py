"""Functions of functions: derivatives of a function of arrays, at a point.

`value_and_grad`, `jacobian` and `hessian` take a function and return another, of the same arguments. `hvp`
and `jvp` have a direction too, which belongs to the point: they take both, and give a product with a matrix
that is never formed.

    mg.value_and_grad(f)(x)        (f(x), ∂f/∂x)
    mg.jacobian(f)(x)              ∂f/∂x, of shape f(x).shape + x.shape
    mg.hessian(f)(x)               ∂²f/∂x², of shape x.shape + x.shape
    mg.hvp(f, x, v)                ∂²f/∂x² v
    mg.jvp(f, x, v)                ∂f/∂x v

The function takes Tensors and returns one; arguments may be arrays or numbers. ∂f/∂x is the derivative in
that argument alone: whatever else f depends on is held fixed, even if it was computed from x. It is 0 if f
does not depend on x, or cuts its graph.

What comes out is recorded, to be differentiated again, if anything else that requires a gradient had a part
in it: a Tensor that was given, one from outside, a Parameter that the function brings along. So these
functions may stand inside one another. Inside `mg.no_grad()` nothing is recorded, which takes less time and
memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, overload

import numpy as np

from minigrad import backend
from minigrad.checks import shown
from minigrad.engine import grad, order, tensor_like
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.modes import enable_grad, in_force
from minigrad.operands import as_real_tensor
from minigrad.operations import reshape, stack
from minigrad.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "value_and_grad"]

Function = Callable[..., Tensor]


@overload
def value_and_grad(function: Function, argnums: int = 0) -> Callable[..., tuple[Tensor, Tensor]]: ...
@overload
def value_and_grad(
    function: Function, argnums: tuple[int, ...]
) -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]: ...
def value_and_grad(function: Function, argnums: Any = 0) -> Callable[..., tuple[Tensor, Any]]:
    """The function x, … ↦ (f(x, …), ∂f/∂x).

    function  returns a Tensor of one element
    argnums   the place of the argument x; a tuple of places gives a tuple of gradients
    """
    return _checked(_value_and_grad, function, argnums)


def _value_and_grad(function: Function, argnums: Any, *arguments: Any, **options: Any) -> tuple[Tensor, Any]:
    places = argnums if isinstance(argnums, tuple) else (argnums,)
    point = _Evaluation(function, arguments, options, places)
    gradients = point.gradients_of_scalar(create_graph=point.recorded)
    value = point.value if point.recorded else point.value.detach()
    return value, gradients if isinstance(argnums, tuple) else gradients[0]


def jacobian(function: Function, argnums: int = 0) -> Callable[..., Tensor]:
    """The function x, … ↦ ∂f/∂x, of shape f(x, …).shape + x.shape: a pass for each element of f(x, …).

    function  returns a Tensor of any shape
    argnums   the place of the argument x
    """
    return _checked(_jacobian, function, (argnums,))


def _jacobian(function: Function, places: tuple[int], *arguments: Any, **options: Any) -> Tensor:
    point = _Evaluation(function, arguments, options, places)
    return point.rows(point.value)


def hessian(function: Function, argnums: int = 0) -> Callable[..., Tensor]:
    """The function x, … ↦ ∂²f/∂x², of shape x.shape + x.shape: a pass for each element of x.

    function  returns a Tensor of one element
    argnums   the place of the argument x
    """
    return _checked(_hessian, function, (argnums,))


def _hessian(function: Function, places: tuple[int], *arguments: Any, **options: Any) -> Tensor:
    point = _Evaluation(function, arguments, options, places)
    (gradient,) = point.gradients_of_scalar(create_graph=True)
    return point.rows(gradient)


def hvp(function: Function, x: Any, v: Any) -> Tensor:
    """∂²f/∂x² v at x, of x's shape: the gradient's derivative along v, in two passes.

    function  of x alone, returns a Tensor of one element
    v         a direction, of x's shape
    """
    x, v = _point_and_direction(function, x, v)
    point = _Evaluation(function, (x,), {}, (0,), v)
    (gradient,) = point.gradients_of_scalar(create_graph=True)
    return point.gradients(gradient, v, create_graph=point.recorded)[0]


def jvp(function: Function, x: Any, v: Any) -> Tensor:
    """∂f/∂x v at x, of f(x)'s shape: the derivative of f along v.

    function  of x alone, returns a Tensor of any shape
    v         a direction, of x's shape

    Reverse mode takes two passes: h(u) = (∂f/∂x)ᵀ u is linear in u, and (∂h/∂u)ᵀ v = ∂f/∂x v.
    """
    x, v = _point_and_direction(function, x, v)
    point = _Evaluation(function, (x,), {}, (0,), v)
    zeros = backend.of(point.value.data).xp.zeros_like(point.value.data)
    if not point.value.requires_grad:
        return Tensor(zeros, requires_grad=point.recorded)
    u = Tensor(zeros, requires_grad=True)
    (h,) = point.gradients(point.value, u, create_graph=True)
    return grad(h, u, gradient=v, create_graph=point.recorded)[0]


class _Evaluation:
    """A function's value at its arguments, with the Tensors that it is differentiated in."""

    def __init__(
        self, function: Function, arguments: Any, options: Any, places: tuple[int, ...], *others: Tensor
    ) -> None:
        given = list(arguments)
        for place in places:
            if not -len(given) <= place < len(given):
                raise ArgumentError(
                    f"argnums must name one of {len(given)} arguments given by position, got {place}"
                )
        if len({place % len(given) for place in places}) < len(places):
            raise ArgumentError(f"argnums must name different arguments, got {places}")
        for place in places:
            name = "x" if len(given) == 1 else f"argument {place % len(given) + 1}"
            x = as_real_tensor(given[place], name)
            # A node or a leaf of its own: other ways from x to the value are no part of ∂f/∂x.
            keeps_graph = in_force.get().recording and x.requires_grad
            given[place] = reshape(x, x.shape) if keeps_graph else Tensor(x.data, requires_grad=True)
        self.inputs: list[Tensor] = [given[place] for place in places]
        with enable_grad():
            self.value = function(*given, **options)
        if not isinstance(self.value, Tensor):
            raise ArgumentTypeError(f"function must return a Tensor, got {shown(self.value)}")
        results = order(self.value) if self.value.requires_grad else []
        used = {x for y in results for x in y.arguments if isinstance(x, Tensor)}
        for place, x in zip(places, self.inputs, strict=True):
            if x not in used and any(arguments[place] is other for other in used):
                raise ArgumentError(
                    "function must compute from its argument, got one that takes the Tensor that was given "
                    "from outside: use mg.grad, or write a function of it"
                )
        has_others = any(x.is_leaf and x.requires_grad for x in used.difference(self.inputs))
        self.recorded = in_force.get().recording and (has_others or any(v.requires_grad for v in others))

    def gradients(
        self, output: Tensor, cotangent: Any, *, create_graph: bool, retain_graph: bool = False
    ) -> Any:
        """(∂output/∂x)ᵀ cotangent for each input x, zeros where output does not depend on it."""
        if not output.requires_grad:
            zeros = [backend.of(x.data).xp.zeros_like(x.data) for x in self.inputs]
            return tuple(Tensor(zero, requires_grad=create_graph) for zero in zeros)
        return grad(
            output, self.inputs, gradient=cotangent, retain_graph=retain_graph, create_graph=create_graph
        )

    def gradients_of_scalar(self, *, create_graph: bool) -> Any:
        if self.value.size != 1:
            raise ArgumentError(
                f"function must return one element, got shape {self.value.shape}: see mg.jacobian"
            )
        return self.gradients(self.value, None, create_graph=create_graph)

    def rows(self, output: Tensor) -> Tensor:
        """∂output/∂x of the one input x, row by row."""
        (x,) = self.inputs
        xp = backend.of(output.data).xp
        shape = (*output.shape, *x.shape)
        if 0 in shape:
            return Tensor(xp.zeros(shape, x.dtype), requires_grad=self.recorded)
        found = []
        for i in range(output.size):
            unit = xp.zeros(output.size, output.dtype)
            unit[i] = 1.0
            unit = unit.reshape(output.shape)
            found += self.gradients(output, unit, create_graph=self.recorded, retain_graph=True)
        return reshape(stack(found), shape)


def _point_and_direction(function: Any, x: Any, v: Any) -> tuple[Tensor, Tensor]:
    """x and v as Tensors, if x can be moved along v."""
    _check_function(function)
    if isinstance(x, tuple):
        raise ArgumentTypeError("x must be one array, got a tuple")
    x = as_real_tensor(x, "x")
    return x, tensor_like(v, "v", x, "x")


def _check_function(function: Any) -> None:
    if not callable(function):
        raise ArgumentTypeError(f"function must be callable, got {shown(function)}")


def _checked(derivative: Callable[..., Any], function: Any, argnums: Any) -> Any:
    """`derivative` of the function in these places, a function of arguments alone. It can be pickled."""
    _check_function(function)
    for place in argnums if isinstance(argnums, tuple) else (argnums,):
        if not isinstance(place, (int, np.integer)) or isinstance(place, bool):
            raise ArgumentTypeError(
                f"argnums must be an integer (for value_and_grad a tuple of them too), got {shown(place)}; "
                "arguments go to what is returned, as in mg.jacobian(f)(x)"
            )
    return partial(derivative, function, argnums)
