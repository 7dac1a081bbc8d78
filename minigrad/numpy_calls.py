"""NumPy's functions on Tensors: np.exp(t), np.sum(t, axis=0), array + t.

NumPy hands such a call over (NEP 13, NEP 18). UFUNCS and FUNCTIONS run as minigrad's operation of that
meaning, with NumPy's names of the arguments, and are recorded. WITHOUT_DERIVATIVE runs in NumPy on the data,
and gives what NumPy gives; so does everything else if no Tensor requires a gradient. If one does, the rest
raises and says what to write: an array made without a word would have lost the gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import operations
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.primitives import Primitive
from minigrad.tensor import Tensor, raw

UFUNCS: dict[Any, Callable[..., Any]] = {
    np.absolute: operations.abs, np.add: operations.add, np.cos: operations.cos,
    np.divide: operations.divide, np.exp: operations.exp, np.expm1: operations.expm1, np.log: operations.log,
    np.log1p: operations.log1p, np.logaddexp: operations.logaddexp, np.matmul: operations.matmul,
    np.maximum: operations.maximum, np.minimum: operations.minimum, np.multiply: operations.multiply,
    np.negative: operations.negative, np.power: operations.power, np.sign: operations.sign,
    np.sin: operations.sin, np.sqrt: operations.sqrt, np.square: operations.square,
    np.subtract: operations.subtract, np.tanh: operations.tanh,
}  # fmt: skip


def _dot(a: Any, b: Any) -> Tensor:
    shapes = [np.shape(raw(x)) for x in (a, b)]
    if () in shapes:
        return operations.multiply(a, b)
    if max(map(len, shapes)) > 2:
        raise ArgumentTypeError(f"np.dot of Tensors takes two dimensions at most, got shapes {shapes}: use @")
    return operations.matmul(a, b)


def _where(condition: Any, x: Any = None, y: Any = None) -> Tensor:
    if x is None or y is None:
        raise ArgumentTypeError(
            "np.where of a Tensor must have condition, x and y, got the first alone: use t.numpy()"
        )
    return operations.where(condition, x, y)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Tensor:  # noqa: A002
    return operations.clip(a, a_min if min is None else min, a_max if max is None else max)


_REDUCTION = "a axis out keepdims initial where"
_OF_SUMS = "a axis dtype out keepdims initial where"
_OF_SPREADS = "a axis dtype out ddof keepdims where mean correction"

# NumPy's function: (its parameters in order, the operation, which has those that are supported by the same
# names; the first may have another).
FUNCTIONS: dict[Any, tuple[str, Callable[..., Any]]] = {
    np.sum: (_OF_SUMS, operations.sum),
    np.mean: ("a axis dtype out keepdims where", operations.mean),
    np.max: (_REDUCTION, operations.max),
    np.min: (_REDUCTION, operations.min),
    np.var: (_OF_SPREADS, operations.var),
    np.std: (_OF_SPREADS, operations.std),
    np.prod: (_OF_SUMS, operations.prod),
    np.cumsum: ("a axis dtype out", operations.cumsum),
    np.linalg.norm: ("x ord axis keepdims", operations.norm),
    np.where: ("condition x y", _where),
    np.concatenate: ("arrays axis out", operations.concatenate),
    np.stack: ("arrays axis out", operations.stack),
    np.split: ("ary indices_or_sections axis", operations.split),
    np.pad: ("array pad_width mode", operations.pad),
    np.reshape: ("a shape order", operations.reshape),
    np.ravel: ("a order", lambda a: operations.reshape(a, -1)),
    np.squeeze: ("a axis", operations.squeeze),
    np.expand_dims: ("a axis", operations.expand_dims),
    np.transpose: ("a axes", operations.transpose),
    np.broadcast_to: ("array shape subok", operations.broadcast_to),
    np.dot: ("a b out", _dot),
    np.clip: ("a a_min a_max out", _clip),
    np.copy: ("a order subok", operations.copy),
}
for _name in ("amax", "amin"):
    FUNCTIONS[getattr(np, _name)] = FUNCTIONS[getattr(np, _name[1:])]

# These have no derivative, and give what NumPy gives of the data.
WITHOUT_DERIVATIVE = {
    np.allclose, np.argmax, np.argmin, np.array2string, np.array_equal, np.array_repr, np.array_str,
    np.empty_like, np.full_like, np.isclose, np.may_share_memory, np.ndim, np.ones_like, np.shape,
    np.shares_memory, np.size, np.zeros_like,
    np.equal, np.greater, np.greater_equal, np.isfinite, np.isinf, np.isnan, np.less, np.less_equal,
    np.not_equal,
}  # fmt: skip

# What writes into its argument.
WRITING = {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}

INSTEAD = {
    "add.reduce": "mg.sum", "array_split": "mg.split at indices", "column_stack": "mg.concatenate",
    "flip": "x[::-1] for each axis",
    "hstack": "mg.concatenate", "inner": "mg.einsum('i,i->', x, y)", "maximum.reduce": "mg.max",
    "multiply.reduce": "mg.prod", "outer": "mg.einsum('i,j->ij', x, y)", "save": "mg.save",
    "swapaxes": "mg.transpose", "take": "x[indices]", "tensordot": "mg.einsum",
    "trace": "mg.einsum('ii->', x)", "vdot": "mg.einsum('i,i->', x, y)", "vstack": "mg.concatenate",
}  # fmt: skip


def call_ufunc(ufunc: Any, method: str, arguments: Any, options: dict[str, Any]) -> Any:
    """np.exp(t), array * t, np.less(t, 0), and so on."""
    if method == "__call__" and not options and ufunc in UFUNCS:
        return UFUNCS[ufunc](*arguments)
    if not (method == "at" or _writes(options) or _requires_gradient([*arguments, *options.values()])):
        return _in_numpy(getattr(ufunc, method), arguments, options)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    out = options.get("out", ())  # a tuple, which NumPy leaves out if all in it are None
    if any(isinstance(array, Tensor) for array in out):
        raise ArgumentTypeError(f"np.{name} cannot write into a Tensor (out): write x = np.{name}(…)")
    if method == "__call__" and ufunc in WITHOUT_DERIVATIVE:
        return _in_numpy(ufunc, arguments, options)
    if out:
        raise ArgumentTypeError(
            f"np.{name} cannot write a Tensor's result into an array (`array += tensor` would lose the "
            "gradient): write array = array + tensor"
        )
    if method != "__call__" or ufunc not in UFUNCS:
        raise _refusal(name)
    raise ArgumentTypeError(f"np.{name} of a Tensor does not take {', '.join(options)}")


def call_function(function: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """np.sum(t), np.concatenate([t, t]), np.shape(t), and so on."""
    module = function.__module__.removeprefix("numpy").removeprefix(".")
    name = f"{module}.{function.__name__}" if module else function.__name__
    if function in WITHOUT_DERIVATIVE:
        # What it is filled with is no argument of which the shape alone is taken.
        if function is np.full_like and _requires_gradient([*arguments[1:], *options.values()]):
            raise _refusal(name)
        return _in_numpy(function, arguments, options)
    if function is np.einsum:  # of any number of operands
        if unknown := [key for key in options if key != "optimize"]:
            raise ArgumentTypeError(f"np.einsum of a Tensor does not take {', '.join(unknown)}")
        return operations.einsum(*arguments)
    if function not in FUNCTIONS:
        writes = function in WRITING or _writes(_by_name(function, arguments, options))
        if writes or _requires_gradient([*arguments, *options.values()]):
            raise _refusal(name)
        return _in_numpy(function, arguments, options)
    parameters, operation = FUNCTIONS[function]
    first, *others = parameters.split()
    given = {**dict(zip([first, *others], arguments, strict=False)), **options}
    x = given.pop(first)
    supported = _parameters(operation)[1:]
    # What NumPy's others (dtype, out, order …) are by default is nothing that was asked for.
    defaults = (None, "C", "K")
    given = {key: v for key, v in given.items() if key in supported or not any(v is d for d in defaults)}
    unknown = [key for key in given if key not in supported]
    try:
        if unknown:
            raise ArgumentTypeError(f"np.{name} of a Tensor does not take {', '.join(unknown)}")
        return operation(x, **given)
    except (ArgumentError, ArgumentTypeError):
        if _writes({**given, **options}) or _requires_gradient([*arguments, *options.values()]):
            raise
        return _in_numpy(function, arguments, options)  # what minigrad's has not, and NumPy's may have


def _parameters(operation: Any) -> tuple[str, ...]:
    """The names of an operation's parameters."""
    if isinstance(operation, Primitive):
        return operation.names
    code = operation.__code__
    return code.co_varnames[: code.co_argcount]


