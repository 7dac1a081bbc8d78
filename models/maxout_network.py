"""The maxout network (Goodfellow et al., "Maxout Networks", 2013, arXiv 1302.4389)."""

from __future__ import annotations

from collections.abc import Sequence

import minigrad as mg
from minigrad.checks import check_count
from minigrad.errors import ArgumentError
from minigrad.layers import WeightInitialiser
from models.classifier import checked_units, initial_weights
from models.dropout import DropoutClassifier, generators


class MaxoutNetwork(DropoutClassifier):
    """Hidden layers of maxout units, each the greatest of `pieces` linear functions; then a linear one.

    units    units of each hidden layer, input side first
    pieces   linear functions a unit
    dropout  None, or (keep_input, keep_hidden): in training, inputs are kept with the first probability and
             not rescaled, hidden values with the second and divided by it; (.8, .5) as published for MNIST
    outputs  "softmax": the probabilities of the classes add up to 1, and the cost is cross-entropy.
             "sigmoid": each class has a probability of its own, σ(zⱼ), told apart from all the rest, so that
             every class can be refused
    weights  what each layer's begin with, as in `mg.Linear`. The default is U(−.005, .005), as the maxout
             paper draws them, for one or two wide layers. In more or narrower ones the signal fades, and they
             do not begin to learn (three of 16 units, say): give "he".
    seed     of the initial weights and of the dropout masks
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        units: Sequence[int] = (240, 240),
        pieces: int = 5,
        dropout: tuple[float, float] | None = None,
        outputs: str = "softmax",
        weights: WeightInitialiser = initial_weights,
        seed: int = 0,
    ) -> None:
        super().__init__(n_features, n_classes, outputs, dropout)
        self.pieces = check_count("pieces", pieces)
        self.units = checked_units(units, self.pieces)
        if not self.units:
            raise ArgumentError("units must have at least one layer, got none")
        generator, self.mask_generator = generators(seed)
        widths = (n_features, *self.units)
        self.hidden = [
            mg.Linear(inputs, units * pieces, weights, generator)
            for inputs, units in zip(widths, self.units, strict=False)
        ]
        self.output = mg.Linear(widths[-1], n_classes, weights, generator)

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        return self.logits_above(0, x)

    def logits_above(self, layer: int, values: mg.Tensor) -> mg.Tensor:
        """The logits that follow from the values of a hidden layer; layer 0 is the input."""
        if layer == 0:
            values = self.dropped_input(values)
        for number in range(layer, len(self.hidden)):
            values = self.hidden_values(number + 1, values)
        return self.output(values)

    def hidden_values(self, layer: int, below: mg.Tensor) -> mg.Tensor:
        """The values of hidden layer 1, 2, … from those of the layer below it, (examples, units)."""
        return self.dropped_hidden(mg.maxout(self.hidden[layer - 1](below), self.pieces))
