"""The convolutional maxout network (Goodfellow et al., "Maxout Networks", 2013, arXiv 1302.4389)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import minigrad as mg
from minigrad.checks import check_count, shown
from minigrad.errors import ArgumentError, ArgumentTypeError
from minigrad.layers import WeightInitialiser
from minigrad.operations.images import Padding, border, checked_padding
from models.classifier import checked_units
from models.dropout import DropoutClassifier, generators


@dataclass(frozen=True)
class MaxoutConvolution:
    """A layer: at every place of the image maxout units, then the greatest of each over windows of places.

    units        units at a place, which are the channels of the result
    pieces       convolutions a unit, of which it takes the greatest
    window       rows, and columns, of a filter
    padding      zeros around the image, as in `mg.conv2d`: a number, "valid" or "same"
    pool         rows, and columns, of a window of pooling; places that fill no whole window are left out
    pool_stride  the step from one to the next; `pool` if None, so that they do not overlap
    """

    units: int
    pieces: int
    window: int
    padding: Padding = 0
    pool: int = 2
    pool_stride: int | None = None

    def __post_init__(self) -> None:
        for name, value in tuple(vars(self).items()):
            if name == "padding":
                kept: Any = checked_padding(value)
            else:
                kept = None if name == "pool_stride" and value is None else check_count(name, value)
            object.__setattr__(self, name, kept)  # Python's integer: NumPy's small ones overflow

    def output_side(self, side: int) -> int:
        """How many rows, or columns, come of so many; less than 1 if the image is too small."""
        convolved = side + sum(border(side, self.window, 1, checked_padding(self.padding))) - self.window + 1
        return (convolved - self.pool) // (self.pool_stride or self.pool) + 1

    def pooled(self, values: mg.Tensor) -> mg.Tensor:
        """The values (examples, rows, columns, units) after pooling."""
        if self.pool == (self.pool_stride or self.pool) == 1:
            return values
        return mg.max_pool2d(values, self.pool, self.pool_stride)


class ConvolutionalMaxout(DropoutClassifier):
    """Layers of maxout convolutions, each with max pooling; then, if wanted, layers of maxout units that see
    the whole image; then a linear one.

    A unit is, at each place, the greatest of its `pieces` convolutions there, max (Wₖ ∗ x + bₖ) over k; the
    filters are ordered as for `mg.maxout`, unit u's are u, u + units, u + 2 units, …

    image    (rows, columns, channels). x stays (examples, rows · columns · channels), row by row, the
             channels of a pixel side by side, so that every attack and model may share it.
    layers   a MaxoutConvolution each, input side first
    units    of each layer that sees the whole image; none if empty
    pieces   linear functions a unit there
    dropout  None, or (keep_input, keep_hidden), as in `MaxoutNetwork`; hidden values are dropped after
             pooling
    outputs  "softmax" or "sigmoid", as in `MaxoutNetwork`
    weights  what draws the initial weights, as in `mg.Linear`. The published ones,
             `models.classifier.initial_weights`, need the published learning rate and many epochs: with them
             the values grow faint from layer to layer, and so do the gradients
    seed     of the initial weights and of the dropout masks

    ArgumentError, naming the layer, if nothing would be left of the image there.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        n_classes: int,
        *,
        layers: Sequence[MaxoutConvolution],
        units: Sequence[int] = (),
        pieces: int = 5,
        dropout: tuple[float, float] | None = None,
        outputs: str = "softmax",
        weights: WeightInitialiser = "he",
        seed: int = 0,
    ) -> None:
        if not isinstance(image, (tuple, list)) or len(image) != 3:
            raise ArgumentError(f"image must be (rows, columns, channels), got {image!r}")
        rows, columns, channels = (check_count(f"image[{i}]", n) for i, n in enumerate(image))
        super().__init__(rows * columns * channels, n_classes, outputs, dropout)
        self.image = rows, columns, channels
        if not isinstance(layers, (tuple, list)) or not layers:
            raise ArgumentError(
                f"layers must be one or more MaxoutConvolutions in a list, got {shown(layers)}"
            )
        self.layers = tuple(layers)
        self.pieces = check_count("pieces", pieces)
        self.units = checked_units(units, self.pieces)
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, MaxoutConvolution):
                raise ArgumentTypeError(
                    f"layers[{i}] must be a MaxoutConvolution, got {type(layer).__name__}"
                )
            before = rows, columns
            rows, columns = map(layer.output_side, before)
            if min(rows, columns) < 1:
                raise ArgumentError(
                    f"layers[{i}] must leave at least one place of an image of {before[0]} rows and "
                    f"{before[1]} columns, got {layer}"
                )
        generator, self.mask_generator = generators(seed)
        filters = [channels, *(layer.units for layer in self.layers)]
        self.convolutions = [
            mg.Conv2d(
                below,
                layer.units * layer.pieces,
                layer.window,
                padding=layer.padding,
                weights=weights,
                seed=generator,
            )
            for below, layer in zip(filters, self.layers, strict=False)
        ]
        widths = [rows * columns * filters[-1], *self.units]
        self.hidden = [
            mg.Linear(below, n * self.pieces, weights, generator)
            for below, n in zip(widths, self.units, strict=False)
        ]
        self.output = mg.Linear(widths[-1], self.n_classes, weights, generator)

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        values = self.dropped_input(mg.reshape(x, (x.shape[0], *self.image)))
        for convolution, layer in zip(self.convolutions, self.layers, strict=True):
            units = mg.maxout(convolution(values), layer.pieces)
            values = self.dropped_hidden(layer.pooled(units))
        values = mg.reshape(values, (x.shape[0], math.prod(values.shape[1:])))
        for linear in self.hidden:
            values = self.dropped_hidden(mg.maxout(linear(values), self.pieces))
        return self.output(values)
