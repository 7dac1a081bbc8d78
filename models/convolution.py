"""Convolution with trained filters, for the networks that look at images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg


def he(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """N(0, 2 / inputs) for filters (rows, columns, channels, filters), whose inputs are rows · columns ·
    channels.

    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015 (arXiv 1502.01852), section 2.2.
    """
    return generator.normal(0.0, math.sqrt(2.0 / math.prod(shape[:-1])), shape)


class Convolution(mg.Module):
    """`mg.conv2d` with Parameters W (size, size, channels, filters), which `weights` draws, and b (filters,),
    zeros; float32."""

    def __init__(
        self,
        size: int,
        channels: int,
        filters: int,
        generator: np.random.Generator,
        weights: Callable[[tuple[int, ...], np.random.Generator], np.ndarray] = he,
    ) -> None:
        W = weights((size, size, channels, filters), generator)
        self.W = mg.Parameter(W.astype(np.float32))
        self.b = mg.Parameter(np.zeros(filters, np.float32))

    def forward(self, x: Any, stride: int = 1, padding: Any = "valid") -> mg.Tensor:
        return mg.conv2d(x, self.W, self.b, stride, padding)
