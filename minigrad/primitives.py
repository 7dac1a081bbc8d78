"""Primitives: functions on plain arrays that come with their own derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec

import numpy as np

from minigrad import backend
from minigrad.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from minigrad.modes import thread
from minigrad.operands import is_real, reconcile
from minigrad.tensor import Tensor, new_tensor

P = ParamSpec("P")
Rule = Callable[..., Any]
ndarray = np.ndarray
_TAKES_ANY_NUMBER = 0x04  # CPython's flag of a function with *arguments


class Primitive(Generic[P]):
    """A forward function on raw arrays, and one vector-Jacobian product per array argument.

    `forward(xp, *arrays, **options)` gets the array library and the arrays themselves: arguments
    that may have a derivative come first, settings such as an axis after them. A VJP is called as
    `rule(g, y, *arguments, **options)`, with the cotangent g of the result, the result y and the
    arguments. These are Tensors where the derivative is recorded, to be differentiated again, and
    their bare arrays otherwise; so a rule is written in operators, in minigrad's functions, which take
    both, and in what both have (`shape`, `reshape`, `T`); and it writes into none of them. It may return
    its share in the shape of the result where its argument was broadcast, and in another float dtype:
    the walk reduces it to the argument's. A rule of None says that there is no derivative in that argument.

        @primitive
        def multiply(xp, x, y):
            return x * y

        multiply.set_vjps(
            lambda g, z, x, y: g * y,  # ∂z/∂x = y
            lambda g, z, x, y: g * x,  # ∂z/∂y = x
        )

    Called with Tensors, arrays and numbers in any mixture, it returns a Tensor.
    """

    def __init__(self, forward: Callable[Concatenate[Any, P], Any], real: bool = True) -> None:
        code = getattr(forward, "__code__", None)
        if code is None or (code.co_kwonlyargcount and not code.co_flags & _TAKES_ANY_NUMBER):
            raise ArgumentTypeError(
                f"forward must be a function without keyword-only parameters, got {forward!r}: an "
                "option is given by name or by position, after the arrays"
            )
        defaults = forward.__defaults__ or ()
        self.forward = forward
        self.name = forward.__name__.strip("_")
        self.real = real  # whether arguments with a derivative must be floating-point
        self.vjps: Sequence[Rule | None] = ()
        self._names = code.co_varnames[1 : code.co_argcount]
        self._defaults = dict(zip(self._names[len(self._names) - len(defaults) :], defaults, strict=True))
        self._variadic = False
        self._rules_everywhere = False
        self._complete_call = -1  # so many arguments, and no options, are a complete call
        self.__name__, self.__qualname__ = forward.__name__, forward.__qualname__
        self.__module__, self.__doc__ = forward.__module__, forward.__doc__
        self.__wrapped__ = forward

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    @property
    def __signature__(self) -> Any:
        """The forward's, without the array library: what a caller gives."""
        import inspect

        signature = inspect.signature(self.forward)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def set_vjps(self, *vjps: Rule | None) -> Any:
        """One rule per array argument, in order; None where there is no derivative.

        Returns the first, so that it also serves as the decorator of a single longer rule.
        """
        if not 0 < len(vjps) <= len(self._names):
            raise ArgumentError(
                f"vjps must be one for each array argument of {self.name}({', '.join(self._names)}), "
                f"got {len(vjps)}"
            )
        self.vjps = vjps
        self._rules_everywhere = None not in vjps
        self._complete_call = len(vjps) if len(vjps) == len(self._names) else -1
        return vjps[0]

    def set_vjp_of_each(self, rule_at: Callable[[int], Rule]) -> Callable[[int], Rule]:
        """For a forward that takes any number of arrays: `rule_at(position)` is a position's rule.

        The options of such a primitive are given by name.
        """
        self.vjps = _EachPosition(rule_at)
        self._variadic = self._rules_everywhere = True
        return rule_at

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> Tensor:
        if (options or len(arguments) != self._complete_call) and not self._variadic:
            arguments, options = self._bind(arguments, options)  # type: ignore[assignment]
        # Take the arrays out of the Tensors, and see whether they need any conversion.
        arrays: list[Any] = []
        dtype = None
        plain = not self._variadic  # NumPy arrays of one dtype, and perhaps numbers: nothing to convert
        requires_grad = False
        for argument in arguments:
            array: Any = argument
            if isinstance(argument, Tensor):
                array = argument.data
                if argument.requires_grad:
                    requires_grad = True
            arrays.append(array)
            kind = type(array)
            if kind is ndarray:
                if dtype is None:
                    dtype = array.dtype
                elif array.dtype is not dtype:
                    plain = False
            elif kind is not float and kind is not int:
                plain = False
        if plain and dtype is not None and dtype.kind == "f":
            xp: Any = np
        else:
            plain = False
            xp = reconcile(self.name, arrays, self._needs_real(arrays), joins=self._variadic)
        # Compute. (An empty ** costs as much as a small operation.)
        forward: Any = self.forward
        output = forward(xp, *arrays, **options) if options else forward(xp, *arrays)
        if type(output) is not ndarray and backend.find(output) is None:
            output = xp.asarray(output)  # NumPy gives a scalar where there are no dimensions
        recording, detecting_nonfinite = thread.settings
        if detecting_nonfinite:
            _raise_if_nonfinite(self.name, xp, output)
        # Remember how, if anybody may ask for a derivative.
        if not (requires_grad and recording and (self._rules_everywhere or self._has_derivative(arguments))):
            return new_tensor(output)
        if not plain:  # keep what was no Tensor in its converted form
            arguments = tuple(  # type: ignore[assignment]
                argument if isinstance(argument, Tensor) else array
                for argument, array in zip(arguments, arrays, strict=True)
            )
        return new_tensor(output, (self, arguments, arrays, options))

    def _has_derivative(self, arguments: Any) -> bool:
        """Whether some argument that requires a gradient has a rule."""
        for position, argument in enumerate(arguments):
            if isinstance(argument, Tensor) and argument.requires_grad and self.vjps[position] is not None:
                return True
        return False

    def _needs_real(self, operands: list[Any]) -> list[bool]:
        """Of each operand. Joining takes any dtype, but no integers beside real numbers."""
        real = self.real or (self._variadic and any(is_real(operand) for operand in operands))
        return [real and self.vjps[position] is not None for position in range(len(operands))]

    def _bind(self, arguments: Any, options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort a call into (array arguments, all options) by the forward's signature."""
        names, arity, count = self._names, len(self.vjps), len(arguments)
        if arity == 0:
            raise ArgumentTypeError(f"{self.name} has no rules yet: give them with set_vjps")
        given = {**self._defaults, **dict(zip(names, arguments, strict=False)), **options}
        unknown = any(name not in names[count:] for name in options)
        if unknown or count > len(names) or len(given) < len(names):
            missing = [name for name in names if name not in given]
            problem = f"missing {missing[0]!r}" if missing else "too many or unknown arguments"
            raise ArgumentTypeError(
                f"{self.name}({', '.join(names)}): {problem}; got {count} by position "
                f"and {sorted(options)} by name"
            )
        settings = {name: given[name] for name in names[arity:]}
        for name, value in settings.items():
            if isinstance(value, Tensor):
                raise ArgumentTypeError(
                    f"{self.name}: {name} must be a setting, got a Tensor: {self.name} has rules for "
                    f"{', '.join(names[:arity])} alone"
                )
        if count < arity:  # arrays given by name
            arguments = [given[name] for name in names]
        return tuple(arguments[:arity]), settings


def primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """Make a forward function on real arrays a Primitive; its VJPs are set next to it."""
    return Primitive(forward)


def structural_primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]:
    """The same for one that only moves elements about, and so takes any dtype."""
    return Primitive(forward, real=False)


class _EachPosition(Sequence[Rule]):
    """The rules of a primitive that takes any number of arrays."""

    def __init__(self, rule_at: Callable[[int], Rule]) -> None:
        self._rule_at = rule_at

    def __getitem__(self, position: Any) -> Any:
        return self._rule_at(position)

    def __len__(self) -> int:
        raise TypeError("as many rules as there are arguments")


def _raise_if_nonfinite(where: str, xp: Any, array: Any) -> None:
    if array.dtype.kind == "f" and not bool(xp.isfinite(array).all()):
        raise NonFiniteError(f"{where} made a NaN or an infinity (result of shape {array.shape})")
