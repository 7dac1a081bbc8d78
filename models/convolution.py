"""Convolution with trained filters, for the networks that look at images."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.layers import Weights, drawn


class Convolution(mg.Module):
    """`mg.conv2d` with Parameters W (size, size, channels, filters), which `weights` draws as in `mg.Linear`,
    and b (filters,), zeros; float32.

    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015 (arXiv 1502.01852), section 2.2, for "he":
    N(0, 2 / (size² channels)).
    """

    def __init__(
        self,
        size: int,
        channels: int,
        filters: int,
        generator: np.random.Generator,
        weights: Weights = "he",
    ) -> None:
        self.W = drawn(weights, (size, size, channels, filters), generator)
        self.b = mg.Parameter(np.zeros(filters, np.float32))

    def forward(self, x: Any, stride: int = 1, padding: Any = "valid") -> mg.Tensor:
        return mg.conv2d(x, self.W, self.b, stride, padding)
