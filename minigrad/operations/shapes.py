"""Operations that move elements about. All are linear: each derivative is the move back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from minigrad import backend
from minigrad.checks import (
    check_choice,
    check_count,
    check_integer,
    check_unmasked,
    host_array,
    is_number,
    shown,
)
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.operands import as_tensor
from minigrad.primitives import structural_primitive
from minigrad.tensor import Tensor
from minigrad.totals import MANY, axes_of, one_axis

__all__ = [
    "concatenate", "expand_dims", "getitem", "pad", "reshape", "split", "squeeze", "stack", "transpose",
]  # fmt: skip

Axis = int | tuple[int, ...] | None

@structural_primitive
def reshape(xp: Any, x: Any, shape: int | tuple[int, ...]) -> Any:
    """x's elements, in C order, in another shape; one length may be −1."""
    if shape is None:
        raise ArgumentTypeError("reshape: shape must be integers, got None")
    return x.reshape(shape)
reshape.set_vjps(lambda g, y, x, shape: reshape(g, x.shape))

@structural_primitive
def transpose(xp: Any, x: Any, axes: Sequence[int] | None = None) -> Any:
    """x with its axes in the order `axes`; reversed if None."""
    return x.transpose(axes)

@transpose.set_vjps
def _transpose_in_x(g: Tensor, y: Tensor, x: Tensor, axes: Sequence[int] | None) -> Tensor:
    if axes is None:
        return transpose(g)
    back = [0] * len(axes)  # the inverse permutation
    for position, axis in enumerate(axes):
        back[axis] = position
    return transpose(g, tuple(back))

def swap_last(x: Any) -> Tensor:
    """Each matrix of x transposed: the last two axes exchanged."""
    axes = range(x.ndim)
    return transpose(x, (*axes[:-2], axes[-1], axes[-2]))

def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """x without the axes of length 1: all such, or those that are named. ArgumentError if one is longer."""
    x = as_tensor(x, "x")
    ones = [a for a, n in enumerate(x.shape) if n == 1]
    axes = ones if axis is None else axes_of(axis, x.ndim)
    for a in axes:
        if x.shape[a] != 1:
            raise ArgumentError(f"axis must have length 1 to be left out, got {a} of shape {x.shape}")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))

def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Tensor:
    """x with new axes of length 1, which stand at these places in the result."""
    x = as_tensor(x, "x")
    given = axis if isinstance(axis, tuple) else (axis,)
    ndim = x.ndim + len(given)
    new, lengths = axes_of(given, ndim), iter(x.shape)
    return reshape(x, tuple(1 if a in new else next(lengths) for a in range(ndim)))

# ---- indexing and its transpose: x[index] reads elements, scatter adds to them

@structural_primitive
def _getitem(xp: Any, x: Any, index: Any) -> Any:
    return x[index]

