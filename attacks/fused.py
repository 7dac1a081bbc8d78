"""The step along the sign as one CUDA kernel, for the fast lane: see `minigrad.lanes`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from attacks.fast_gradient import step_along
from attacks.norms import INFINITY
from minigrad import backend
from minigrad.lanes import replace

STEP = """
    T sign = g > 0 ? (T)1 : g < 0 ? (T)-1 : g;
    y = x + (T)step * sign;
    if (y < (T)low) y = (T)low;
    if (y > (T)high) y = (T)high;
"""


@cache
def _kernel(library: backend.Backend) -> Any:
    return library.xp.ElementwiseKernel(
        "T x, T g, float64 step, float64 low, float64 high", "T y", STEP, "sign_step"
    )


def fused_step(
    x: Any, gradient: Any, step: float, norm: float, bounds: tuple[float, float] | None = None
) -> Any:
    """What `step_along` returns: one kernel for norm inf, if the library has such kernels."""
    library = backend.of(x)
    if norm != INFINITY or x.dtype.char not in "fd" or not hasattr(library.xp, "ElementwiseKernel"):
        return step_along.plain(x, gradient, step, norm, bounds)
    if tape := getattr(x, "tape", None):  # of a step that is being recorded, in which this is one call
        return tape.call(fused_step, x, gradient, step, norm, bounds)
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    return _kernel(library)(x, gradient, step, low, high, library.xp.empty(x.shape, x.dtype))


replace(step_along, fused_step)