def _refusal(name: str) -> ArgumentTypeError:
    instead = INSTEAD.get(name)
    advice = f"use {instead}" if instead else "use minigrad's operations, or write a primitive (mg.primitive)"
    return ArgumentTypeError(
        f"np.{name} does not take Tensors: {advice}; t.numpy() is the array, without a gradient"
    )


def _writes(given: dict[str, Any]) -> bool:
    """Whether a function of NumPy's that is given this would write into a Tensor."""
    out = given.get("out")
    return (
        any(isinstance(o, Tensor) for o in (out if type(out) is tuple else (out,)))
        or bool(given.get("overwrite_input", False))
        or not given.get("copy", True)
    )


def _by_name(function: Any, arguments: Any, options: dict[str, Any]) -> dict[str, Any]:
    """All that a function of NumPy's is given, by the names of its parameters."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except ValueError:  # one written in C may have none
        return options
    return {**dict(zip(parameters, arguments, strict=False)), **options}


def _requires_gradient(values: Any) -> bool:
    """Whether a Tensor that requires a gradient is among values, or in a list among them."""
    return any(
        _requires_gradient(v) if type(v) in (list, tuple) else isinstance(v, Tensor) and v.requires_grad
        for v in values
    )


def _in_numpy(function: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """NumPy's own result, of the data."""
    return function(*map(_raw, arguments), **{key: _raw(value) for key, value in options.items()})


def _raw(value: Any) -> Any:
    return type(value)(map(_raw, value)) if type(value) in (list, tuple) else raw(value)
