"""The geometry of perturbations, one example a row: the steepest direction of a unit ball, the way
back into a ball, and a random point of one, for the norms L∞, L2 and L1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import is_number, shown
from minigrad.errors import ArgumentError

INFINITY = math.inf


def check_norm(norm: Any, known: tuple[float, ...] = (INFINITY, 2, 1)) -> float:
    """`norm` if it is one of those known, or an error."""
    if is_number(norm) and norm in known:
        return float(norm)
    names = " or ".join("inf" if p == INFINITY else f"{p:g}" for p in known)
    raise ArgumentError(f"norm must be {names}, got {shown(norm)}")


def steepest(gradient: Any, norm: float) -> Any:
    """argmax ⟨d, g⟩ over ‖d‖ ≤ 1 for each example's gradient g, in new memory; 0 where g is 0.

    L∞: sign(g).  L2: g/‖g‖₂.  L1: ±1 at the greatest |g|, the first of equal ones, and 0 elsewhere.
    """
    xp = backend.of(gradient).xp
    if norm == INFINITY or gradient.size == 0:
        return xp.sign(gradient)
    rows = _rows(gradient)
    if norm == 2:
        shares, _ = _scaled(rows)
        return (shares / xp.maximum(_length(shares), 1)).reshape(gradient.shape)
    place = xp.abs(rows).argmax(1)
    chosen = xp.arange(rows.shape[1]) == place[:, None]
    return xp.where(chosen, xp.sign(rows), 0).astype(gradient.dtype, copy=False).reshape(gradient.shape)


def into_ball(x: Any, centre: Any, norm: float, epsilon: float) -> Any:
    """The point nearest to x within `epsilon` of the centre, example by example (L∞ or L2)."""
    xp = backend.of(x).xp
    if norm == INFINITY or x.size == 0:
        return xp.clip(x, centre - epsilon, centre + epsilon)
    difference = _rows(x - centre)
    shares, greatest = _scaled(difference)
    reach = epsilon / xp.maximum(_length(shares), 1)  # the greatest |element| inside
    back = xp.where(greatest > reach, shares * reach, difference)
    return centre + back.reshape(x.shape)


def random_in_ball(like: Any, norm: float, epsilon: float, generator: np.random.Generator) -> Any:
    """For each example a point drawn uniformly from the ball of radius epsilon around 0 (L∞ or L2);
    an array of the shape, dtype and library of `like`, drawn on the host."""
    if norm == INFINITY or like.size == 0:
        noise = epsilon * generator.uniform(-1.0, 1.0, like.shape)
    else:
        # A normal vector has a uniform direction; the volume within radius r grows as r to the
        # number of dimensions.
        noise = generator.normal(size=like.shape)
        rows = _rows(noise)
        radius = epsilon * generator.random((len(rows), 1)) ** (1 / rows.shape[1])
        noise = (rows * (radius / _length(rows))).reshape(like.shape)
    return backend.of(like).asarray(noise.astype(like.dtype))


def l1_shares(x: Any) -> Any:
    """Each example over its own ‖x‖₁, in new memory; 0 where x is 0."""
    xp = backend.of(x).xp
    if x.size == 0:
        return x.copy()
    shares, _ = _scaled(_rows(x))
    return (shares / xp.maximum(xp.abs(shares).sum(1, keepdims=True), 1)).reshape(x.shape)


def _rows(x: Any) -> Any:
    return x.reshape(len(x), math.prod(x.shape[1:]))


def _scaled(rows: Any) -> tuple[Any, Any]:
    """(shares, greatest) of each row: its greatest |element|, and the row over it, or over 1 if that is 0.

    Squares and sums of shares are near 1. Those of the rows themselves leave the range of float32 where
    elements are above 1e19 or below 1e-20.
    """
    xp = backend.of(rows).xp
    greatest = xp.abs(rows).max(1, keepdims=True)
    return rows / xp.where(greatest > 0, greatest, 1), greatest


def _length(rows: Any) -> Any:
    return backend.of(rows).xp.sqrt((rows * rows).sum(1, keepdims=True))
