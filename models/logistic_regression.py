"""Logistic regression, where the worst perturbation is known exactly (paper, section 5)."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend
from minigrad.checks import check_number, check_sign_labels
from minigrad.generators import random_generator
from models.classifier import Classifier, initial_weights


class LogisticRegression(Classifier):
    """P(y = 1 | x) = σ(wᵀx + b), labels y ∈ {−1, +1}, cost ζ(−y(wᵀx + b)), ζ(t) = ln(1 + eᵗ).

    The logits are z = wᵀx + b, of shape (examples,); w has shape (n_features,), b ().
    """

    def __init__(self, n_features: int, *, seed: int = 0) -> None:
        super().__init__(n_features, 2)
        self.w = mg.Parameter(initial_weights((n_features,), random_generator(seed)))
        self.b = mg.Parameter(np.zeros((), np.float32))

    def logits(self, x: mg.Tensor) -> mg.Tensor:
        return mg.matmul(x, self.w) + self.b

    def adversarial_cost(self, x: Any, y: Any, epsilon: float, reduction: str = "mean") -> mg.Tensor:
        """The greatest cost that any η with max |η| ≤ ε can cause: ζ(ε‖w‖₁ − y(wᵀx + b)).

        wᵀη is at its least, −ε‖w‖₁, for η = −ε sign(w), and at its greatest, +ε‖w‖₁, for the
        opposite; y = 1 suffers from the first and y = −1 from the second, so both lose ε‖w‖₁ of
        their margin y(wᵀx + b). FGSM finds exactly this η.

        The paper (section 5) prints E ζ(y(ε‖w‖₁ − wᵀx − b)), which is the same for y = 1 but for
        y = −1 *lowers* the cost with ε: a slip of the sign, so the worst case stands here.
        """
        epsilon = check_number("epsilon", epsilon, low=0.0)
        x = self._batch(x)
        y = self._labels(y, x)
        z = self.logits(x)
        loss_of_margin = epsilon * mg.sum(mg.abs(self.w))
        # ζ(ε‖w‖₁ − yz) = ζ(−y(z − yε‖w‖₁)), because y² = 1.
        labels = backend.of(z.data).asarray(y, z.dtype)
        return mg.logistic_cost(z - labels * loss_of_margin, y, reduction)

    def predict_proba(self, x: Any) -> Any:
        """P(y = 1 | x): an array (examples,) of x's library."""
        with mg.no_grad():
            return mg.sigmoid(self._finite_logits(x)).data

    def check_labels(self, y: Any, examples: int) -> None:
        check_sign_labels("y", y, (examples,))

    def _cost_of_logits(self, logits: mg.Tensor, y: Any, reduction: str) -> mg.Tensor:
        return mg.logistic_cost(logits, y, reduction)

    def _label_of_logits(self, logits: Any) -> Any:
        return 2 * (logits > 0).astype(np.int64) - 1
