"""The geometry of perturbations, one example a row: the steepest direction of a unit ball, the way
back into a ball, and a random point of one, for the norms L∞, L2 and L1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.errors import ArgumentError

INFINITY = math.inf


def check_norm(norm: Any, known: tuple[float, ...] = (INFINITY, 2, 1)) -> float:
    """`norm` if it is one of those known, or an error."""
    if isinstance(norm, (int, float, np.number)) and not isinstance(norm, bool) and norm in known:
        return float(norm)
    names = " or ".join("inf" if p == INFINITY else f"{p:g}" for p in known)
    raise ArgumentError(f"norm must be {names}, got {norm!r}")


def steepest(gradient: Any, norm: float) -> Any:
    """argmax ⟨d, g⟩ over ‖d‖ ≤ 1 for each example's gradient g, in new memory; 0 where g is 0.

    L∞: sign(g).  L2: g/‖g‖₂.  L1: ±1 at the greatest |g|, the first of equal ones, and 0 elsewhere.
    """
    xp = backend.of(gradient).xp
    if norm == INFINITY or gradient.size == 0:
        return xp.sign(gradient)
    rows = _rows(gradient)
    if norm == 2:
        # The squares of a gradient of 1e-30 are 0 in float32; those of its shares are not.
        greatest = xp.abs(rows).max(1, keepdims=True)
        rows = rows / xp.where(greatest > 0, greatest, 1)
        return (rows / xp.maximum(_length(rows), 1)).reshape(gradient.shape)
    place = xp.abs(rows).argmax(1)
    chosen = xp.arange(rows.shape[1]) == place[:, None]
    return xp.where(chosen, xp.sign(rows), 0).astype(gradient.dtype, copy=False).reshape(gradient.shape)


def into_ball(x: Any, centre: Any, norm: float, epsilon: float) -> Any:
    """The point nearest to x within `epsilon` of the centre, example by example (L∞ or L2)."""
    xp = backend.of(x).xp
    if norm == INFINITY or x.size == 0:
        return xp.clip(x, centre - epsilon, centre + epsilon)
    difference = _rows(x - centre)
    length = _length(difference)
    difference *= epsilon / xp.maximum(length, max(epsilon, np.finfo(x.dtype).tiny))
    return centre + difference.reshape(x.shape)


def random_in_ball(like: Any, norm: float, epsilon: float, generator: np.random.Generator) -> Any:
    """For each example a point drawn uniformly from the ball of radius epsilon around 0 (L∞ or L2);
    an array of the shape, dtype and library of `like`, drawn on the host."""
    if norm == INFINITY:
        noise = generator.uniform(-epsilon, epsilon, like.shape)
    else:
        # A normal vector has a uniform direction; the volume within radius r grows as r to the
        # number of dimensions.
        noise = generator.normal(size=like.shape)
        rows = _rows(noise)
        radius = epsilon * generator.random((len(rows), 1)) ** (1 / max(rows.shape[1], 1))
        noise = (rows * (radius / _length(rows))).reshape(like.shape)
    return backend.of(like).asarray(noise.astype(like.dtype))


def l1_norm(x: Any) -> Any:
    """Each example's ‖x‖₁, in a shape that broadcasts against x."""
    length = backend.of(x).xp.abs(_rows(x)).sum(1)
    return length.reshape(-1, *(1,) * (x.ndim - 1))


def _rows(x: Any) -> Any:
    return x.reshape(len(x), math.prod(x.shape[1:]))


def _length(rows: Any) -> Any:
    return backend.of(rows).xp.sqrt((rows * rows).sum(1, keepdims=True))
