"""Primitives: functions on plain arrays that come with their own derivatives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Generic, ParamSpec

import numpy as np

from minigrad import backend
from minigrad.checks import check_rule, misfit, refusal
from minigrad.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from minigrad.modes import in_force
from minigrad.operands import is_real, reconcile
from minigrad.tensor import Tensor, new_tensor, raw
from minigrad.totals import total

P = ParamSpec("P")
Rule = Callable[..., Any]


class Primitive(Generic[P]):
    """A function on arrays, and for each array argument the rule of its derivative.

    The function is `forward(xp, *arrays, **options)`: xp is the array library, the arrays come first,
    settings such as an axis after them. Here is a whole primitive:

        @primitive
        def multiply(xp, x, y):
            return x * y

        multiply.set_vjps(
            lambda g, z, x, y: g * y,  # ∂z/∂x = y
            lambda g, z, x, y: g * x,  # ∂z/∂y = x
        )

    Called with Tensors, arrays and numbers in any mixture, it returns a Tensor.

    A rule computes a *vector-Jacobian product*. Let z = f(x, …) be a step on the way to a cost J, and
    g = ∂J/∂z, which has z's shape. The rule of x returns x's share of ∂J/∂x:

        rule(g, z, x, …, **options)  =  (∂z/∂x)ᵀ g

    - After g and z it gets every array argument, and every option by the forward's name for it.
    - It is given Tensors if the derivative is itself recorded, to be differentiated again, and bare
      arrays if not. (What was called as a number or an array stays one.) So it is written in operators and
      in minigrad's functions, which take both, and in what both have: `shape`, `dtype`, `reshape`, `T` ….
      NumPy, or `raw(x)`, cuts the second derivative: that is right for constants alone, such as masks.
    - It changes none of its arguments.
    - It need not undo broadcasting or conversions of dtype: a share of a shape that x broadcasts to is
      summed to x's. `share_of` does that for every rule.
    - A rule of None says that there is no derivative in that argument.
    """

    def __init__(self, forward: Callable[Concatenate[Any, P], Any], real: bool = True) -> None:
        code = getattr(forward, "__code__", None)
        if code is None or (code.co_kwonlyargcount and not code.co_flags & inspect.CO_VARARGS):
            raise ArgumentTypeError(
                f"forward must be a function without keyword-only parameters, got {forward!r}: an "
                "option is given by name or by position, after the arrays"
            )
        defaults = forward.__defaults__ or ()
        self.forward = self.plain = forward  # forward runs, and may be replaced (minigrad.lanes)
        self.name = forward.__name__.strip("_")
        self.real = real  # whether arguments with a rule must be floating-point
        self.vjps: Any = ()  # a tuple of rules, or EachPosition
        self.names = code.co_varnames[1 : code.co_argcount]
        self._defaults = dict(zip(self.names[len(self.names) - len(defaults) :], defaults, strict=True))
        # Whether it takes any number of arrays; whether a rule is given those of all positions.
        self.variadic, self.sees_others = False, True
        self.__name__, self.__qualname__ = forward.__name__, forward.__qualname__
        self.__module__, self.__doc__ = forward.__module__, forward.__doc__
        self.__wrapped__ = forward

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> str:
        """Copied and pickled by name: a primitive is one object."""
        return self.__qualname__

    @property
    def __signature__(self) -> Any:
        """The forward's, without the array library: what a caller gives."""
        signature = inspect.signature(self.plain)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def set_vjps(self, *vjps: Rule | None) -> Any:
        """One rule per array argument, in order; None for an array without a derivative. So many first
        parameters of the forward are its arrays, the others its options.

        Returns the first, so that it also serves as the decorator of a single longer rule.
        """
        if not 0 < len(vjps) <= len(self.names):
            raise ArgumentError(
                f"vjps must be one for each array argument of {self.name}({', '.join(self.names)}), "
                f"got {len(vjps)}"
            )
        for vjp in vjps:
            check_rule(self.name, vjp, self.names[: len(vjps)], self.names[len(vjps) :])
        self.vjps = vjps
        return vjps[0]

    def set_vjp_of_each(
        self, rule_at: Callable[[int], Rule], sees_others: bool = True
    ) -> Callable[[int], Rule]:
        """For a forward that takes any number of arrays: `rule_at(position)` is a position's rule.

        The options of such a primitive are given by name. With sees_others=False a rule is given the array of
        its own position alone: then n rules take a time that grows as n, and not as n².
        """
        self.vjps = EachPosition(rule_at)
        self.variadic, self.sees_others = True, sees_others
        return rule_at

    # ---- a call

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> Tensor:
        return self.apply(*self.bind(arguments, options))

    def apply(self, given: Any, settings: Mapping[str, Any]) -> Tensor:
        """A call whose arguments and settings have been sorted: prepare, compute, remember."""
        arrays = [raw(argument) for argument in given]
        # reconcile converts `arrays` in place.
        xp = reconcile(self.name, arrays, self._needs_real(arrays), joins=self.variadic)
        return self.remember(self.compute(xp, arrays, settings), given, arrays, settings)

    def compute(self, xp: Any, arrays: list[Any], settings: Mapping[str, Any]) -> Any:
        """The forward's result, as an array also if it has no dimensions."""
        forward: Any = self.forward
        try:
            output = forward(xp, *arrays, **settings)
        except (TypeError, ValueError, OverflowError) as error:  # NumPy's, of shapes, axes and other settings
            raise refusal(self.name, error, arrays, settings) from error
        if backend.find(output) is None:
            output = xp.asarray(output)  # NumPy gives a scalar if there are no dimensions
        inspected = in_force.get().detecting_nonfinite and output.dtype.kind == "f"
        if inspected and not bool(xp.isfinite(output).all()):
            raise NonFiniteError(f"{self.name} made a NaN or an infinity (result of shape {output.shape})")
        return output

    def remember(self, output: Any, given: Any, arrays: list[Any], settings: Mapping[str, Any]) -> Tensor:
        """The output as a Tensor that knows how it was made, if anybody may ask for a derivative."""
        if in_force.get().recording:
            for position, x in enumerate(given):
                if isinstance(x, Tensor) and x._requires_grad and self.vjps[position] is not None:
                    return new_tensor(output, self, given, arrays, settings)
        return new_tensor(output)

    def _needs_real(self, operands: list[Any]) -> list[bool]:
        """Of each operand, whether it must be floating-point. What joins any number of arrays also takes
        integers alone."""
        real = self.real or (self.variadic and any(is_real(operand) for operand in operands))
        return [real and self.vjps[position] is not None for position in range(len(operands))]

    def bind(self, arguments: Any, options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort a call into (array arguments, all settings) by the forward's signature."""
        names, count = self.names, len(arguments)
        if self.variadic:
            return arguments, options
        arity = len(self.vjps)
        if arity == 0:
            raise ArgumentTypeError(f"{self.name} has no rules yet: give them with set_vjps")
        given = {**self._defaults, **dict(zip(names, arguments, strict=False)), **options}
        unknown = any(name not in names[count:] for name in options)
        if unknown or count > len(names) or len(given) < len(names):
            raise misfit(self.name, names, count, options)
        settings = {name: given[name] for name in names[arity:]}
        for name, value in settings.items():
            if isinstance(value, Tensor):
                raise ArgumentTypeError(
                    f"{self.name}: {name} must be a setting, got a Tensor: {self.name} has rules for "
                    f"{', '.join(names[:arity])} alone"
                )
        arrays = arguments[:arity] if count >= arity else [given[name] for name in names[:arity]]
        return tuple(arrays), settings


def primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """Make a forward on floating-point arrays a Primitive; its rules are set next to it."""
    return Primitive(forward)


def structural_primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """The same for one that only moves elements about, and so takes any dtype."""
    return Primitive(forward, real=False)


class EachPosition:
    """The rules of a primitive that takes any number of arrays."""

    def __init__(self, rule_at: Callable[[int], Rule]) -> None:
        self.rule_at = rule_at

    def __getitem__(self, position: Any) -> Any:
        return self.rule_at(position)


# ---- what a rule returns


def share_of(y: Tensor, position: int, rule: Rule, g: Any) -> Any:
    """(∂y/∂x)ᵀ g, the share of g that goes to x, the argument of y at `position`: an array if g is one,
    else a Tensor, of x's shape and dtype."""
    seen = slice(None) if y.made_by.sees_others else slice(position, position + 1)
    try:
        if isinstance(g, Tensor):
            both = zip(y.arguments[seen], y.arrays[seen], strict=True)
            # Integers that were converted are constants: the rule gets them as they were computed with.
            arguments = (a if isinstance(a, Tensor) and a.dtype.kind == "f" else b for a, b in both)
            share = rule(g, y, *arguments, **y.options)
        else:
            share = raw(rule(g, y.data, *y.arrays[seen], **y.options))
    except NonFiniteError as error:
        raise NonFiniteError(f"in the derivative of {y.made_by.name}: {error}") from error
    return fitted(share, y, position, type(g))


def fitted(share: Any, y: Tensor, position: int, kind: type) -> Any:
    """A rule's share in the shape and dtype of its argument."""
    x = y.arguments[position]
    name = f"{y.made_by.name} for argument {position + 1}"
    if isinstance(share, np.generic):
        share = np.asarray(share)  # what NumPy gives if there are no dimensions
    if not isinstance(share, Tensor) and (kind is Tensor or backend.find(share) is None):
        raise ArgumentTypeError(
            f"the rule of {name} must return {'a' if kind is Tensor else 'an array or a'} Tensor, got "
            f"{type(share).__name__}: write it in minigrad's operations"
        )
    if share.shape != x.shape:
        if not _repeats(x.shape, share.shape):
            raise ArgumentError(
                f"the rule of {name} must return the argument's shape {x.shape}, or what it was "
                f"broadcast to, got {share.shape}"
            )
        share = unbroadcast(share, x.shape)
    return in_dtype(share, x.dtype)


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """g, a Tensor or an array, summed over every axis along which an operand of `shape` was repeated.

    The one place where broadcasting is undone: if x[i] appears in several elements of the result,
    its cotangent is the sum of theirs.
    """
    new = g.ndim - len(shape)
    repeated = tuple(i for i, n in enumerate(g.shape) if i < new or n != shape[i - new])
    if repeated:
        g = (Tensor.sum if isinstance(g, Tensor) else total)(g, repeated, keepdims=True)
    return g if g.shape == shape else g.reshape(shape)


def in_dtype(share: Any, dtype: Any) -> Any:
    return share if share.dtype == dtype else share.astype(dtype)


def _repeats(shape: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Whether `shape` broadcasts to `result`."""
    own = (1,) * (len(result) - len(shape)) + shape
    return len(own) == len(result) and all(n in (1, m) for n, m in zip(own, result, strict=True))
