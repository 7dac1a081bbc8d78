"""Fast forms of single operations: on NumPy in fewer passes over memory, on CuPy as fused kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import has_finite_squares
from minigrad.fast.kernels import kernels_for
from minigrad.fast.lines import out_last
from minigrad.fast.recording import Recorded
from minigrad.lanes import replace
from minigrad.operations import costs, dropout_masks, elementwise, maxout_units
from minigrad.operations.dropout_masks import mask
from minigrad.operations.elementwise import multiply
from minigrad.operations.products import as_rows
from minigrad.optim import sgd
from minigrad.primitives import primitive
from minigrad.tensor import Tensor

# ---- selection

# Below so many elements two views take longer than they save.
FEW_ELEMENTS = 1 << 10
BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}


def selected(xp: Any, mask: Any, x: Any) -> Any:
    """The bits of x, read as integers, times the mask's 1 or 0. NumPy's where branches at every element,
    which is slower. (A product of the numbers themselves would make ∞ · 0 a NaN and −1 · 0 a −0.)"""
    fits = is_recorded_on_host(x) or (type(x) is np.ndarray and mask.size >= FEW_ELEMENTS)
    if not fits or mask.dtype != bool or x.dtype not in BITS:
        return elementwise.selected.plain(xp, mask, x)
    bits = BITS[x.dtype]
    same = mask.shape == x.shape
    result = xp.empty_like(x) if same else xp.empty(np.broadcast_shapes(mask.shape, x.shape), x.dtype)
    np.multiply(x.view(bits), mask, out=result.view(bits))
    return result


def where(xp: Any, condition: Any, x: Any, y: Any) -> Any:
    if type(condition) is np.ndarray and condition.dtype == bool:
        if is_zero(y):
            return elementwise.selected(xp, condition, x)
        if is_zero(x):
            return elementwise.selected(xp, ~condition, y)
    return elementwise.where.plain(xp, condition, x, y)


def is_recorded_on_host(x: Any) -> bool:
    """Whether x is of a step that is being recorded on NumPy."""
    return isinstance(x, Recorded) and x.tape.library is backend.NUMPY


def is_zero(operand: Any) -> bool:
    """Whether an operand is the number 0.0, and not −0.0."""
    return type(operand) is float and operand == 0.0 and math.copysign(1.0, operand) > 0.0


replace(elementwise.selected, selected)
replace(elementwise.where, where)

# ---- maxout


def maxout(xp: Any, z: Any, pieces: int) -> Any:
    kernels = kernels_for(z)
    return kernels.maxout(z, pieces) if kernels else maxout_units._maxout.plain(xp, z, pieces)


def spread(xp: Any, u: Any, of: tuple[Any, Any], pieces: int) -> Any:
    kernels = kernels_for(u)
    if kernels and u.dtype == of[0].dtype:
        return kernels.spread(u, of[0], pieces)
    return maxout_units._spread.plain(xp, u, of, pieces)


def winners(z: Any, y: Any, pieces: int) -> Any:
    if kernels := kernels_for(z):
        return kernels.wins(z, pieces)
    if type(z) is np.ndarray:
        return first_greatest(maxout_units.in_pieces(z, pieces), y[..., None, :], y.reshape(-1))
    if is_recorded_on_host(z):
        arrays = maxout_units.in_pieces(z, pieces), y[..., None, :], y.reshape(-1)
        return z.tape.call(first_greatest, *arrays)
    return maxout_units.winners.plain(z, y, pieces)


@out_last
def first_greatest(z: Any, y: Any, flat: Any, out: Any = None) -> Any:
    """`winners` on NumPy, of z in pieces and of y for each piece, and flat. There are no ties, as nearly
    always: to count costs least of all. A product of y with itself is finite if it holds no NaN."""
    greatest = np.equal(z, y, out)
    if np.count_nonzero(greatest) != flat.size or not flat.dot(flat) < math.inf:
        pieces = z.shape[-2]
        greatest[...] = maxout_units.winners.plain(z.reshape(*z.shape[:-2], -1), y[..., 0, :], pieces)
    return greatest


replace(maxout_units._maxout, maxout)
replace(maxout_units._spread, spread)
replace(maxout_units.winners, winners)


# ---- cross-entropy


def difference(xp: Any, x: Any, y: Any) -> Any:
    if xp is np:
        return finite_difference(x, y)
    if is_recorded_on_host(x):
        return x.tape.call(finite_difference, x, y)
    return elementwise.difference.plain(xp, x, y)


@out_last
def finite_difference(x: Any, y: Any, out: Any = None) -> Any:
    """`difference` on NumPy, where y is finite as nearly always."""
    if has_finite_squares(y):
        return np.subtract(x, y, out)
    result = elementwise.difference.plain(np, x, y)
    return result if out is None else np.positive(result, out)


replace(elementwise.difference, difference)

# Sums of more classes than this are better left to the library: a thread takes a whole example.
MOST_CLASSES = 128


def cross_entropy(xp: Any, z: Any, labels: Any) -> Any:
    kernels = kernels_for(z) if z.shape[-1] <= MOST_CLASSES else None
    return kernels.cross_entropy(z, labels) if kernels else costs._cross_entropy.plain(xp, z, labels)


def cross_entropy_slope(xp: Any, z: Any, labels: Any) -> Any:
    kernels = kernels_for(z) if z.shape[-1] <= MOST_CLASSES else None
    plain = costs._cross_entropy_slope.plain
    return kernels.cross_entropy_slope(z, labels) if kernels else plain(xp, z, labels)


replace(costs._cross_entropy, cross_entropy)
replace(costs._cross_entropy_slope, cross_entropy_slope)


# ---- dropout


def dropped(x: Tensor, generator: np.random.Generator, threshold: int, factor: float) -> Tensor:
    if isinstance(x.data, Recorded):
        return multiply(x, x.data.tape.draw(mask, generator, x.data, threshold, factor))
    if kernels_for(x.data) is not None:
        place = place_in_sequence(generator, x.size)
        if place is not None:
            return dropped_at(x, *place, threshold, factor)
    return dropout_masks.dropped.plain(x, generator, threshold, factor)


def place_in_sequence(generator: np.random.Generator, count: int) -> tuple[Any, Any] | None:
    """(key, counter) from which a kernel draws the numbers that the generator would draw next, which
    are skipped. None if the generator is of another kind than Philox, or in the middle of a block."""
    bits = generator.bit_generator
    if not isinstance(bits, np.random.Philox):
        return None
    state: Any = bits.state
    if state["buffer_pos"] != 4 or state["has_uint32"]:
        return None
    bits.advance(math.ceil(count / 16))
    return tuple(state["state"]["key"].tolist()), tuple(state["state"]["counter"].tolist())


@primitive
def dropped_at(xp: Any, x: Any, key: Any, counter: Any, threshold: int, scale: float) -> Any:
    if kernels := kernels_for(x):
        return kernels.dropout(x, key, counter, threshold, scale)
    generator = np.random.Generator(np.random.Philox(key=np.uint64(key), counter=np.uint64(counter)))
    return x * xp.asarray(mask(generator, x, threshold, scale))


# The same place in the sequence gives the same mask once more: none is kept.
dropped_at.set_vjps(
    lambda g, y, x, key, counter, threshold, scale: dropped_at(g, key, counter, threshold, scale)
)
replace(dropout_masks.dropped, dropped)


# ---- the optimiser

# Blocks of this many elements are small enough that an update's several steps find their operands
# in the processor's cache: then updating a large parameter reads and writes memory once.
BLOCK = 1 << 17


def update(p: Any, v: Any, g: Any, lr: float, momentum: float) -> None:
    if kernels := kernels_for(p):
        kernels.update(p, v, g, lr, momentum)
    elif (
        isinstance(p, (np.ndarray, Recorded))
        and p.flags.c_contiguous
        and v.flags.c_contiguous
        and g.flags.c_contiguous
    ):
        scratch = backend.of(p).xp.empty(min(BLOCK, p.size), p.dtype)
        p, v, g = p.reshape(-1), v.reshape(-1), g.reshape(-1)
        for start in range(0, p.size, BLOCK):
            p_block, v_block, g_block = (array[start : start + BLOCK] for array in (p, v, g))
            step = np.multiply(g_block, lr, out=scratch[: g_block.size])
            v_block *= momentum
            v_block -= step
            p_block += v_block
    else:
        sgd.update.plain(p, v, g, lr, momentum)


# The squares of so many rows are added in W's own dtype. Those of columns that are hardly longer than the
# least norm would round to 0.
ROWS, LEAST_NORM = 1 << 10, 1e-10


def limit_columns(W: Any, max_norm: float) -> None:
    if isinstance(W, Recorded):
        W.tape.write(W, (sgd.limit_columns, (W.array, max_norm)), ())
    elif kernels := kernels_for(W):
        kernels.limit_columns(W, max_norm)
    elif not isinstance(W, np.ndarray) or W.dtype.char not in "fd" or max_norm < LEAST_NORM:
        sgd.limit_columns.plain(W, max_norm)
    elif W.ndim != 2 and not W.flags.c_contiguous:
        sgd.limit_columns.plain(W, max_norm)  # as rows it would be a copy
    else:
        W = as_rows(W)
        squares = np.einsum("ij,ij->j", W[:ROWS], W[:ROWS])
        if len(W) > ROWS:
            squares = squares.astype(np.float64)
            for start in range(ROWS, len(W), ROWS):
                part = W[start : start + ROWS]
                squares += np.einsum("ij,ij->j", part, part)
        greatest = squares.max(initial=0.0)
        if not math.isfinite(greatest):
            sgd.limit_columns.plain(W, max_norm)
        elif greatest > max_norm**2:
            W *= sgd.column_factors(squares.astype(np.float64), max_norm).astype(W.dtype)


replace(sgd.update, update)
replace(sgd.limit_columns, limit_columns)
