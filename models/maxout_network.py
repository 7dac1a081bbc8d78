"""The maxout network (Goodfellow et al., "Maxout Networks", 2013, arXiv 1302.4389)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.errors import ArgumentError, check_count, check_number
from models.classifier import Classifier, Linear


class MaxoutNetwork(Classifier):
    """Hidden layers of maxout units, each the greatest of `pieces` linear functions; then softmax.

    units    units of each hidden layer, input side first
    pieces   linear functions a unit
    dropout  None, or (keep_input, keep_hidden): in training, inputs are kept with the first
             probability and not rescaled, hidden values with the second and divided by it. The
             published settings for MNIST are (.8, .5).
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
        seed: int = 0,
    ) -> None:
        super().__init__(n_features, n_classes)
        if not isinstance(units, (tuple, list)) or len(units) == 0:
            raise ArgumentError(f"units must be one number a hidden layer, (240, 240) say, got {units!r}")
        self.units = tuple(check_count(f"units[{i}]", n) for i, n in enumerate(units))
        self.pieces = check_count("pieces", pieces)
        if dropout is not None:
            if not isinstance(dropout, (tuple, list)) or len(dropout) != 2:
                raise ArgumentError(f"dropout must be (keep_input, keep_hidden) or None, got {dropout!r}")
            for i, keep in enumerate(dropout):
                check_number(f"dropout[{i}]", keep, low=0.0, high=1.0, low_open=True)
        self.dropout = dropout
        check_count("seed", seed, low=0)
        seeds = np.random.SeedSequence(seed).spawn(2)
        weights, self.dropout_generator = map(backend.random_generator, seeds)
        widths = (n_features, *self.units)
        self.hidden = [
            Linear(inputs, units * pieces, weights) for inputs, units in zip(widths, self.units, strict=False)
        ]
        self.output = Linear(widths[-1], n_classes, weights)

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        dropping = self.dropout if self.training else None
        if dropping:
            x = mg.dropout(x, dropping[0], scale=1.0, generator=self.dropout_generator)
        for layer in self.hidden:
            x = mg.maxout(layer(x), self.pieces)
            if dropping:
                x = mg.dropout(x, dropping[1], generator=self.dropout_generator)
        return self.output(x)