@structural_primitive
def _scatter(xp: Any, g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with g added at `index`; an element named twice gets both of its shares."""
    if _is_basic(index):
        out = xp.zeros(shape, g.dtype)
        out[index] = g
        return out
    # Where more than MANY may meet in one element: in float64, as in minigrad.totals.
    many = g.dtype.char == "f" and g.size > MANY and _named(index) > MANY
    out = xp.zeros(shape, np.float64 if many else g.dtype)
    xp.add.at(out, index, g.astype(out.dtype, copy=False))
    return out.astype(g.dtype, copy=False)
_getitem.set_vjps(lambda g, y, x, index: _scatter(g, index, x.shape))
_scatter.set_vjps(lambda g, y, x, index, shape: _getitem(g, index))

def getitem(x: Any, index: Any) -> Tensor:
    """x[index]: slices and integers, arrays of integers or of booleans, in any mixture.

    Raises IndexError as NumPy does, on a GPU too if the index comes from the host. An index array
    that lies on the GPU is taken as it is (CuPy wraps what is out of range), and a boolean one
    makes the GPU wait, because the result's shape depends on it.
    """
    x = as_tensor(x, "x")
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(
        part.data if isinstance(part, Tensor) else _index_array(part) if isinstance(part, list) else part
        for part in parts
    )
    library = backend.of(x.data)
    for part in parts:
        check_unmasked("index", part)
    if library is not backend.NUMPY and not _is_basic(parts):
        if all(not hasattr(part, "dtype") or isinstance(part, np.ndarray) for part in parts):
            np.broadcast_to(np.False_, x.shape)[parts]  # raises what NumPy raises
        parts = tuple(library.asarray(p) if isinstance(p, np.ndarray) else p for p in parts)
    return _getitem(x, parts)

def _index_array(part: list[Any]) -> np.ndarray:
    array = host_array("index", part)
    return array if array.size else array.astype(np.intp)  # [] is float64 to NumPy

def _named(index: tuple[Any, ...]) -> int:
    """How many elements the index arrays name, the most that can be one and the same."""
    arrays = [part for part in index if hasattr(part, "shape") and part.dtype.kind != "b"]
    return math.prod(np.broadcast_shapes(*(part.shape for part in arrays)))

def _is_basic(index: tuple[Any, ...]) -> bool:
    """Whether an index names no element twice: only integers, slices, None and `...`."""
    return all(
        part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in index
    ) and not any(isinstance(part, bool) for part in index)

# ---- joining

@structural_primitive
def _concatenate(xp: Any, *arrays: Any, axis: int, starts: np.ndarray) -> Any:
    return xp.concatenate(arrays, axis)

def _concatenate_in(position: int) -> Any:
    def rule(g: Tensor, y: Tensor, x: Any, axis: int, starts: np.ndarray) -> Tensor:
        part = [slice(None)] * g.ndim
        part[axis] = slice(starts[position], starts[position] + x.shape[axis])
        return getitem(g, tuple(part))

    return rule
_concatenate.set_vjp_of_each(_concatenate_in, sees_others=False)

def concatenate(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """The arrays one after the other along an axis that they have."""
    arrays, axis = _several(arrays), check_integer("axis", axis)
    shapes = [getattr(array, "shape", None) or np.shape(array) for array in arrays]
    lengths = [shape[axis] if -len(shape) <= axis < len(shape) else 0 for shape in shapes]
    return _concatenate(*arrays, axis=axis, starts=np.cumsum([0, *lengths]))

@structural_primitive
def _stack(xp: Any, *arrays: Any, axis: int) -> Any:
    return xp.stack(arrays, axis)

def _stack_in(position: int) -> Any:
    def rule(g: Tensor, y: Tensor, x: Any, axis: int) -> Tensor:
        part: list[Any] = [slice(None)] * g.ndim
        part[axis] = position
        return getitem(g, tuple(part))

    return rule
_stack.set_vjp_of_each(_stack_in, sees_others=False)

def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """The arrays, of one shape, along a new axis of the result."""
    return _stack(*_several(arrays), axis=check_integer("axis", axis))

# ---- splitting and padding

def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """x cut along the axis: into so many equal parts, or before each of the indices. The share of each part
    is an array of x's shape."""
    x = as_tensor(x, "x")
    axis = one_axis(axis, x.ndim)
    length, given = x.shape[axis], host_array("indices_or_sections", indices_or_sections)
    if given.ndim > 0:
        cuts = [check_integer(f"indices_or_sections[{i}]", cut) for i, cut in enumerate(given.tolist())]
    else:
        parts = check_count("indices_or_sections", given.item())
        if length % parts:
            raise ArgumentError(f"indices_or_sections must divide the axis of length {length}, got {parts}")
        cuts = [length // parts * i for i in range(1, parts)]
    before = (slice(None),) * axis
    return [getitem(x, (*before, slice(a, b))) for a, b in zip([0, *cuts], [*cuts, length], strict=True)]

Widths = tuple[tuple[int, int], ...]

@structural_primitive
def _pad(xp: Any, x: Any, widths: Widths, value: Any) -> Any:
    # NumPy takes no widths of no axes.
    return xp.pad(x, widths, constant_values=value) if widths else x.copy()

@_pad.set_vjps
def _pad_in_x(g: Tensor, y: Tensor, x: Tensor, widths: Widths, value: Any) -> Tensor:
    return getitem(g, tuple(slice(w, w + n) for (w, _), n in zip(widths, x.shape, strict=True)))

def pad(
    x: Any,
    pad_width: int | tuple[int, int] | Sequence[tuple[int, int]],
    mode: Literal["constant"] = "constant",
    constant_values: float = 0,
) -> Tensor:
    """x with a border of one number.

    pad_width        how many elements: a number, (before, after), or such a pair for each axis
    mode             "constant" alone; others are mg.concatenate of slices
    constant_values  the number, an infinity too; of integers and booleans one that they have
    """
    x = as_tensor(x, "x")
    check_choice("mode", mode, ("constant",))
    value = _number_of(x.dtype, constant_values)
    widths = host_array("pad_width", pad_width)
    if widths.size and widths.dtype.kind not in "iu":
        raise ArgumentTypeError(f"pad_width must be integers, got {shown(pad_width)}")
    if widths.size and widths.min() < 0:
        raise ArgumentError(f"pad_width must be at least 0, got {shown(pad_width)}")
    try:
        widths = np.broadcast_to(widths, (x.ndim, 2))
    except ValueError as error:
        raise ArgumentError(
            f"pad_width must be a number, a pair, or a pair for each of {x.ndim} axes, got {shown(pad_width)}"
        ) from error
    return _pad(x, tuple(map(tuple, widths.tolist())), value)

def _number_of(dtype: Any, number: Any) -> Any:
    """A number as a scalar of the dtype, to rounding; an error if the dtype has none such."""
    if not (is_number(number) or isinstance(number, (bool, np.bool_))):
        raise ArgumentTypeError(f"constant_values must be a number, got {shown(number)}")
    try:
        with np.errstate(all="ignore"):
            found = np.array(number).astype(dtype)[()]
        exists = found.item() == number or (dtype.kind == "f" and not np.isinf(found))
    except OverflowError:
        exists = False
    if not exists:
        raise ArgumentError(f"constant_values must be a number of x's dtype {dtype}, got {shown(number)}")
    return found

def _several(arrays: Sequence[Any]) -> list[Any]:
    if isinstance(arrays, (str, set, frozenset)) or not isinstance(arrays, Iterable):
        raise ArgumentTypeError(f"arrays must be a list of arrays, got {shown(arrays)}")
    arrays = list(arrays)
    if not arrays:
        raise ArgumentError("arrays must hold at least one array, got none")
    return arrays
