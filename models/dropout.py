"""Dropout of a network's inputs and hidden values, as the maxout paper has it."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.checks import check_count, check_number
from minigrad.errors import ArgumentError
from minigrad.generators import mask_generator, random_generator
from models.classifier import Classifier


def generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """(of the initial weights, of the masks), from one seed."""
    weights, masks = np.random.SeedSequence(check_count("seed", seed, low=0)).spawn(2)
    return random_generator(weights), mask_generator(masks)


class DropoutClassifier(Classifier):
    """A Classifier whose inputs and hidden values are dropped at random in training, by `mask_generator`.

    dropout  None, or (keep_input, keep_hidden), as in `MaxoutNetwork`
    """

    mask_generator: np.random.Generator

    def __init__(
        self, n_features: int, n_classes: int, outputs: str, dropout: tuple[float, float] | None
    ) -> None:
        super().__init__(n_features, n_classes, outputs)
        if dropout is not None:
            if not isinstance(dropout, (tuple, list)) or len(dropout) != 2:
                raise ArgumentError(f"dropout must be (keep_input, keep_hidden) or None, got {dropout!r}")
            for i, keep in enumerate(dropout):
                check_number(f"dropout[{i}]", keep, low=0.0, high=1.0, low_open=True)
        self.dropout = dropout

    def dropped_input(self, x: mg.Tensor) -> mg.Tensor:
        """x with some inputs dropped in training, else x."""
        if not self.dropout or not self.training:
            return x
        return mg.dropout(x, keep=self.dropout[0], scale=1.0, generator=self.mask_generator)

    def dropped_hidden(self, values: mg.Tensor) -> mg.Tensor:
        """The values with some dropped, and the others scaled, in training, else the values."""
        if not self.dropout or not self.training:
            return values
        return mg.dropout(values, keep=self.dropout[1], generator=self.mask_generator)
