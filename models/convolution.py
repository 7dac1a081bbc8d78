"""Convolution with trained filters, for the networks that look at images."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.generators import random_generator
from minigrad.layers import WeightInitialiser, drawn


class Convolution(mg.Module):
    """`mg.conv2d` with Parameters W (size, size, channels, filters) and b (filters,), float32; b begins at 0.

    weights, seed  as in `mg.Linear`. "he" is N(0, 2 / (size² channels)): He, Zhang, Ren, Sun, "Delving deep
                   into rectifiers", 2015 (arXiv 1502.01852), section 2.2
    """

    def __init__(
        self,
        size: int,
        channels: int,
        filters: int,
        weights: WeightInitialiser = "he",
        seed: int | np.random.Generator = 0,
    ) -> None:
        self.W = drawn(weights, (size, size, channels, filters), random_generator(seed))
        self.b = mg.Parameter(np.zeros(filters, np.float32))

    def forward(self, x: Any, stride: int = 1, padding: Any = "valid") -> mg.Tensor:
        """(examples, rows, columns, filters) for x (examples, rows, columns, channels), as `mg.conv2d`."""
        return mg.conv2d(x, self.W, self.b, stride, padding)
