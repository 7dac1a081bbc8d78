"""Dropout of a network's inputs and hidden values, as the maxout paper has it."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.checks import check_count, check_number, shown
from minigrad.errors import ArgumentError
from minigrad.generators import mask_generator, random_generator
from models.classifier import Classifier


def checked_units(units: Any, pieces: int = 1) -> tuple[int, ...]:
    """The units of each layer; an error if they are no counts, or too many for weights in memory."""
    if not isinstance(units, (tuple, list)):
        raise ArgumentError(f"units must be one number a hidden layer, (240, 240) say, got {shown(units)}")
    for i, n in enumerate(units):
        if check_count(f"units[{i}]", n) * pieces > np.iinfo(np.intp).max // 8:
            raise ArgumentError(f"units[{i}] must leave weights that fit in memory, got {shown(n)}")
    return tuple(int(n) for n in units)


class DropoutClassifier(Classifier):
    """A Classifier whose inputs and hidden values are dropped at random in training.

    dropout  None, or (keep_input, keep_hidden): in training, inputs are kept with the first
             probability and not rescaled, hidden values with the second and divided by it. The
             published settings for MNIST are (.8, .5).
    seed     of the initial weights and of the dropout masks
    """

    def __init__(
        self, n_features: int, n_classes: int, outputs: str, dropout: tuple[float, float] | None, seed: int
    ) -> None:
        super().__init__(n_features, n_classes, outputs)
        if dropout is not None:
            if not isinstance(dropout, (tuple, list)) or len(dropout) != 2:
                raise ArgumentError(f"dropout must be (keep_input, keep_hidden) or None, got {dropout!r}")
            for i, keep in enumerate(dropout):
                check_number(f"dropout[{i}]", keep, low=0.0, high=1.0, low_open=True)
        self.dropout = dropout
        self._seeds = np.random.SeedSequence(check_count("seed", seed, low=0)).spawn(2)
        self.dropout_generator = mask_generator(self._seeds[1])

    def weight_generator(self) -> np.random.Generator:
        """What the initial weights are drawn with: the same numbers at every call."""
        return random_generator(self._seeds[0])

    def dropped_input(self, x: mg.Tensor) -> mg.Tensor:
        if not self.dropout or not self.training:
            return x
        return mg.dropout(x, keep=self.dropout[0], scale=1.0, generator=self.dropout_generator)

    def dropped_hidden(self, values: mg.Tensor) -> mg.Tensor:
        if not self.dropout or not self.training:
            return values
        return mg.dropout(values, keep=self.dropout[1], generator=self.dropout_generator)
