"""Layers with Parameters, to build networks of. Those without any are operations, such as `relu` and
`max_pool2d`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from minigrad.checks import check_choice, check_count, check_finite, host_array
from minigrad.errors import ArgumentError
from minigrad.generators import random_generator
from minigrad.modules import Module, Parameter
from minigrad.operations import conv2d, linear
from minigrad.operations.images import Padding, Size, checked_padding, checked_size
from minigrad.tensor import Tensor


def _he(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    return generator.normal(0.0, math.sqrt(2.0 / math.prod(shape[:-1])), shape)


def _glorot(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    *window, inputs, outputs = shape
    limit = math.sqrt(6.0 / (math.prod(window) * (inputs + outputs)))
    return generator.uniform(-limit, limit, shape)


# A string: numpy.random takes a tenth of the time that importing NumPy does, and is not needed yet.
Initialiser = Callable[[tuple[int, ...], "np.random.Generator"], np.ndarray]
INITIALISERS: dict[str, Initialiser] = {"he": _he, "glorot": _glorot}
WeightInitialiser = Literal["he", "glorot"] | Initialiser


def drawn(weights: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Parameter:
    """A float32 Parameter of this shape, drawn by `weights`: "he", "glorot", or a function of
    (shape, generator). The last axis counts units. The inputs of a unit are the product of all other
    axes: the rows of a matrix, or the rows, columns and channels of a filter. For "glorot" the outputs of a
    filter are rows · columns · filters.

    ArgumentError if there is no memory for such a shape, or the function gives another one or values that are
    not finite.
    """
    if math.prod(shape) > np.iinfo(np.intp).max // 8:
        raise ArgumentError(f"the weights must fit in memory, got shape {shape!r:.200}")
    draw: Any = weights
    if not callable(weights):
        draw = INITIALISERS[check_choice("weights", weights, tuple(INITIALISERS))]
    with np.errstate(over="ignore"):
        W = host_array("weights", draw(shape, generator)).astype(np.float32)
    if W.shape != shape:
        raise ArgumentError(f"weights must give an array of shape {shape}, got {W.shape}")
    check_finite("weights", W)
    return Parameter(W)


class Linear(Module):
    """x W + b, with Parameters W (inputs, outputs) and b (outputs,), float32; b begins at 0.

    weights  what W begins with, so that a signal neither fades nor grows from layer to layer:
             "he"      N(0, 2/inputs), before relu and maxout (He et al. 2015, arXiv 1502.01852, section 2.2)
             "glorot"  U(−a, a) with a² = 6/(inputs + outputs), before tanh, sigmoid or nothing (Glorot and
                       Bengio 2010, equation 16)
             or a function of (shape, generator) that returns an array
    seed     an integer, a numpy.random.SeedSequence or Generator; other numbers at every call if None
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        weights: WeightInitialiser = "he",
        seed: int | np.random.SeedSequence | np.random.Generator | None = None,
    ) -> None:
        shape = check_count("inputs", inputs), check_count("outputs", outputs)
        self.W, self.b = _weights_and_biases(weights, shape, seed)

    def forward(self, x: Any) -> Tensor:
        """(…, outputs) for x (…, inputs)."""
        return linear(x, self.W, self.b)


class Conv2d(Module):
    """`mg.conv2d` with Parameters W (rows, columns, channels, filters) and b (filters,), float32; b begins at
    0. The channels of images are their last axis.

    channels         of the images that it is given
    filters          of which each makes a channel of the result
    window           of a filter: a number, or (rows, columns)
    stride, padding  as in `mg.conv2d`
    weights, seed    as in `mg.Linear`. A filter's inputs are rows · columns · channels, its outputs
                     rows · columns · filters.

    ArgumentError, naming the argument, for settings that do not fit.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        window: int | Size,
        *,
        stride: int = 1,
        padding: Padding = "valid",
        weights: WeightInitialiser = "he",
        seed: int | np.random.SeedSequence | np.random.Generator | None = None,
    ) -> None:
        sizes = check_count("channels", channels), check_count("filters", filters)
        self.stride, self.padding = check_count("stride", stride), checked_padding(padding)
        self.W, self.b = _weights_and_biases(weights, (*checked_size("window", window), *sizes), seed)

    def forward(self, x: Any) -> Tensor:
        """(examples, rows, columns, filters) for x (examples, rows, columns, channels)."""
        return conv2d(x, self.W, self.b, self.stride, self.padding)


def _weights_and_biases(weights: Any, shape: tuple[int, ...], seed: Any) -> tuple[Parameter, Parameter]:
    generator = np.random.default_rng() if seed is None else random_generator(seed)
    return drawn(weights, shape, generator), Parameter(np.zeros(shape[-1], np.float32))
