"""The checks of arguments that several packages share. Each raises before any work is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, ArgumentTypeError, BackendError, GraphError, NonFiniteError


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """`value` as a finite float in [low, high], without the ends that are open, or an error.

    Numbers are Python's int and float and NumPy's scalars of these kinds; an array is none, whatever its
    shape.
    """
    if not is_number(value):
        raise ArgumentTypeError(f"{name} must be a number, an int or a float, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond every float
        number = math.inf
    inside = low <= number <= high and not (low_open and number == low) and not (high_open and number == high)
    if not (math.isfinite(number) and inside):
        left = "(" if low_open or low == -math.inf else "["
        right = ")" if high_open or high == math.inf else "]"
        bounds = f"{left}{low}, {high}{right}"
        raise ArgumentError(f"{name} must be a finite number in {bounds}, got {shown(value)}")
    return number


def check_integer(name: str, value: Any) -> int:
    """`value` as an int, or an error."""
    if not is_number(value) or isinstance(value, (float, np.floating)):
        raise ArgumentTypeError(f"{name} must be an integer, got {shown(value)}")
    return int(value)


def check_count(name: str, value: Any, *, low: int = 1) -> int:
    """`value` as an int of at least `low`, or an error."""
    if check_integer(name, value) < low:
        raise ArgumentError(f"{name} must be at least {low}, got {shown(value)}")
    return int(value)


def check_names_known(state: Any, own: Any) -> None:
    """ArgumentError if `state` has a name that `own` has not."""
    if unknown := state.keys() - own.keys():
        raise ArgumentError(f"state has {shown_names(unknown)}, for which there is no place here")


def shown_names(names: Any) -> str:
    """The names as an error shows them: the first ten."""
    names = sorted(map(str, names))
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def check_fits(name: str, shape: Any, dtype: Any, own: Any) -> None:
    """ArgumentError unless shape and dtype are those of the array `own`."""
    if shape != own.shape or dtype != own.dtype:
        raise ArgumentError(
            f"{name} must have shape {own.shape} and dtype {own.dtype}, got {shape} and {dtype}"
        )


def check_flag(name: str, value: Any) -> bool:
    """`value` as a bool, or an error: a word such as "no" is true to Python."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def is_number(value: Any) -> bool:
    """Whether `value` is an int or a float, of Python or NumPy; a bool or an array is none."""
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, (bool, np.timedelta64))


def printable(name: str) -> str:
    """The name with a question mark for each character that a terminal would act on or not show."""
    return "".join(character if character.isprintable() else "?" for character in name)


def shown(value: Any) -> str:
    """A value as an error shows it, in one short line."""
    if hasattr(value, "shape") and hasattr(value, "item") and not isinstance(value, (np.generic, type)):
        return f"an array of shape {value.shape}{': give .item()' if value.shape == () else ''}"
    try:
        text = str(value) if isinstance(value, np.generic) else repr(value)
    except ValueError:  # an int of more digits than Python prints
        return f"an int of {value.bit_length()} bits"
    if "\n" in text:
        return f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:80]} … ({type(value).__name__})"


def kind_of(value: Any) -> str:
    """The class of a value, with the package that it is of: torch.Tensor is no Tensor of this library. What
    another library's has for its array is named."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package in ("builtins", "minigrad", "__main__", "numpy"):
        return kind.__name__
    return f"{package}.{kind.__name__}{': give its .numpy()' if hasattr(kind, 'numpy') else ''}"


def count_nonfinite(array: Any) -> int:
    """How many elements of a *host* array are NaN or infinite.

    0 for an array on a GPU: looking at its values would stop the device (see `minigrad.backend`).
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return 0
    # Any order does, and that of its memory needs no copy.
    contiguous = type(array) is np.ndarray and array.flags.c_contiguous
    flat = array if contiguous else np.asarray(array).ravel(order="K")
    return 0 if has_finite_squares(flat) else int(np.count_nonzero(~np.isfinite(flat)))


def has_finite_squares(array: np.ndarray) -> bool:
    """Whether a sum of squares is finite. Then all elements are, and it takes one fast pass; if not, they may
    still be, for squares overflow. (vdot warns of nothing, where dot does.)"""
    return math.isfinite(np.vdot(array, array))


def check_later(array: Any, check: Callable[..., None], *arguments: Any) -> None:
    """Of an array that is no host array: its values are not looked at. One of a step that is being recorded
    has check(*arguments) made at every replay; one on a GPU passes unseen."""
    tape = getattr(array, "tape", None)
    if tape is not None:
        tape.later(array, check, *arguments)


def check_real(name: str, dtype: Any) -> None:
    """Raise unless `dtype` is float32 or float64, which operations compute in."""
    if dtype.char not in "fd":
        expected = "float32 or float64, got" if dtype.kind == "f" else "real (floating point), got dtype"
        raise ArgumentTypeError(f"{name} must be {expected} {dtype}; convert it with .astype(numpy.float32)")


def check_examples(x: Any) -> None:
    """Raise unless x, the input of a model, is float32 or float64."""
    if x.dtype.char not in "fd":
        raise ArgumentTypeError(
            f"x must be floating-point (float32 or float64), got dtype {x.dtype}: convert it, and scale "
            "pixels to [0, 1]"
        )


