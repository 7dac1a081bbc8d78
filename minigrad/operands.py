"""How numbers, lists and arrays of several kinds meet in one operation.

One rule keeps float32 from turning into float64 unasked. Floating-point arrays with dimensions decide the
dtype. A number, an array without dimensions, a list, and an array of integers or booleans take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_kind, check_real, check_unmasked, host_array, kind_of
from minigrad.errors import ArgumentTypeError, BackendError
from minigrad.tensor import Tensor, raw


def reconcile(name: str, operands: list[Any], needs_real: Sequence[bool], joins: bool = False) -> Any:
    """Convert the raw operands of the operation `name`, in place; returns their array library.

    needs_real  of each operand, whether it must be a floating-point array or a number. One that need
                not is only made an array.
    joins       whether the operation joins its operands. If not, Python numbers stay numbers beside an
                array, whose dtype they then take.

    Raises ArgumentTypeError if a real operand is needed and is anything but float32 or float64 (integers and
    booleans pass beside a real array), for masked arrays and for what is no array of numbers, and
    BackendError if arrays of two libraries meet.
    """
    library = None
    given = tuple(operands)
    real = [operand for operand, needed in zip(operands, needs_real, strict=True) if needed]
    taken_beside = "iub" if any(map(is_real, real)) else ""
    for position, operand in enumerate(operands):
        own = backend.find(operand)
        if own is None:
            operands[position] = _number_or_list(name, position, operand)
        elif library is not None and own is not library:
            raise BackendError(
                f"{name}: argument {position + 1} must be a {library.name} array as the others, got one of "
                f"{own.name}: a {library.name} array meets a {own.name} array; "
                f'move one with .to("{library.name}") or .to("{own.name}")'
            )
        else:
            if needs_real[position] and operand.dtype.kind not in taken_beside:
                check_real(f"{name}: argument {position + 1}", operand.dtype)
            if operand.dtype.kind not in "fiub":
                check_kind(f"{name}: argument {position + 1}", operand)
            library = own
    numbers_stay = library is not None and not joins
    library = library or backend.for_new(*given)
    dtype = _common_dtype(real)
    for position, operand in enumerate(operands):
        if isinstance(operand, library.array_type) and type(operand) is not library.array_type:
            check_unmasked(f"{name}: argument {position + 1}", operand)
            operand = operands[position] = library.asarray(operand)  # a subclass has rules of its own
        if isinstance(operand, list):
            operands[position] = library.asarray(operand, dtype if needs_real[position] else None)
        elif isinstance(operand, (int, float)):
            if not (numbers_stay and needs_real[position]):
                operands[position] = library.asarray(operand, dtype if needs_real[position] else None)
        elif needs_real[position] and operand.dtype != dtype and (operand.ndim == 0 or not is_real(operand)):
            operands[position] = operand.astype(dtype)
    return library.xp


def is_real(operand: Any) -> bool:
    """Whether an operand is an array of float32 or float64, which operations compute in."""
    return backend.find(operand) is not None and operand.dtype.char in "fd"


def _number_or_list(name: str, position: int | None, operand: Any) -> Any:
    if isinstance(operand, np.generic):
        # A longdouble's item() is a longdouble.
        operand = float(operand) if isinstance(operand, np.floating) else operand.item()
    if isinstance(operand, (int, float)):
        return int(operand) if isinstance(operand, bool) else operand
    where = f"{name}: argument {position + 1}" if position is not None else name
    if isinstance(operand, (list, tuple)):
        host_array(where, operand)
        return list(operand)
    wrapped = " in place of the array in another's .data" if isinstance(operand, Tensor) else ""
    raise ArgumentTypeError(
        f"{where} must be a Tensor, an array or a real number, got {kind_of(operand)}{wrapped}"
    )


def _common_dtype(operands: list[Any]) -> Any:
    """The float dtype of the arrays with dimensions, else of those without, else float64."""
    found: dict[bool, list[Any]] = {True: [], False: []}
    for operand in operands:
        if is_real(operand):
            found[operand.ndim > 0].append(operand.dtype)
    return np.result_type(*(found[True] or found[False] or [np.float64]))


def as_array(value: Any, name: str = "x") -> Any:
    """A Tensor's array, an array itself, and anything else as NumPy makes an array of it."""
    value = raw(value)
    if backend.find(value) is None:
        return host_array(name, value)
    check_unmasked(name, value)
    check_kind(name, value)
    return value


def as_array_for(library: Any, value: Any, name: str, like: str) -> Any:
    """`as_array` of the library that `like` is of, or of NumPy, whose arrays may be moved without a word."""
    array = as_array(value, name)
    own = backend.of(array)
    if own is not backend.NUMPY and own is not library:
        wanted = "NumPy" if library is backend.NUMPY else f"{library.name} or NumPy"
        raise BackendError(f"{name} must be a {wanted} array, as {like}, got one of {own.name}: move it")
    return array


def as_tensor(value: Any, name: str) -> Tensor:
    """A Tensor itself, and anything else as a Tensor of its numbers."""
    return value if isinstance(value, Tensor) else Tensor(as_array(value, name))


def as_real_tensor(value: Any, name: str) -> Tensor:
    """`as_tensor`, if it is float32 or float64. Whole numbers and lists of them become float64."""
    x = as_tensor(value, name)
    if backend.find(raw(value)) is None and x.dtype.kind in "iu":
        return Tensor(x.data.astype(np.float64))
    check_real(name, x.dtype)
    return x


def as_array_beside(operand: Any, others: Sequence[Any], name: str) -> Any:
    """`operand` itself if it is a Tensor or an array; a number or a list becomes an array of the
    library and the float dtype of the others."""
    if hasattr(operand, "ndim"):
        return operand
    arrays = [raw(other) for other in others]
    library = backend.for_new(*arrays, operand)
    return library.asarray(_number_or_list(name, None, operand), _common_dtype(arrays))
