"""Maxout: units that take the greatest of several numbers.

Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout Networks", 2013 (arXiv 1302.4389).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_count
from minigrad.errors import ArgumentError
from minigrad.lanes import replaceable
from minigrad.operands import as_tensor
from minigrad.operations.elementwise import selected
from minigrad.primitives import primitive
from minigrad.tensor import Tensor, raw

__all__ = ["maxout"]

@primitive
def _maxout(xp: Any, z: Any, pieces: int) -> Any:
    return in_pieces(z, pieces).max(-2)

@primitive
def _spread(xp: Any, u: Any, of: tuple[Any, Any], pieces: int) -> Any:
    """A number u for each unit, at its winning piece, and zeros at the others. `of` is (what maxout was
    given, what it returned)."""
    return selected(xp, winners(*of, pieces), u[..., None, :]).reshape(of[0].shape)

@primitive
def _select(xp: Any, v: Any, of: tuple[Any, Any], pieces: int) -> Any:
    """v has a number for each piece. The result has, for each unit, the number of its winning piece."""
    return selected(xp, winners(*of, pieces), in_pieces(v, pieces)).sum(-2)

def in_pieces(z: Any, pieces: int) -> Any:
    """(…, pieces · units) → (…, pieces, units)."""
    return z.reshape(*z.shape[:-1], pieces, z.shape[-1] // pieces)

@replaceable
def winners(z: Any, y: Any, pieces: int) -> Any:
    """True at each unit's first greatest piece, or first NaN: (…, pieces, units)."""
    xp = backend.of(z).xp
    z = in_pieces(z, pieces)
    greatest = (z == y[..., None, :]) | (z != z)
    # Counted down, the first piece has the highest number, which is the maximum: several times faster
    # than argmax over so short an axis.
    countdown = xp.arange(pieces, 0, -1, dtype=np.int8 if pieces < 128 else np.int32)[:, None]
    numbers = greatest * countdown
    return greatest & (numbers == numbers.max(-2, keepdims=True))
# A unit's value is its greatest piece's, so its gradient is that piece's alone. Spreading and
# selecting are linear, and each is the other's transpose.
_maxout.set_vjps(lambda g, y, z, pieces: _spread(g, of=(raw(z), raw(y)), pieces=pieces))
_spread.set_vjps(lambda g, v, u, of, pieces: _select(g, of=of, pieces=pieces))
_select.set_vjps(lambda g, u, v, of, pieces: _spread(g, of=of, pieces=pieces))

def maxout(z: Any, pieces: int) -> Tensor:
    """max over pieces: z (…, pieces · units) → (…, units); unit u is the greatest of z's columns
    u, u + units, u + 2 units, … A tie gives the gradient to the first of them.

    Goodfellow et al., "Maxout Networks", 2013 (arXiv 1302.4389), section 2.
    """
    check_count("pieces", pieces)
    z = as_tensor(z, "z")
    if z.ndim == 0 or z.shape[-1] % pieces or z.shape[-1] == 0:
        raise ArgumentError(f"z must have a last axis of {pieces} pieces a unit, got shape {z.shape}")
    return _maxout(z, pieces)
