"""Dropout: elements set to 0 at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.checks import check_number, check_real
from minigrad.errors import ArgumentTypeError
from minigrad.lanes import replaceable
from minigrad.operands import as_tensor
from minigrad.operations.elementwise import multiply
from minigrad.tensor import Tensor

__all__ = ["dropout"]

RESOLUTION = 2**16  # a mask takes 16 random bits an element

def dropout(
    x: Any, *, keep: float = 0.5, generator: np.random.Generator, scale: float | None = None
) -> Tensor:
    """x with each element kept with probability `keep` and times `scale`, and set to 0 otherwise.

    keep       a share from 0 to 1, by name, for others give the share that is *dropped*: it is 1 − p of
               PyTorch's. It is rounded to a multiple of 2⁻¹⁶, and 2⁻¹⁶ at least
    generator  of `minigrad.generators.mask_generator`, or any other of NumPy's: one seed, one sequence
               of masks on every backend. The masks are drawn on the host and uploaded; on a GPU the
               fast lane draws those of a mask_generator in the kernel that applies them.
    scale      1/keep (as rounded) if None, so that the expected value is x

    It always drops: whether a model is training is for the model to say.
    """
    check_number("keep", keep, low=0.0, high=1.0, low_open=True)
    if not isinstance(generator, np.random.Generator):
        raise ArgumentTypeError(f"generator must be a numpy.random.Generator, got {generator!r}")
    x = as_tensor(x, "x")
    check_real("x", x.dtype)
    threshold = max(1, round(keep * RESOLUTION))
    factor = RESOLUTION / threshold if scale is None else check_number("scale", scale)
    return dropped(x, generator, threshold, factor)

@replaceable
def dropped(x: Tensor, generator: np.random.Generator, threshold: int, factor: float) -> Tensor:
    """x times the factor where sixteen random bits are below the threshold, and 0 elsewhere."""
    return multiply(x, backend.of(x.data).asarray(mask(generator, x, threshold, factor)))

def mask(generator: np.random.Generator, x: Any, threshold: int, factor: float) -> np.ndarray:
    """The factor where an element is kept, 0 elsewhere, on the host."""
    kept = sixteen_bits(generator, x.size).reshape(x.shape) < threshold
    mask = kept.astype(x.dtype)
    if factor != 1.0:
        mask *= factor
    return mask

def sixteen_bits(generator: np.random.Generator, count: int) -> Any:
    """So many numbers from 0 to 2¹⁶ − 1, in whole blocks of four words, as Philox makes them: a float a
    number would be twice the work."""
    words = 4 * math.ceil(count / 16)
    return generator.integers(0, 2**64 - 1, words, np.uint64, endpoint=True).view(np.uint16)[:count]