def check_kind(name: str, array: Any) -> None:
    """Raise unless an array holds real numbers, integers or booleans."""
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(f"{name} must hold real numbers, got dtype {array.dtype}")


def check_dtype(name: str, dtype: Any) -> np.dtype:
    """`dtype` as NumPy's, of real numbers, integers or booleans."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or dtype is None or found.kind not in "fiub":
        raise ArgumentTypeError(
            f"{name} must be a dtype of real numbers, such as numpy.float32, got {shown(dtype)}"
        )
    return found


def host_array(name: str, value: Any) -> np.ndarray:
    """Numbers, or nested lists of them, as NumPy makes an array of them, or an error."""
    check_unmasked(name, value)
    _check_unmasked_within(name, value)
    try:
        array = np.asarray(value)
    except (GraphError, BackendError):
        raise
    except Exception as error:  # ragged lists, and whatever a foreign __array__ raises
        raise ArgumentTypeError(f"{name} must be numbers, got {type(value).__name__}: {error}") from error
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(
            f"{name} must be real numbers, got {type(value).__name__} (as an array, of dtype {array.dtype})"
        )
    return array


def _check_unmasked_within(name: str, value: Any) -> None:
    """Raise if a masked array is in a list or a tuple, or in one in it, and so on."""
    if isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            if isinstance(item, (list, tuple, np.ma.MaskedArray)):
                check_unmasked(f"{name}[{position}]", item)
                _check_unmasked_within(f"{name}[{position}]", item)


def check_unmasked(name: str, array: Any) -> None:
    """Raise if `array` is a masked array of NumPy: no operation here leaves elements out."""
    if isinstance(array, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"{name} must be a plain array, got a masked array: fill it first, with x.filled(0)"
        )


def check_finite(name: str, array: Any, bounds: tuple[float, float] | None = None) -> None:
    """Raise if a *host* array holds NaN or Inf, or leaves `bounds`.

    An array on a GPU passes unseen, as in `count_nonfinite`. Check the data before it is uploaded.
    """
    if not isinstance(array, np.ndarray):
        check_later(array, check_finite, name, array, bounds)
        return
    if bad := count_nonfinite(array):
        raise ArgumentError(f"{name} must be finite, got {bad} NaN or infinite values of {array.size}")
    if bounds is None or array.size == 0:
        return
    least, greatest = array.min(), array.max()
    # In the array's own dtype: the bounds that a clipped array was clipped to.
    if least < array.dtype.type(bounds[0]) or greatest > array.dtype.type(bounds[1]):
        raise ArgumentError(f"{name} must lie within bounds {bounds}, got values from {least} to {greatest}")


def check_result(what: str, array: Any) -> None:
    """NonFiniteError if a *host* array that was computed holds NaN or Inf."""
    if not isinstance(array, np.ndarray):
        check_later(array, check_result, what, array)
        return
    if bad := count_nonfinite(array):
        raise NonFiniteError(f"{what} must be finite, got {bad} NaN or infinite values of {array.size}")


def check_grad(data: Any, gradient: Any) -> Any:
    """`gradient` in data's dtype, or an error unless it has data's library and shape."""
    if isinstance(gradient, np.generic):
        gradient = np.asarray(gradient)  # what NumPy's arithmetic gives if there are no dimensions
    if type(gradient) is not type(data):
        raise ArgumentTypeError(
            f"grad must be an array like data, a {type(data).__module__} {type(data).__name__}, or None, got "
            f"{type(gradient).__name__}" + (": give its .data" if hasattr(gradient, "requires_grad") else "")
        )
    if gradient.shape != data.shape or gradient.dtype.kind != "f":
        raise ArgumentError(
            f"grad must have data's shape {data.shape} and a real dtype, got {gradient.shape} and dtype "
            f"{gradient.dtype}"
        )
    return gradient if gradient.dtype == data.dtype else gradient.astype(data.dtype)


def check_tensor(name: str, value: Any) -> None:
    """Raise unless a value is a Tensor; a function is told how it is differentiated."""
    if not hasattr(value, "made_by"):
        called = ": call it first, as in mg.grad(f(x), x), or use mg.value_and_grad(f)(x)"
        advice = called if callable(value) else ""
        raise ArgumentTypeError(f"{name} must be a Tensor, got {type(value).__name__}{advice}")


def refusal(name: str, error: Exception, arrays: Sequence[Any], settings: Mapping[str, Any]) -> Exception:
    """What to raise for an error in the forward of the operation `name`: our own, or one that says which
    operation it was, and of what."""
    if isinstance(error, (ArgumentError, ArgumentTypeError)):
        return error
    given = [f"argument {i + 1} of shape {getattr(a, 'shape', ())}" for i, a in enumerate(arrays[:8])]
    given += [f"{key}={shown(value)}" for key, value in settings.items()]
    kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentError
    return kind(f"{name}: arguments and options must fit together, got {', '.join(given)}: {error}")


def check_input(name: str, value: Any) -> None:
    """Raise unless a value is a Tensor that requires a gradient."""
    check_tensor(name, value)
    if not value.requires_grad:
        raise ArgumentError(
            f"{name} must require a gradient, got one that does not: make it with "
            "Tensor(data, requires_grad=True) before computing output from it"
        )


def misfit(name: str, names: Sequence[str], count: int, options: Sequence[str]) -> Exception:
    """What to raise for a call with `count` arguments by position, and these by name."""
    strange = [option for option in options if option not in names]
    twice = [option for option in options if option in names[:count]]
    if strange:
        problem = f"it has no argument {strange[0]!r}"
    elif twice:
        problem = f"got {twice[0]} twice"
    elif count > len(names):
        problem = f"got {count} by position"
    else:
        problem = f"missing {next(own for own in names[count:] if own not in options)!r}"
    return ArgumentTypeError(f"{name} takes ({', '.join(names)}): {problem}")


def check_required(tensor: Any, value: Any) -> bool:
    """The flag `value` as the requires_grad of a Tensor, or an error."""
    value = check_flag("requires_grad", value)
    if tensor.made_by is not None and value != tensor.requires_grad:
        raise GraphError(
            f"requires_grad of a result, here of {tensor.made_by.name}, is that of what it was computed "
            "from: detach() gives a Tensor of its numbers alone"
        )
    if value and tensor.data.dtype.char not in "fd":
        raise ArgumentTypeError(
            f"data must be float32 or float64 to require a gradient (requires_grad=True), got "
            f"{tensor.data.dtype}: convert it, as np.asarray(data, np.float32) does"
        )
    return value


def check_rule(name: str, rule: Any, arrays: Sequence[str], options: Sequence[str]) -> None:
    """Raise unless a rule takes g, the result, these arrays and the options by name. What is no plain
    function, or takes *arguments or **options, passes."""
    if rule is not None and not callable(rule):
        raise ArgumentTypeError(f"the rules of {name} must be functions or None, got {rule!r}")
    code = getattr(rule, "__code__", None)
    if code is None or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS) or hasattr(rule, "__self__"):
        return
    taken = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    given = 2 + len(arrays) + len(options)
    required = len(taken) - len(rule.__defaults__ or ()) - len(rule.__kwdefaults__ or ())
    if not required <= given <= len(taken) or not set(options) <= set(taken):
        wanted = ", ".join(["g", "result", *arrays, *options])
        raise ArgumentTypeError(f"the rules of {name} must take ({wanted}), got ({', '.join(taken)})")


def check_class_labels(name: str, labels: Any, shape: tuple[int, ...], n_classes: int) -> None:
    """Raise unless `labels` are integers of `shape`, in 0 … n_classes − 1.

    As in `check_finite`, the values of an array on a GPU are not looked at.
    """
    if labels.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name} must be integers, got dtype {labels.dtype}")
    _check_label_shape(name, labels, shape)
    if not isinstance(labels, np.ndarray):
        check_later(labels, check_class_labels, name, labels, shape, n_classes)
    # Read as unsigned, negative numbers are greater than all others: one pass sees both ends.
    elif labels.size and labels.astype(np.int64, copy=False).view(np.uint64).max() >= n_classes:
        raise ArgumentError(
            f"{name} must be classes 0 to {n_classes - 1}, got values from {labels.min()} to {labels.max()}"
        )


def check_mask(name: str, mask: Any) -> None:
    """Raise if a host array holds anything but 0 and 1; an array on a GPU is not looked at."""
    if not isinstance(mask, np.ndarray):
        check_later(mask, check_mask, name, mask)
    elif other := int(((mask != 0) & (mask != 1)).sum()):
        raise ArgumentError(
            f"{name} must be booleans, or zeros and ones, got {other} other values of {mask.size}"
        )


def check_sign_labels(name: str, labels: Any, shape: tuple[int, ...]) -> None:
    """Raise unless `labels` have `shape` and each is −1 or +1 (values on a GPU are not read)."""
    if labels.dtype.kind not in "if":
        raise ArgumentTypeError(f"{name} must be real numbers -1 or +1, got dtype {labels.dtype}")
    _check_label_shape(name, labels, shape)
    if not isinstance(labels, np.ndarray):
        check_later(labels, check_sign_labels, name, labels, shape)
    elif not np.all(np.abs(labels) == 1):
        raise ArgumentError(f"{name} must be -1 or +1, got {np.unique(labels)[:10].tolist()}")


def _check_label_shape(name: str, labels: Any, shape: tuple[int, ...]) -> None:
    if labels.shape != shape:
        raise ArgumentError(f"{name} must have shape {shape}, one label an example, got {labels.shape}")


def check_choice(name: str, value: Any, choices: tuple[str, ...], elsewhere: Mapping[str, str] = {}) -> str:
    """`value` if it is one of `choices`, or an error that lists them, and says which is meant by a value that
    is called so elsewhere."""
    if not isinstance(value, str) or value not in choices:
        advice = f": write {elsewhere[value]!r}" if isinstance(value, str) and value in elsewhere else ""
        raise ArgumentError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}{advice}")
    return str(value)
