"""The shallow radial basis function network (paper, sections 7 and 8)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.checks import check_finite, check_number
from minigrad.errors import ArgumentError
from minigrad.generators import random_generator
from models.classifier import Classifier


class RBFNetwork(Classifier):
    """p(y = c | x) = exp((x − μ_c)ᵀ β_c (x − μ_c)), β_c = −diag(w_c²), one for each class c.

    Every class has a centre μ_c and a probability of its own, which falls to 0 in every direction
    away from there: the model is sure of nothing that is far from what it has seen.

    centres  (classes, features), the first μ; None draws them from U(0, 1)
    width    > 0: the distance from a centre, along one feature, at which p falls to 1/e at first;
             w begins as 1/width

    The paper has β negative definite and says no more. Here it is diagonal: a full matrix has 614,656
    weights a class on MNIST. The cost is that of sigmoid outputs, because p = σ(z) for the logits
    z = ln p − ln(1 − p) = −q − ln(1 − e^−q) with q = Σ w²(x − μ)².
    """

    def __init__(
        self, n_features: int, n_classes: int, *, centres: Any = None, width: float = 3.0, seed: int = 0
    ) -> None:
        super().__init__(n_features, n_classes, outputs="sigmoid")
        shape = (self.n_classes, self.n_features)
        width = check_number("width", width, low=0.0, low_open=True)
        generator = random_generator(seed)
        if centres is None:
            centres = generator.uniform(0.0, 1.0, shape)
        centres = backend.to_numpy(centres, "centres")
        if centres.shape != shape:
            raise ArgumentError(f"centres must have shape {shape}, got {centres.shape}")
        with np.errstate(over="ignore"):  # what float32 cannot hold is told next
            centres, w = centres.astype(np.float32), np.full(shape, 1.0 / width).astype(np.float32)
        check_finite("centres", centres)
        check_finite("1 / width", w)
        self.mu, self.w = mg.Parameter(centres), mg.Parameter(w)

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        scaled = (mg.reshape(x, (x.shape[0], 1, x.shape[1])) - self.mu) * self.w
        # At a centre p is 1 and its log-odds infinite: q stays above 0 by less than it is known to.
        q = mg.sum(scaled * scaled, axis=-1) + 1e-6
        return -q - mg.log(-mg.expm1(-q))
