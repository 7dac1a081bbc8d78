"""Softmax regression, the paper's "shallow softmax classifier"."""

from __future__ import annotations

import minigrad as mg
from minigrad.generators import random_generator
from models.classifier import Classifier, initial_weights


class SoftmaxRegression(Classifier):
    """logits = x W + b, W (n_features, n_classes)."""

    def __init__(self, n_features: int, n_classes: int, *, seed: int = 0) -> None:
        super().__init__(n_features, n_classes)
        self.output = mg.Linear(n_features, n_classes, initial_weights, random_generator(seed))

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        return self.output(x)
